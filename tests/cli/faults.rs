//! How faults are told: with a hint, to people or to scripts.

use serde_json::{Value, json};

use crate::support::Site;

#[test]
fn wrong_usage_has_a_hint_as_every_fault_has() {
    let site = Site::empty();
    for (args, hint) in [
        (&["fly"][..], "`pullgate --help`"),
        (&["key", "fly"], "`pullgate key --help`"),
        (&["key", "add", "acme"], "`pullgate key add --help`"),
        (&["key", "list", "--no-such-flag"], "`pullgate key list --help`"),
        (&["import", "authorized-keys", "one", "two", "three"], "`pullgate import authorized-keys --help`"),
        (&["completions", "csh"], "`pullgate completions --help`"),
    ] {
        let ran = site.run(args);
        assert!(ran.code == 2 && ran.out.is_empty() && ran.err.starts_with("error: "), "{ran}");
        assert!(ran.err.ends_with(&format!("\n  hint: {hint} says what there is\n")), "{ran}");
        assert!(!ran.err.contains("For more information"), "{ran}");
    }
}

/// Every line of standard error as an object.
fn errors(site: &Site, args: &[&str], code: i32) -> Vec<Value> {
    let ran = site.run(&[args, &["--json"]].concat());
    assert!(ran.code == code && ran.out.is_empty(), "{ran}");
    ran.err.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ran}"))).collect()
}

#[test]
fn faults_are_objects_where_json_is_asked_for() {
    let site = Site::with_acme();
    let no_such = errors(&site, &["key", "show", "acme/none"], 3);
    assert_eq!(no_such.len(), 1);
    assert_eq!(no_such[0]["error"]["kind"], "not-found");
    assert!(no_such[0]["error"]["message"].as_str().unwrap().contains("acme/none"), "{no_such:?}");
    assert!(no_such[0]["error"]["hint"].is_string(), "{no_such:?}");
    // Each fault on a line of its own, with the option that it is about.
    let two = errors(&site, &["key", "add", "acme", "-", "--key", "a.pub", "--grant", "*"], 2);
    let fields: Vec<&Value> = two.iter().map(|fault| &fault["error"]["field"]).collect();
    assert_eq!(fields, [&json!("label"), &json!("grant")]);
    // Wrong usage, and no config.
    let usage = errors(&site, &["key", "add", "acme"], 2);
    assert_eq!(usage[0]["error"]["kind"], "invalid");
    let message = usage[0]["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("the following required arguments") && !message.contains("Usage"), "{message}");
    assert_eq!(usage[0]["error"]["hint"], "`pullgate key add --help` says what there is");
    let config = errors(&site, &["key", "list", "--config", "nowhere.toml"], 6);
    assert_eq!(config[0]["error"]["kind"], "unavailable");
    // Behind `--` it is no flag.
    let ran = site.run(&["key", "show", "--", "--json"]);
    assert!(ran.err.starts_with("error: "), "{ran}");
}

#[test]
fn a_fault_names_the_option_that_it_is_about() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub"]);
    let ran = site.run(&["key", "suspend", "acme/ci", "--reason", "a\u{1b}[2Jb"]);
    assert!(ran.code == 2 && ran.err.starts_with("error: reason: "), "{ran}");
    assert_eq!(site.run(&["man", "/nonexistent/folder"]).code, 3);
}

#[test]
fn a_config_without_an_end_is_refused() {
    let site = Site::empty();
    std::fs::remove_file(site.path("config.toml")).ok();
    std::os::unix::fs::symlink("/dev/zero", site.path("config.toml")).unwrap();
    let ran = site.run(&["serve"]);
    assert!(ran.code == 6 && ran.err.contains("cannot be read: it has more than 1 MiB"), "{ran}");
}
