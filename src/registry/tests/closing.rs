//! What closing leaves for the next start.

use std::path::Path;

use super::*;
use crate::registry::index::MUCH;

/// The file in which sled says where everything is; without it, it reads all of its log when it is opened.
fn says_where(dir: &Path) -> bool {
    let mut files = std::fs::read_dir(dir.join("index")).unwrap().map(|item| item.unwrap().file_name());
    files.any(|name| name.to_string_lossy().starts_with("snap."))
}

#[test]
fn after_many_changes_closing_spares_the_next_start_the_log() {
    let keys = u32::try_from(MUCH).unwrap();
    for (count, spared) in [(keys / 2, false), (keys * 2, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (lookup, amend) = open(dir.path()).unwrap();
        settle(&lookup);
        let changes: Vec<_> = (0..count).map(|n| key_add(n, &format!("acme/k{n}"), &["acme/app"])).collect();
        commit(&amend, &[account_add("acme")]);
        commit(&amend, &changes);
        let before = everything(&lookup);
        drop((lookup, amend));
        assert_eq!(says_where(dir.path()), spared, "{count} keys");
        let (lookup, amend) = open(dir.path()).unwrap();
        assert!(from_index(&lookup), "{count} keys: the mark fits what closing left");
        assert_eq!(everything(&lookup), before);
        drop((lookup, amend));
        same(dir.path());
    }
}

/// The first command of all, which is over before there is an index.
#[test]
fn who_closes_at_once_leaves_no_index_that_looks_broken() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let (lookup, amend) = open(dir.path()).unwrap();
        commit(&amend, &[account_add("acme")]);
        let built = from_index(&lookup);
        drop((lookup, amend));
        let index = dir.path().join("index").join(crate::registry::index::LOCKED_FILE).exists();
        let marked = crate::registry::mark::exists(dir.path()).unwrap();
        assert_eq!(index, marked, "an index is there exactly if it is whole; built before the end: {built}");
        let (lookup, amend) = open(dir.path()).unwrap();
        settle(&lookup);
        drop((lookup, amend));
        same(dir.path());
    }
}

/// What a daemon does whose place another process takes: its connections keep their handles.
#[test]
fn who_closes_early_closes_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    settle(&lookup);
    commit(&amend, &[account_add("acme")]);
    let before = everything(&lookup);
    let (late, other) = (amend.clone(), lookup.clone());
    assert!(matches!(open(dir.path()), Err(OpenError::Locked)));
    amend.close();
    assert!(other.accounts().is_err(), "it is answered from what another process may change");
    assert!(matches!(late.commit("root", &[account_add("late")]), Err(CommitError::Unavailable(_))));
    let (next, next_amend) = open(dir.path()).unwrap();
    assert!(from_index(&next), "it was closed well");
    assert_eq!(everything(&next), before);
    // What goes later closes nothing that is another's by then.
    drop((lookup, amend, late, other));
    assert!(matches!(open(dir.path()), Err(OpenError::Locked)));
    drop((next, next_amend));
    same(dir.path());
}
