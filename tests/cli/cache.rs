//! The cache, where there is none: a daemon keeps it. With one, `tests/gateway/storms.rs` looks at it.

use crate::support::Site;

#[test]
fn without_a_daemon_nothing_is_kept() {
    let site = Site::new();
    let mut story = String::new();
    for args in [&["cache", "show"][..], &["cache", "show", "--json"], &["cache", "clear"], &["cache"]] {
        story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args)));
    }
    site.snapshot("cache_without_a_daemon", &story);
}

/// Whose place would be taken?
#[test]
fn without_a_daemon_nothing_is_upgraded() {
    let site = Site::new();
    let mut story = String::new();
    for args in [&["upgrade"][..], &["upgrade", "--json"], &["serve", "--successor"]] {
        story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args)));
    }
    site.snapshot("upgrade_without_a_daemon", &story);
}
