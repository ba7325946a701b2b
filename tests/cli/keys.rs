//! The life of a key, without a daemon.

use crate::support::{KEY_A, Site};

#[test]
fn a_key_lives_from_add_to_remove() {
    let site = Site::with_acme();
    let mut story = String::new();
    for args in [
        &["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app", "--from", "10.0.0.0/8"][..],
        &["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app", "--from", "10.0.0.0/8"],
        &["key", "grant", "acme/ci", "acme/lib", "acme/team-*"],
        &["key", "grant", "acme/ci", "acme/lib"],
        &["key", "ungrant", "acme/ci", "acme/lib"],
        &["key", "rename", "acme/ci", "agent"],
        &["key", "note", "acme/agent", "the agent in the cellar"],
        &["key", "note", "acme/agent", "the agent in the cellar"],
        &["key", "show", "acme/agent"],
        &["whereis", "a.pub"],
        &["key", "remove", "acme/agent"],
        &["whereis", "a.pub"],
        &["account", "remove", "acme"],
        &["account", "add", "acme"],
        &["account", "add", "acme"],
    ] {
        story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args)));
    }
    site.snapshot("life_of_a_key", &story);
}

#[test]
fn mistakes_are_told_with_fact_hint_and_exit_code() {
    let site = Site::with_acme();
    site.ok(&["account", "add", "beta"]);
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/secret"]);
    let mut story = String::new();
    for args in [
        &["key", "add", "acme", "other", "--key", "a.pub", "--grant", "acme/lib"][..],
        &["key", "add", "beta", "ci", "--key", "a.pub", "--grant", "beta/app"],
        &["key", "add", "acme", "ci", "--key", "b.pub"],
        &["key", "add", "nobody", "ci", "--key", "b.pub"],
        &[
            "key",
            "add",
            "ac me",
            "c/i",
            "--key",
            "config.toml",
            "--grant",
            "x",
            "--expires",
            "soon",
            "--from",
            "10.0.0.1/8",
        ],
        &["key", "add", "acme", "x", "--key", "none.pub"],
        &["key", "grant", "acme/none", "acme/app"],
        &["key", "grant", "acme/ci", "acme/@backend"],
        &["key", "grant", "acme/ci", "beta/app"],
        &["key", "grant", "acme/ci", "gamma/app"],
        &["key", "show", "nobody/ci"],
        &["key", "show", "SHA256:short"],
        &["key", "list", "nobody"],
        &["account", "remove", "nobody"],
        &["account", "remove", "acme"],
        &["account", "remove", "acme", "--yes"],
    ] {
        story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args)));
    }
    site.snapshot("mistakes", &story);
}

#[test]
fn a_public_key_is_read_from_standard_input() {
    let site = Site::with_acme();
    let ran = site.run_with(&["key", "add", "acme", "ci", "--key", "-"], KEY_A);
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(site.run_with(&["whereis", "-"], KEY_A).code, 0);
}

#[test]
fn a_private_key_is_refused_and_the_public_half_pointed_at() {
    let site = Site::with_acme();
    site.ok(&["key", "generate", "acme", "first", "--out", "agent"]);
    std::fs::copy(site.path("a.pub"), site.path("agent.pub")).unwrap();
    let ran = site.run(&["key", "add", "acme", "ci", "--key", "agent"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("private key") && ran.err.contains("agent.pub"), "{ran}");
    // Hidden behind a comment it is still one.
    let hidden = format!("# my key\n{}", std::fs::read_to_string(site.path("agent")).unwrap());
    let ran = site.run_with(&["whereis", "-"], &hidden);
    assert!(ran.code == 2 && ran.err.contains("private key"), "{ran}");
}

#[test]
fn a_small_rsa_key_comes_with_advice() {
    let site = Site::with_acme();
    // e = 65537, n = 2048 bits: only its shape matters here.
    let mut blob = Vec::new();
    for part in [b"ssh-rsa".to_vec(), vec![1, 0, 1], [vec![0, 0xc1], vec![0x5b; 255]].concat()] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    use base64::Engine as _;
    let key = format!("ssh-rsa {}\n", base64::engine::general_purpose::STANDARD.encode(blob));
    let ran = site.run_with(&["key", "add", "acme", "old", "--key", "-"], &key);
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.err.starts_with("warning: an RSA key of 2048 bits is accepted"), "{ran}");
}

#[test]
fn changes_are_in_the_audit_file() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub"]);
    let text = std::fs::read_to_string(site.path("state/audit.jsonl")).unwrap();
    let what: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|record| record["event"] == "changed")
        .map(|record| record["what"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(what.len(), 2);
    assert!(what[0] == "added account acme" && what[1].starts_with("added key acme/ci"), "{what:?}");
}
