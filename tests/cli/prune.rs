//! `apply --prune`: what is taken away is what the file leaves out, all of it is shown before, and nothing goes by the way.

use crate::support::{KEY_A, KEY_B, Site};

fn site() -> Site {
    let site = Site::with_acme();
    site.ok(&["account", "add", "beta"]);
    site.ok(&["group", "add", "acme/@g", "acme/app"]);
    site.ok(&["repo", "publish", "beta/open"]);
    site.ok(&["key", "add", "beta", "k", "--key", "b.pub"]);
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "beta/x", "--grant", "acme/@g"]);
    site
}

fn write(site: &Site, text: &str) {
    let text = text.replace("KEY_A", KEY_A.trim_end()).replace("KEY_B", KEY_B.trim_end());
    std::fs::write(site.path("registry.toml"), text).unwrap();
}

const GROUP: &str = "[[group]]\naccount = \"acme\"\nname = \"g\"\nrepositories = [\"acme/app\"]\n";

/// Half of a file that is all there is to be cannot stand against the other half.
#[test]
fn a_file_that_keeps_what_it_takes_away_is_refused() {
    let site = site();
    let before = site.ok(&["export"]).out;
    let ci = "[[key]]\nname = \"acme/ci\"\nkey = \"KEY_A\"\n";
    for (text, has, missing) in [
        ("accounts = [\"acme\"]\n[[key]]\nname = \"beta/k\"\nkey = \"KEY_B\"\n", "key beta/k", "account beta"),
        (
            &format!("accounts = [\"acme\"]\n{ci}grants = [\"beta/x\"]\n"),
            "the grant beta/x of key acme/ci",
            "account beta",
        ),
        ("accounts = [\"acme\"]\npublic = [\"beta/open\"]\n", "beta/open among those that are public", "account beta"),
        (&format!("accounts = [\"beta\"]\n{GROUP}"), "group acme/@g", "account acme"),
        (
            &format!("accounts = [\"acme\", \"beta\"]\n{ci}grants = [\"acme/@g\"]\n"),
            "the grant acme/@g of key acme/ci",
            "group acme/@g",
        ),
    ] {
        write(&site, text);
        for args in
            [&["apply", "registry.toml", "--prune", "--yes"][..], &["apply", "registry.toml", "--prune", "--dry-run"]]
        {
            let ran = site.run(args);
            let words = format!("the file has {has}, and not {missing}, with which --prune would take that away");
            assert!(ran.code == 2 && ran.err.contains(&words), "{words}\n{ran}");
        }
        assert_eq!(site.ok(&["export"]).out, before);
    }
    write(&site, &format!("accounts = [\"acme\"]\n{GROUP}{GROUP}"));
    let twice = site.run(&["apply", "registry.toml"]);
    assert!(twice.code == 2 && twice.err.contains("the file has the group acme/@g twice"), "{twice}");
}

/// And what goes along with something is counted.
#[test]
fn what_goes_with_an_account_or_a_group_is_shown() {
    let site = site();
    write(&site, "accounts = [\"acme\"]\n[[key]]\nname = \"acme/ci\"\nkey = \"KEY_A\"\n");
    let dry = site.ok(&["apply", "registry.toml", "--prune", "--dry-run"]);
    for line in [
        "- account beta\n    with 1 key\n    with 1 public path\n    1 key of other accounts may fetch nothing of it any more\n",
        "- group acme/@g\n    1 key may fetch nothing by it any more\n",
    ] {
        assert!(dry.out.contains(line), "{line}{dry}");
    }
    site.ok(&["apply", "registry.toml", "--prune", "--yes"]);
    let again = site.ok(&["apply", "registry.toml", "--prune"]);
    assert_eq!(again.out, "No changes: the registry is what the file says.\n");
}

/// A bound that goes is taken away like anything else: with a question.
#[test]
fn a_key_is_let_in_from_anywhere_only_when_that_is_agreed_to() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--from", "10.0.0.0/8"]);
    write(&site, "accounts = [\"acme\"]\n[[key]]\nname = \"acme/ci\"\nkey = \"KEY_A\"\n");
    let stays = site.ok(&["apply", "registry.toml"]);
    let words = "No changes: what the file has is there. What it does not have stays; --prune takes that away.\n";
    assert_eq!(stays.out, words);
    let asked = site.run(&["apply", "registry.toml", "--prune"]);
    assert!(asked.code == 4 && asked.err.contains("this takes away: from: 10.0.0.0/8 of key acme/ci"), "{asked}");
    assert!(asked.out.contains("    - from: 10.0.0.0/8\n    from: anywhere\n"), "{asked}");
    assert!(site.ok(&["key", "show", "acme/ci"]).out.contains("10.0.0.0/8"));
    site.ok(&["apply", "registry.toml", "--prune", "--yes"]);
    assert!(!site.ok(&["key", "show", "acme/ci"]).out.contains("10.0.0.0/8"));
}

#[test]
fn a_key_stays_what_it_is() {
    let site = site();
    write(&site, "accounts = [\"acme\"]\n[[key]]\nname = \"acme/ci\"\nkey = \"KEY_A\"\nkind = \"account-key\"\n");
    let ran = site.run(&["apply", "registry.toml"]);
    let words = "key acme/ci is a deploy key, and the file says an account key";
    assert!(ran.code == 4 && ran.err.contains(words) && ran.err.contains("a key stays what it is"), "{ran}");
}
