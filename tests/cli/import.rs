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
