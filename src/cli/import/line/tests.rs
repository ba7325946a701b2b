use proptest::prelude::*;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA";

#[test]
fn a_line_is_taken_apart_as_sshd_does() {
    for (line, options, comment) in [
        (KEY.to_owned(), vec![], ""),
        (
            format!("  {KEY}  ci agent 7 # not a comment of the file\r"),
            vec![],
            "ci agent 7 # not a comment of the file",
        ),
        (format!("no-pty,restrict {KEY} x"), vec!["no-pty", "restrict"], "x"),
        (
            format!(r#"command="echo \"a, b\" ssh-rsa",from="10.0.0.0/8,::1" {KEY} x y"#),
            vec![r#"command="echo \"a, b\" ssh-rsa""#, r#"from="10.0.0.0/8,::1""#],
            "x y",
        ),
    ] {
        let split = split(&line).unwrap();
        assert_eq!((split.options, split.key, split.comment), (options, KEY, comment), "{line}");
    }
    for line in ["", "ssh-ed25519", "hello world", r#"command="no end ssh-ed25519 AAAA"#, "from=\"x\""] {
        assert_eq!(split(line), None, "{line}");
    }
}

#[test]
fn what_limits_a_key_is_carried_over_or_the_key_is_not() {
    let carried = meaning(&[r#"from="10.0.0.0/8,2001:db8::1""#, "no-pty", r#"expiry-time="20270301Z""#]).unwrap();
    assert_eq!(carried.from.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "2001:db8::1/128"]);
    assert_eq!(carried.expires, Some(Expiry::At("2027-03-01T00:00:00Z".parse().unwrap())));
    assert_eq!(carried.without_effect, ["no-pty"]);
    let end = meaning(&[r#"expiry-time="202703011230Z""#]).unwrap().expires;
    assert_eq!(end, Some(Expiry::At("2027-03-01T12:30:00Z".parse().unwrap())));
    let none: [&str; 0] = [];
    assert_eq!(meaning(&none).unwrap(), Meaning::default());
    for (option, why) in [
        (r#"from="*.example.com""#, "a name or a pattern"),
        (r#"from="!10.0.0.1,10.0.0.0/8""#, "a name or a pattern"),
        (r#"expiry-time="tomorrow""#, "none that sshd knows"),
        (r#"expiry-time="20271301""#, "none that sshd knows"),
        ("cert-authority", "certificates"),
        (r#"principals="x""#, "certificates"),
        ("verify-required", "a PIN"),
        ("no-ptty", "its option \"no-ptty\" is none that is known here"),
        ("", "comma"),
    ] {
        assert!(meaning(&[option]).unwrap_err().contains(why), "{option}");
    }
}

proptest! {
    #[test]
    fn no_line_panics_and_its_parts_are_of_it(line in "[ -~\\PC]{0,80}") {
        if let Some(split) = split(&line) {
            prop_assert!(line.contains(split.key) && line.contains(split.comment));
            drop(meaning(&split.options));
        }
    }

    #[test]
    fn options_are_found_again(options in prop::collection::vec("[a-z-]{1,8}(=\"[a-z ,.]{0,12}\")?", 0..5)) {
        let line = format!("{}{}{KEY} c", options.join(","), if options.is_empty() { "" } else { " " });
        // A word that looks like a key's type is one.
        prop_assume!(!options.first().is_some_and(|first| is_key_type(first)));
        let split = split(&line).unwrap();
        prop_assert_eq!(split.options, options);
        prop_assert_eq!(split.key, KEY);
    }
}
