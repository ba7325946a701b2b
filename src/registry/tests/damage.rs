//! Files that are not as they were left.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::*;
use crate::registry::journal::frame::MARK;
use crate::registry::{RestoreOptions, restore};

fn frames(bytes: &[u8]) -> Vec<usize> {
    bytes.windows(4).enumerate().filter(|(_, window)| **window == MARK).map(|(at, _)| at).collect()
}

#[test]
fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let before = sample(dir.path());
    for _ in 0..3 {
        let (lookup, amend) = open(dir.path()).unwrap();
        // A clean stop leaves an index that is used as it is.
        assert!(from_index(&lookup));
        assert_eq!(everything(&lookup), before);
        assert_eq!(commit(&amend, &[account_add("acme")]).seq, 4);
    }
    for (name, mode) in [("journal", 0o600), ("lock", 0o600), ("index.clean", 0o600), ("index", 0o700)] {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().mode() & 0o777, mode, "{name}");
    }
}

#[test]
fn a_directory_is_made_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("state/registry");
    drop(open(&inner).unwrap());
    assert_eq!(fs::metadata(inner).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_torn_write_is_cut_off_wherever_it_tore() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let path = dir.path().join("journal");
    let whole = fs::read(&path).unwrap();
    let last = *frames(&whole).last().unwrap();
    // Torn, and so never acknowledged.
    let unacknowledged = || crate::registry::journal::known::replace(dir.path(), 3).unwrap();
    for cut in last..whole.len() {
        for zeros in [0, 1, 4096] {
            let mut torn = whole[..cut].to_vec();
            torn.extend(std::iter::repeat_n(0, zeros));
            // The last bytes of the frame may be there while earlier ones are not: pages reach the disk in any order.
            if zeros == 1 {
                torn.extend(&whole[(cut + 1).min(whole.len())..]);
                if torn == whole {
                    continue;
                }
            }
            assert_eq!(crate::registry::decode_journal(&torn), Ok(3), "{cut} {zeros}");
        }
    }
    for cut in (last..whole.len()).step_by(61) {
        let mut torn = whole[..cut].to_vec();
        torn.extend([0xee; 5000]);
        fs::write(&path, &torn).unwrap();
        // Nothing of it stays in the file, where a later and shorter entry would uncover it.
        unacknowledged();
        drop(crate::registry::journal::Journal::open(dir.path()).unwrap());
        assert_eq!(fs::read(&path).unwrap(), whole[..last]);
        fs::write(&path, &torn).unwrap();
        unacknowledged();
        let (lookup, amend) = open(dir.path()).unwrap();
        let names: Vec<_> = everything(&lookup).1.into_iter().map(|record| record.name.to_string()).collect();
        assert_eq!(names, ["acme/k0", "acme/k1"]);
        // The place of the lost entry is used again.
        assert_eq!(commit(&amend, &[key_add(cut as u32, "acme/k2", &[])]).seq, 4);
        drop((lookup, amend));
        assert_eq!(open(dir.path()).unwrap().0.keys(None, None, 10).unwrap().len(), 3);
    }
}

#[test]
fn damage_in_the_middle_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let path = dir.path().join("journal");
    let whole = fs::read(&path).unwrap();
    let places = frames(&whole);
    let (second, last) = (places[1], places[3]);
    for place in (0..last).step_by(7).chain([second, second + 4, second + 8, last - 1]) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "{place} {error}");
        let after = places.iter().filter(|frame| **frame <= place).count().saturating_sub(1);
        let text = error.to_string();
        assert!(text.contains(&format!("after entry {after}")) && text.contains("backup"), "{place}: {text}");
        // Nothing was repaired behind anybody's back.
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    // A frame that was taken out.
    let mut bytes = whole[..second].to_vec();
    bytes.extend(&whole[places[2]..]);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Damaged(_))));
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(dir.path()).unwrap().0.keys(None, None, 10).unwrap().len(), 3);
}

#[test]
fn a_journal_that_is_gone_is_no_empty_registry() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    fs::remove_file(dir.path().join("journal")).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::NoJournal)));
}

type Harm = fn(&Path);

#[test]
fn a_broken_index_is_built_again() {
    let harms: [(&str, Harm); 8] = [
        ("deleted", |index| fs::remove_dir_all(index).unwrap()),
        ("rubbish for a mark", |index| fs::write(index.with_file_name("index.clean"), "{}").unwrap()),
        ("a file in its place", |index| {
            fs::remove_dir_all(index).unwrap();
            fs::write(index, "x").unwrap();
        }),
        ("empty", |index| fs::write(index.join("db"), "").unwrap()),
        ("truncated", |index| {
            let file = OpenOptions::new().write(true).open(index.join("db")).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("garbage", |index| fs::write(index.join("db"), [0xa5; 70_000]).unwrap()),
        ("garbage configuration", |index| fs::write(index.join("conf"), "nonsense").unwrap()),
        ("a flipped byte", |index| {
            let file = OpenOptions::new().read(true).write(true).open(index.join("db")).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, 900).unwrap();
            file.write_all_at(&[byte[0] ^ 1], 900).unwrap();
        }),
    ];
    let dir = tempfile::tempdir().unwrap();
    let before = sample(dir.path());
    for (what, harm) in harms {
        harm(&dir.path().join("index"));
        let (lookup, amend) = open(dir.path()).unwrap();
        assert!(!from_index(&lookup), "{what}");
        assert_eq!(everything(&lookup), before, "{what}");
        settle(&lookup);
        assert_eq!(everything(&lookup), before, "{what}");
        assert!(!commit(&amend, &[account_add("acme")]).changed);
    }
    assert!(from_index(&open(dir.path()).unwrap().0));
}

#[test]
fn an_index_of_another_journal_is_built_again() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = sample(one.path());
    sample(two.path());
    // As long, and with other hashes.
    for entry in ["index", "index.clean"] {
        let (from, to) = (two.path().join(entry), one.path().join(entry));
        if to.is_dir() {
            fs::remove_dir_all(&to).unwrap();
        }
        fs::rename(from, to).unwrap();
    }
    let (lookup, _amend) = open(one.path()).unwrap();
    assert!(!from_index(&lookup));
    assert_eq!(everything(&lookup), expected);
}

#[test]
fn an_older_journal_is_refused_until_somebody_accepts_the_loss() {
    let dir = tempfile::tempdir().unwrap();
    let before = sample(dir.path());
    let path = dir.path().join("journal");
    let old = fs::read(&path).unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[Change::AccountRemove { account: account("acme") }]);
    drop((lookup, amend));
    fs::write(&path, &old).unwrap();
    for _ in 0..2 {
        // A removed key may not come back because a file is older than it should be; and not at the second try either.
        let text = open(dir.path()).unwrap_err().to_string();
        assert!(text.contains("entry 4, but entry 5 was acknowledged") && text.contains("pullgate restore"), "{text}");
        assert_eq!(fs::read(&path).unwrap(), old);
    }
    let accepted = RestoreOptions { replace: true, accept_loss: false };
    assert_eq!(restore(dir.path(), &path, accepted).unwrap(), 4);
    let (lookup, _amend) = open(dir.path()).unwrap();
    settle(&lookup);
    assert_eq!(everything(&lookup), before);
}

/// The open index, to do harm to it.
fn index(lookup: &Lookup) -> crate::registry::index::IndexReader {
    match &*lookup.0.source.read().unwrap() {
        Source::Index(reader) => reader.clone(),
        other @ (Source::Replayed(_) | Source::Nobody(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_record_that_does_not_parse_is_no_answer_and_is_built_again() {
    for confused in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let before = sample(dir.path());
        let (lookup, amend) = open(dir.path()).unwrap();
        let victim = key(1).fingerprint();
        if confused {
            let other = lookup.key(&key(2).fingerprint()).unwrap().unwrap();
            index(&lookup).spoil(&victim, &crate::registry::row::encode(&other).unwrap());
        } else {
            index(&lookup).spoil(&victim, b"{}");
        }
        assert!(lookup.key(&victim).is_err());
        // The writer looks around before its next commit, or after a moment.
        commit(&amend, &[account_add("gamma")]);
        let start = Instant::now();
        while lookup.key(&victim).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
        settle(&lookup);
        assert_eq!(everything(&lookup).1, before.1);
        drop((lookup, amend));
        let (lookup, _amend) = open(dir.path()).unwrap();
        assert!(from_index(&lookup));
        assert_eq!((everything(&lookup).1, lookup.accounts().unwrap().len()), (before.1, 3));
    }
}

#[test]
fn a_commit_that_meets_a_spoiled_record_is_checked_against_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let (lookup, amend) = open(dir.path()).unwrap();
    index(&lookup).spoil(&key(1).fingerprint(), b"{}");
    let held = Conflict::KeyHeld { holder: name("acme/k1"), kind: Holder::DeployKey };
    assert_eq!(conflict(&amend, &[key_add(1, "beta/again", &[])]), held);
    assert_eq!(everything(&lookup).1.len(), 3);
}

#[test]
fn when_the_writer_dies_nothing_hangs_and_nothing_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let (lookup, amend) = open(dir.path()).unwrap();
    let file = OpenOptions::new().write(true).open(dir.path().join("journal")).unwrap();
    file.write_all_at(b"????", 30).unwrap();
    index(&lookup).spoil(&key(1).fingerprint(), b"{}");
    assert!(lookup.key(&key(1).fingerprint()).is_err());
    let start = Instant::now();
    while lookup.accounts().is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(lookup.key(&key(2).fingerprint()).is_err());
    for _ in 0..3 {
        let answer = amend.commit("tester", &[account_add("gamma")]);
        assert!(matches!(answer, Err(CommitError::Unavailable(_))), "{answer:?}");
    }
    drop((lookup, amend));
    assert!(matches!(open(dir.path()), Err(OpenError::Damaged(_))));
}
