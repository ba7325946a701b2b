//! Keys from other servers: what is taken, what is left out and why, and that a second import changes nothing.

use base64::Engine as _;

use crate::support::{KEY_A, KEY_B, Site};

const FILE: &str = r#"# keys of the build agents
KEY_A
no-pty,command="/usr/bin/git-shell -c \"$SSH_ORIGINAL_COMMAND\"",from="10.0.0.0/8" KEY_C agent 7

from="*.example.com" KEY_D of a name
KEY_A once more
ssh-dss AAAAB3NzaC1kc3MAAACBAJ old@example
@cert-authority nonsense
KEY_B
no-ptty KEY_E a slip of the pen
no-pty,verify-required KEY_F asks for a PIN
"#;

/// An ed25519 key whose other half nobody has.
pub(crate) fn key(number: u16) -> String {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend_from_slice(&[7; 30]);
    blob.extend_from_slice(&number.to_be_bytes());
    format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob))
}

fn filled(text: &str) -> String {
    text.replace("KEY_A", KEY_A.trim_end())
        .replace("KEY_B", KEY_B.trim_end())
        .replace("KEY_C", &key(1))
        .replace("KEY_D", &key(2))
        .replace("KEY_E", &key(3))
        .replace("KEY_F", &key(4))
}

#[test]
fn an_authorized_keys_file_is_shown_taken_and_taken_again() {
    let site = Site::with_acme();
    site.ok(&["account", "add", "beta"]);
    site.ok(&["key", "add", "beta", "theirs", "--key", "b.pub"]);
    std::fs::write(site.path("authorized_keys"), filled(FILE)).unwrap();
    let mut story = String::new();
    let mut run = |args: &[&str]| story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args)));
    let import = ["import", "authorized-keys", "authorized_keys", "acme", "--grant", "acme/*"];
    run(&[&import[..], &["--dry-run"]].concat());
    run(&["key", "list", "--account", "acme"]);
    run(&import);
    run(&["key", "show", "acme/agent-7"]);
    run(&[&import[..], &["--json"]].concat());
    run(&["import", "authorized-keys", "nosuch", "acme"]);
    run(&["import", "authorized-keys", "authorized_keys", "no/account"]);
    run(&["import", "authorized-keys", "authorized_keys", "acme", "--grant", "acme"]);
    run(&["import", "--help"]);
    site.snapshot("import_authorized_keys", &story);
}

/// Nothing that a line says goes by in silence, and what a key has already is not changed by one.
#[test]
fn options_that_are_not_carried_over_are_reported() {
    let site = Site::with_acme();
    let import = |text: &str| site.run_with(&["import", "authorized-keys", "-", "acme"], text);
    let first = import(&format!("from=\"10.0.0.0/8\",no-pty {} one\nNO-PTY,command=\"x\" {} two\n", key(1), key(2)));
    assert_eq!(first.code, 0, "{first}");
    let lines: Vec<_> = first.err.lines().filter(|line| line.starts_with("not carried over: ")).collect();
    assert_eq!(lines.len(), 2, "{first}");
    assert!(lines[0].starts_with("not carried over: command of line 2: it has no meaning here"), "{first}");
    assert!(lines[1].starts_with("not carried over: no-pty of line 1 and 1 more: it has no meaning here"), "{first}");
    let again = import(&format!("from=\"192.0.2.1\",expiry-time=\"20300101Z\" {} one\n", key(1)));
    for option in ["from", "expiry-time"] {
        let said =
            format!("not carried over: {option} of line 1: the key was registered already, and keeps what it has");
        assert!(again.err.contains(&said), "{again}");
    }
    assert!(site.ok(&["key", "show", "acme/one"]).out.contains("from         10.0.0.0/8"));
    assert!(!import(&format!("from=\"10.0.0.0/8\" {} one\n", key(1))).err.contains("not carried over"));
    // What would let somebody in whom sshd keeps out is not taken.
    let typo = site.run_with(&["import", "authorized-keys", "-", "acme"], &format!("no-ptty {} three\n", key(3)));
    assert_eq!(typo.code, 2, "{typo}");
    let bits = format!("from=\"10.0.0.1/8\" {} four\n", key(4));
    let bits = site.run_with(&["import", "authorized-keys", "-", "acme"], &bits);
    let why = "its from= has \"10.0.0.1/8\", by which sshd lets nobody in: did you mean 10.0.0.0/8?";
    assert!(bits.code == 2 && bits.err.contains(why), "{bits}");
    assert!(typo.err.contains("left out: line 1: its option \"no-ptty\" is none that is known here"), "{typo}");
}

#[test]
fn a_gitolite_keydir_is_taken() {
    let site = Site::with_acme();
    let keydir = site.path("keydir");
    std::fs::create_dir_all(keydir.join("laptop")).unwrap();
    for (name, text) in [
        ("alice.pub", format!("{} alice@example\n", key(1))),
        ("laptop/alice.pub", key(2)),
        ("bob@home.pub", key(3)),
        ("carol@example.com.pub", key(4)),
        ("empty.pub", String::new()),
        ("two.pub", format!("{}\n{}\n", key(5), key(6))),
        ("README", "not a key".to_owned()),
    ] {
        std::fs::write(keydir.join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", keydir.join("link.pub")).unwrap();
    let mut story = String::new();
    let mut run = |args: &[&str]| story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args)));
    run(&["import", "gitolite", "keydir", "acme", "--dry-run"]);
    run(&["import", "gitolite", "keydir", "acme", "--json"]);
    run(&["import", "gitolite", "keydir", "acme"]);
    run(&["import", "gitolite", "nosuch", "acme"]);
    site.snapshot("import_gitolite", &story);
}

#[test]
fn ten_thousand_lines_are_taken_and_each_that_is_not_is_reported() {
    let site = Site::with_acme();
    let mut text = String::new();
    for number in 0..10_000u16 {
        match number % 100 {
            98 => text.push_str("ssh-dss AAAAB3NzaC1kc3MAAACBAJ old\n"),
            99 => text.push_str(&format!("from=\"build-?.example.com\" {} agent\n", key(number))),
            _ => text.push_str(&format!("{} agent {number}\n", key(number))),
        }
    }
    let import = ["import", "authorized-keys", "-", "acme", "--json"];
    for (dry_run, applied) in [(true, false), (false, true), (false, false)] {
        let args = if dry_run { [&import[..], &["--dry-run"]].concat() } else { import.to_vec() };
        let ran = site.run_with(&args, &text);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let count = |name: &str| report[name].as_array().unwrap().len();
        assert_eq!(report["applied"], applied);
        assert_eq!(count("skipped"), 200);
        assert_eq!(count("changes"), if dry_run || applied { 9_800 } else { 0 });
    }
}

/// The wrong file is no import that took nothing; no account is made for it.
#[test]
fn what_has_no_key_at_all_is_refused() {
    let site = Site::with_acme();
    std::fs::write(site.path("wrong"), "nothing\nof the kind\n").unwrap();
    std::fs::create_dir(site.path("keydir")).unwrap();
    let wrong = site.run(&["import", "authorized-keys", "wrong", "beta"]);
    assert!(wrong.code == 2 && wrong.err.contains("left out: line 2: it is not a line with a public key"), "{wrong}");
    assert!(wrong.err.contains("error: wrong has no key that can be taken\n  hint: name a file"), "{wrong}");
    let empty = site.run(&["import", "gitolite", "keydir", "beta"]);
    assert!(empty.code == 2 && empty.err.contains("keydir has no key that can be taken\n"), "{empty}");
    assert!(!site.ok(&["account", "list"]).out.contains("beta"));
}
