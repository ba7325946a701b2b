//! The registry as a file: difference, application, and back.

use crate::support::{KEY_A, KEY_B, Site};

fn file(site: &Site, text: &str) {
    let text = text.replace("KEY_A", KEY_A.trim_end()).replace("KEY_B", KEY_B.trim_end());
    std::fs::write(site.path("registry.toml"), text).unwrap();
}

const FIRST: &str = r#"
accounts = ["acme", "beta"]
public = ["acme/docs"]

[[group]]
account = "acme"
name = "backend"
repositories = ["acme/api", "acme/worker"]

[[key]]
name = "acme/ci"
key = "KEY_A"
grants = ["acme/@backend", "acme/lib-*"]
from = ["10.0.0.0/8"]
expires = "2099-03-01"
note = "agent 7"

[[key]]
name = "beta/jo"
key = "KEY_B"
kind = "account-key"
"#;

const SECOND: &str = r#"
accounts = ["acme"]

[[group]]
account = "acme"
name = "backend"
repositories = ["acme/api", "acme/queue"]

[[key]]
name = "acme/agent"
key = "KEY_A"
grants = ["acme/@backend", "acme/app"]
from = ["10.0.0.0/8"]
suspended = true
"#;

#[test]
fn a_file_is_planned_applied_once_and_pruned_only_when_that_is_said() {
    let site = Site::new();
    let mut story = String::new();
    let mut run = |args: &[&str]| story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args)));
    file(&site, FIRST);
    run(&["apply", "registry.toml", "--dry-run"]);
    run(&["apply", "registry.toml"]);
    run(&["apply", "registry.toml"]);
    run(&["export"]);
    file(&site, SECOND);
    run(&["apply", "registry.toml", "--dry-run", "--json"]);
    run(&["apply", "registry.toml"]);
    run(&["apply", "registry.toml", "--prune"]);
    run(&["apply", "registry.toml", "--prune"]);
    run(&["export", "--json"]);
    run(&["apply", "none.toml"]);
    file(&site, "accounts = [\"-acme\"]");
    run(&["apply", "registry.toml"]);
    file(&site, "accounts = []\n[[key]]\nname = \"acme/x\"\nkey = \"KEY_B\"\nwrite = true");
    run(&["apply", "registry.toml"]);
    file(&site, "[[key]]\nname = \"acme/x\"\nkey = \"KEY_B\"\ngrants = [\"nobody/x\", \"acme/@none\"]");
    run(&["apply", "registry.toml"]);
    file(&site, "[[key]]\nname = \"nobody/x\"\nkey = \"KEY_B\"");
    run(&["apply", "registry.toml"]);
    file(&site, "[[key]]\nname = \"acme/x\"\nkey = \"KEY_B\"\n[[key]]\nname = \"acme/y\"\nkey = \"KEY_B\"");
    run(&["apply", "registry.toml"]);
    site.snapshot("apply", &story);
}

#[test]
fn what_is_exported_makes_the_same_registry_elsewhere() {
    let (here, there) = (Site::new(), Site::new());
    file(&here, FIRST);
    here.ok(&["apply", "registry.toml"]);
    let exported = here.ok(&["export"]).out;
    std::fs::write(there.path("registry.toml"), &exported).unwrap();
    there.ok(&["apply", "registry.toml"]);
    assert_eq!(there.ok(&["export"]).out, exported);
    assert!(here.path("registry.toml").exists() && exported.contains("acme/lib-*"));
}

/// All of it or nothing: a file whose last key stands against a rule leaves no trace of its first.
#[test]
fn an_application_is_one_transaction() {
    let site = Site::with_acme();
    let before = site.ok(&["export"]).out;
    file(
        &site,
        "accounts = [\"new\"]\n[[key]]\nname = \"new/a\"\nkey = \"KEY_A\"\n[[key]]\nname = \"nobody/b\"\nkey = \"KEY_B\"",
    );
    assert_eq!(site.run(&["apply", "registry.toml"]).code, 3);
    assert_eq!(site.ok(&["export"]).out, before);
}
