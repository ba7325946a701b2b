//! Every verb that changes something, for scripts: one object that says what was done.

use crate::support::{KEY_A, Site};

#[test]
fn every_change_says_what_it_did_as_one_object() {
    let site = Site::with_acme();
    let mut story = String::new();
    for args in [
        &["account", "add", "beta"][..],
        &["account", "add", "beta"],
        &["account-key", "add", "acme", "jo", "--key", "b.pub"],
        &["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app", "--grant", "beta/lib"],
        &["key", "rename", "acme/ci", "agent"],
        &["key", "note", "acme/agent", "cellar"],
        &["key", "grant", "acme/agent", "acme/x", "acme/y"],
        &["key", "ungrant", "acme/agent", "acme/x", "beta/lib"],
        &["key", "expire", "acme/agent", "2099-01-01"],
        &["key", "suspend", "acme/agent", "--reason", "lost"],
        &["key", "resume", "acme/agent"],
        &["key", "sources", "acme/agent", "10.0.0.0/8"],
        &["group", "add", "acme/@all", "acme/app", "acme/lib"],
        &["group", "remove", "acme/@all", "acme/lib"],
        &["group", "remove", "acme/@all", "--yes"],
        &["repo", "publish", "acme/app"],
        &["repo", "unpublish", "acme/app"],
        &["repo", "remove", "acme/app", "--yes"],
        &["account-key", "remove", "acme/jo"],
        &["key", "rotate", "acme/agent", "--key", "b.pub", "--overlap", "0d"],
        &["key", "remove", "acme/agent"],
        &["account", "remove", "acme", "--yes"],
        // A fault is told as to people, and nothing is on standard output.
        &["account", "remove", "acme", "--yes"],
    ] {
        let args = [args, &["--json"]].concat();
        let ran = site.run(&args);
        if ran.code == 0 {
            let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
            assert!(told["message"].is_string() && told["changed"].is_boolean(), "{ran}");
            assert!(told["warnings"].is_array() && told["notes"].is_array(), "{ran}");
        } else {
            assert_eq!(ran.out, "");
        }
        story.push_str(&format!("$ pullgate {}\n{ran}\n", args.join(" ")));
    }
    site.snapshot("json", &story);
}

#[test]
fn what_is_no_key_is_called_what_it_is() {
    let site = Site::with_acme();
    let wrapped = KEY_A.replacen("AAAAIAAB", "\nAAAAIAAB", 1);
    let mut story = String::new();
    for (what, text) in [
        ("wrapped", wrapped.as_str()),
        ("some text", "[store]\nroot = \"repositories\"\n"),
        ("two keys", &[KEY_A, crate::support::KEY_B].concat()),
        ("nothing", ""),
    ] {
        let ran = site.run_with(&["key", "add", "acme", "ci", "--key", "-"], text);
        assert_eq!(ran.code, 2, "{what}: {ran}");
        story.push_str(&format!("{what}: {}", ran.err));
    }
    site.snapshot("no_key", &story);
}
