//! What happens to a key between its first and its last day: every verb, its empty and its wrong cases.

use std::process::Command;

use crate::support::{KEY_A, Site};

fn told(site: &Site, runs: &[&[&str]]) -> String {
    runs.iter().map(|args| format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args))).collect()
}

#[test]
fn expiry_suspension_and_networks_are_set_changed_and_removed() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app"]);
    let story = told(
        &site,
        &[
            &["key", "expire", "acme/ci", "2099-03-01"],
            &["key", "expire", "acme/ci", "2099-03-01"],
            &["key", "list", "--expiring", "36500d"],
            &["key", "expire", "acme/ci", "never"],
            &["key", "expire", "acme/ci", "2020-01-01"],
            &["key", "expire", "acme/ci", "tomorrow"],
            &["key", "expire", "acme/none", "90d"],
            &["key", "suspend", "acme/ci", "--reason", "seen in a public log"],
            &["key", "suspend", "acme/ci"],
            &["key", "list", "--suspended"],
            &["key", "show", "acme/ci"],
            &["key", "resume", "acme/ci"],
            &["key", "resume", "acme/ci"],
            &["key", "suspend", "acme/none"],
            &["key", "sources", "acme/ci", "10.0.0.0/8", "2001:db8::/32", "192.0.2.7"],
            &["key", "sources", "acme/ci", "10.0.0.0/8", "2001:db8::/32", "192.0.2.7"],
            &["key", "sources", "acme/ci", "10.1.2.3/8"],
            &["key", "sources", "acme/ci"],
            &["key", "sources", "acme/ci", "--anywhere"],
            &["key", "list", "--expired"],
            &["key", "list", "--unused", "1d"],
            &["key", "list", "--unused", "0d", "--account", "acme"],
            &["key", "list", "--unused", "soon"],
        ],
    );
    site.snapshot("life_expire_suspend_sources", &story);
}

#[test]
fn a_rotation_is_told_from_both_ends() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app", "--note", "agent 7"]);
    let story = told(
        &site,
        &[
            &["key", "rotate", "acme/ci", "--key", "b.pub", "--overlap", "12h"],
            &["key", "rotate", "acme/ci", "--key", "b.pub", "--overlap", "12h"],
            &["key", "show", "acme/ci"],
            &["key", "show", "acme/ci-2"],
            &["key", "show", "acme/ci-2", "--json"],
            &["key", "rotate", "acme/ci", "--key", "a.pub"],
            &["key", "rotate", "acme/ci-2", "--key", "a.pub"],
            &["key", "rotate", "acme/none", "--key", "a.pub"],
            &["key", "rotate", "acme/ci-2", "--key", "a.pub", "--overlap", "later"],
            &["key", "expire", "acme/ci", "2099-01-01"],
            &["key", "expire", "acme/ci", "2099-01-01"],
            &["key", "expire", "acme/ci", "never"],
            &["key", "show", "acme/ci-2"],
            &["key", "remove", "acme/ci"],
            &["key", "show", "acme/ci"],
            &["whereis", "a.pub"],
        ],
    );
    site.snapshot("life_rotate", &story);
}

#[test]
fn a_person_has_an_account_key() {
    let site = Site::with_acme();
    let story = told(
        &site,
        &[
            &["account-key", "list"],
            &["account-key", "list", "--json"],
            &["account-key", "add", "acme", "jo", "--key", "a.pub"],
            &["account-key", "add", "acme", "jo", "--key", "a.pub"],
            &["account-key", "list"],
            &["key", "list"],
            &["key", "show", "acme/jo"],
            &["key", "add", "acme", "ci", "--key", "a.pub"],
            &["key", "grant", "acme/jo", "acme/app"],
            &["key", "add", "acme", "ci", "--key", "b.pub"],
            &["account-key", "add", "acme", "mo", "--key", "b.pub"],
            &["account-key", "remove", "acme/ci"],
            &["key", "remove", "acme/jo"],
            &["account-key", "remove", "acme/jo"],
            &["account-key", "remove", "acme/jo"],
        ],
    );
    site.snapshot("account_keys", &story);
}

/// The same public key as a deploy key and as an account key, in different accounts, by many processes at once: one holder.
#[test]
fn many_processes_register_one_key_and_one_of_them_holds_it() {
    const PROCESSES: usize = 16;
    /// Neither yes nor no: try again.
    const UNAVAILABLE: i32 = 6;
    let site = Site::with_acme();
    (0..PROCESSES).for_each(|n| drop(site.ok(&["account", "add", &format!("n{n}")])));
    for _ in 0..rounds() {
        let start = |n: usize| {
            let noun = if n.is_multiple_of(2) { "key" } else { "account-key" };
            let account = format!("n{n}");
            let mut command: Command = site.command(&[noun, "add", &account, "x", "--key", "a.pub"]);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
        };
        let children: Vec<_> = (0..PROCESSES).map(start).collect();
        let ended = |mut child: std::process::Child| child.wait().unwrap().code().unwrap();
        let mut codes: Vec<i32> = children.into_iter().map(ended).collect();
        // On a slow machine a process waits in vain for its turn, says so, and may be run again.
        let begin = std::time::Instant::now();
        while let Some(n) = codes.iter().position(|code| *code == UNAVAILABLE) {
            assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{codes:?}");
            codes[n] = ended(start(n));
        }
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
        assert_eq!(codes.iter().filter(|code| **code == 4).count(), PROCESSES - 1, "{codes:?}");
        let listed =
            site.ok(&["key", "list"]).out.lines().count() + site.ok(&["account-key", "list"]).out.lines().count();
        assert_eq!(listed, 2, "one heading and one key");
        let holder = site.run_with(&["whereis", "-", "--json"], KEY_A);
        let holder: serde_json::Value = serde_json::from_str(&holder.out).unwrap();
        let noun = if holder["holder"] == "deploy-key" { "key" } else { "account-key" };
        site.ok(&[noun, "remove", holder["name"].as_str().unwrap()]);
    }
}

/// Few, unless somebody wants to see more: PULLGATE_ROUNDS.
fn rounds() -> usize {
    std::env::var("PULLGATE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[test]
fn an_overlap_that_is_over_is_told_of_as_that() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub"]);
    site.ok(&["key", "rotate", "acme/ci", "--key", "b.pub", "--overlap", "7d"]);
    let show = |key: &str| site.ok(&["key", "show", key]).out;
    assert!(
        show("acme/ci").contains("acme/ci-2; this key ends 2") && show("acme/ci-2").contains("acme/ci, which ends 2")
    );
    site.ok(&["key", "expire", "acme/ci", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let (old, new) = (show("acme/ci"), show("acme/ci-2"));
    assert!(old.contains("acme/ci-2; this key ended 2") && new.contains("acme/ci, which ended 2"), "{old}{new}");
}

/// A reason that is not taken is not dropped in silence.
#[test]
fn a_suspension_that_stands_keeps_its_reason_and_says_so() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub"]);
    site.ok(&["key", "suspend", "acme/ci"]);
    assert!(site.ok(&["key", "suspend", "acme/ci"]).err.is_empty());
    let again = site.ok(&["key", "suspend", "acme/ci", "--reason", "leaked"]);
    assert!(
        again.out.contains("suspended already") && again.err.contains("it has no reason, and none was added"),
        "{again}"
    );
    site.ok(&["key", "resume", "acme/ci"]);
    site.ok(&["key", "suspend", "acme/ci", "--reason", "leaked"]);
    let again = site.ok(&["key", "suspend", "acme/ci", "--reason", "lost"]);
    assert!(again.err.contains("its reason is still: leaked"), "{again}");
    assert!(site.ok(&["key", "suspend", "acme/ci", "--reason", "leaked"]).err.is_empty());
}
