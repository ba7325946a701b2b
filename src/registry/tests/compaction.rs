//! A journal that is made short again, and journals of older versions.

use std::os::unix::fs::FileExt as _;

use super::*;
use crate::registry::journal::frame::{self, Start};
use crate::registry::{Settings, archives, open_with, verify};

const SMALL: Settings = Settings { compact_after: 16 * 1024, compact_patience: std::time::Duration::ZERO };

/// Adds and removes keys until the journal was compacted `times` times.
fn churn(lookup: &Lookup, amend: &Amend, dir: &Path, times: usize) {
    let start = Instant::now();
    while archives(dir).unwrap().len() < times {
        assert!(start.elapsed() < Duration::from_secs(60), "the journal is not compacted");
        let number = fresh();
        commit(amend, &[key_add(number, &format!("acme/c{number}"), &["acme/app", "beta/lib"])]);
        if number.is_multiple_of(2) {
            commit(amend, &[Change::KeyRemove { key: key(number).fingerprint() }]);
            assert_eq!(lookup.key(&key(number).fingerprint()).unwrap(), None);
        }
    }
}

#[test]
fn a_compacted_journal_says_the_same_and_the_old_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open_with(dir.path(), SMALL).unwrap();
    commit(&amend, &[account_add("acme"), account_add("beta")]);
    churn(&lookup, &amend, dir.path(), 3);
    let before = everything(&lookup);
    let seq = commit(&amend, &[account_add("acme")]).seq;
    drop((lookup, amend));
    let found = verify(dir.path()).unwrap();
    assert_eq!((found.seq, found.torn), (seq, false));
    assert!(found.snapshot > 0 && found.snapshot <= seq);
    same(dir.path());
    let archives = archives(dir.path()).unwrap();
    assert!(archives.len() >= 3);
    // Together they have every entry from the first on, each whole.
    assert!(archives.iter().all(|(_, whole)| whole.is_ok()), "{archives:?}");
    assert!(archives.iter().any(|(name, _)| name.starts_with("journal.1-")));
    lose_index(dir.path());
    let (lookup, amend) = open(dir.path()).unwrap();
    assert!(!from_index(&lookup));
    assert_eq!(everything(&lookup), before);
    // The chain goes on from the snapshot.
    assert_eq!(commit(&amend, &[account_add("gamma")]).seq, seq + 1);
}

#[test]
fn a_damaged_snapshot_is_refused_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open_with(dir.path(), SMALL).unwrap();
    commit(&amend, &[account_add("acme"), account_add("beta")]);
    churn(&lookup, &amend, dir.path(), 1);
    drop((lookup, amend));
    let path = dir.path().join("journal");
    let whole = std::fs::read(&path).unwrap();
    let snapshot = whole.windows(9).position(|bytes| bytes == br#"{"base":{"#).unwrap();
    assert!(whole.starts_with(b"pgsnap") && snapshot > 1000);
    for place in (0..snapshot).step_by(211) {
        let mut bytes = whole.clone();
        bytes[place] ^= 4;
        assert!(crate::registry::decode_journal(&bytes).is_err(), "{place}");
        // Also when nothing follows: a snapshot is never a torn write.
        assert!(crate::registry::decode_journal(&whole[..place]).is_err(), "{place}");
    }
    // With its checksums made anew, a changed record does not fit the hash of all records.
    let mut payload = whole[frame::HEADER + frame::FRAME_HEAD..].to_vec();
    let length = u32::from_le_bytes(whole[20..24].try_into().unwrap()) as usize;
    payload.truncate(length);
    let at = payload.windows(8).position(|bytes| bytes == b"acme/app").unwrap();
    payload[at + 5] = b'x';
    let mut forged = frame::header(Start::Snapshot).to_vec();
    forged.extend(frame::frame(&payload).unwrap());
    forged.extend(&whole[frame::HEADER + frame::FRAME_HEAD + length..]);
    let error = crate::registry::decode_journal(&forged).unwrap_err();
    assert!(error.contains("not what was written"), "{error}");
}

#[test]
fn what_a_crash_leaves_of_a_compaction_is_tidied() {
    let dir = tempfile::tempdir().unwrap();
    let before = sample(dir.path());
    let journal = dir.path().join("journal");
    // Between the archive's name and the new journal's; and before.
    std::fs::hard_link(&journal, dir.path().join("journal.1-4")).unwrap();
    std::fs::write(dir.path().join("journal.new"), b"half").unwrap();
    let (lookup, _amend) = open(dir.path()).unwrap();
    assert_eq!(everything(&lookup), before);
    assert!(!dir.path().join("journal.new").exists());
    assert!(!dir.path().join("journal.1-4").exists(), "it would grow with the journal");
}

#[test]
fn a_journal_of_version_1_is_read_and_gets_a_new_header() {
    let dir = tempfile::tempdir().unwrap();
    let before = sample(dir.path());
    let path = dir.path().join("journal");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&frame::header_of(1, Start::Entries), 0).unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    assert_eq!(everything(&lookup), before);
    commit(&amend, &[account_add("gamma")]);
    drop((lookup, amend));
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes[..frame::HEADER], frame::header(Start::Entries));
    assert_eq!(crate::registry::decode_journal(&bytes), Ok(5));
    // One of a later version is left alone.
    file.write_all_at(&frame::header_of(frame::VERSION + 1, Start::Entries), 0).unwrap();
    let newer = std::fs::read(&path).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Newer(_))));
    assert_eq!(std::fs::read(&path).unwrap(), newer);
}

/// A command that writes much without a daemon, and is gone: it need not wait for what only a daemon has use for.
#[test]
fn a_journal_is_left_alone_until_it_has_been_long_for_a_while() {
    let long = |patience| {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { compact_patience: patience, ..SMALL };
        let (lookup, amend) = open_with(dir.path(), settings).unwrap();
        let changes: Vec<_> = (0..200).map(|_| fresh()).map(|n| key_add(n, &format!("acme/p{n}"), &[])).collect();
        commit(&amend, &[account_add("acme")]);
        commit(&amend, &changes);
        settle(&lookup);
        drop((lookup, amend));
        archives(dir.path()).unwrap().len()
    };
    assert_eq!((long(Duration::ZERO), long(Duration::from_secs(3600))), (1, 0));
}

/// As on a disk that was full for a while.
#[test]
fn a_compaction_that_failed_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open_with(dir.path(), SMALL).unwrap();
    // Nobody can write a file over a folder.
    let stands = dir.path().join("journal.new");
    std::fs::create_dir(&stands).unwrap();
    commit(&amend, &[account_add("acme"), account_add("beta")]);
    for number in 0..60 {
        commit(&amend, &[key_add(number, &format!("acme/c{number}"), &["acme/app", "beta/lib"])]);
    }
    std::thread::sleep(Duration::from_millis(700));
    assert!(archives(dir.path()).unwrap().is_empty(), "it has failed");
    std::fs::remove_dir(&stands).unwrap();
    let start = Instant::now();
    while archives(dir.path()).unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "it is not tried again");
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = everything(&lookup);
    drop((lookup, amend));
    same(dir.path());
    assert_eq!(everything(&open(dir.path()).unwrap().0), before);
}
