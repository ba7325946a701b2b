//! Listings, empty and full, for people and for scripts.

use std::process::Stdio;

use crate::support::Site;

#[test]
fn empty_listings() {
    let site = Site::new();
    let mut story = String::new();
    for args in [&["account", "list"][..], &["account", "list", "--json"], &["key", "list"], &["key", "list", "--json"]]
    {
        story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.ok(args)));
    }
    site.snapshot("listings_empty", &story);
}

#[test]
fn full_listings() {
    let site = Site::with_acme();
    site.ok(&["account", "add", "beta"]);
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--expires", "2099-12-31", "--note", "cellar"]);
    let grants = ["acme/a", "acme/b", "acme/c", "acme/d"];
    site.ok(&[&["key", "grant", "acme/ci"][..], &grants].concat());
    site.ok(&["key", "add", "beta", "agent-with-a-long-label", "--key", "b.pub", "--from", "10.0.0.0/8"]);
    let mut story = String::new();
    for args in [
        &["account", "list"][..],
        &["account", "list", "--json"],
        &["key", "list"],
        &["key", "list", "beta"],
        &["key", "list", "--json"],
        &["key", "show", "acme/ci"],
        &["key", "show", "beta/agent-with-a-long-label", "--json"],
    ] {
        story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.ok(args)));
    }
    site.snapshot("listings_full", &story);
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_complain() {
    let site = Site::with_acme();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = site.command(&["account", "list"]);
    let ran = command.stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!((ran.status.code(), String::from_utf8_lossy(&ran.stderr).as_ref()), (Some(0), ""));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = site.command(&["--help"]).stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!((ran.status.code(), String::from_utf8_lossy(&ran.stderr).as_ref()), (Some(0), ""));
}
