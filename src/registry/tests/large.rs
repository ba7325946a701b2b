//! Commits that are too large for one entry of the journal.

use std::fs;

use super::*;
use crate::registry::journal::frame::MARK;
use crate::registry::journal::known;

const KEYS: u32 = 600;

/// Some hundred kilobytes of changes; this program takes more than a few for large.
fn many(first: u32) -> Vec<Change> {
    (first..first + KEYS).map(|n| key_add(n, &format!("acme/k{n}"), &["acme/app", "beta/lib"])).collect()
}

fn frames(bytes: &[u8]) -> Vec<usize> {
    bytes.windows(4).enumerate().filter(|(_, window)| **window == MARK).map(|(at, _)| at).collect()
}

#[test]
fn a_large_commit_is_several_entries_and_one_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[account_add("acme"), account_add("beta")]);
    settle(&lookup);
    let small = fs::metadata(&path).unwrap().len();
    // One rule stands against the last of them: nothing of it is written.
    let mut changes = many(0);
    changes.push(key_add(0, "acme/again", &[]));
    assert!(matches!(conflict(&amend, &changes), Conflict::KeyHeld { .. }));
    assert_eq!((everything(&lookup).1.len(), fs::metadata(&path).unwrap().len()), (0, small));
    // What is so already is not written again.
    let done = commit(&amend, &[vec![account_add("acme")], many(0)].concat());
    assert!(done.changed && done.seq > 3, "{done:?}");
    assert_eq!(commit(&amend, &[account_add("gamma")]).seq, done.seq + 1);
    let before = everything(&lookup);
    assert_eq!(before.1.len(), KEYS as usize);
    drop((lookup, amend));
    same(dir.path());
    let (lookup, amend) = open(dir.path()).unwrap();
    assert!(from_index(&lookup));
    assert_eq!(everything(&lookup), before);
    drop((lookup, amend));
    lose_index(dir.path());
    let (lookup, amend) = open(dir.path()).unwrap();
    assert_eq!(everything(&lookup), before);
    // While the index is built, memory takes it over.
    commit(&amend, &many(KEYS));
    assert_eq!(everything(&lookup).1.len(), 2 * KEYS as usize);
    settle(&lookup);
    assert_eq!(everything(&lookup).1.len(), 2 * KEYS as usize);
}

#[test]
fn of_a_large_commit_that_was_cut_nothing_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let before = sample(dir.path());
    let first = frames(&fs::read(&path).unwrap()).len();
    let (lookup, amend) = open(dir.path()).unwrap();
    let done = commit(&amend, &many(100));
    let after = everything(&lookup).1;
    drop((lookup, amend));
    let whole = fs::read(&path).unwrap();
    let places = frames(&whole);
    assert_eq!(places.len() as u64, done.seq, "each part has a frame of its own");
    assert!(places.len() > first + 3);
    let ends = places[first + 1..].iter().flat_map(|place| [*place, place + 5, place + 5000]);
    for cut in ends.filter(|cut| *cut < whole.len()) {
        fs::write(&path, &whole[..cut]).unwrap();
        known::replace(dir.path(), 4).unwrap();
        assert_eq!(crate::registry::backup(dir.path(), &mut Vec::new()).unwrap().seq, 4, "{cut}");
        let (lookup, amend) = open(dir.path()).unwrap();
        assert_eq!(everything(&lookup), before, "{cut}");
        assert_eq!(commit(&amend, &[account_add("gamma")]).seq, 5);
        drop((lookup, amend));
        assert_eq!(open(dir.path()).unwrap().0.accounts().unwrap().len(), 3);
    }
    fs::write(&path, &whole).unwrap();
    known::replace(dir.path(), done.seq).unwrap();
    assert_eq!(everything(&open(dir.path()).unwrap().0).1, after);
    // A part that is missing in the middle is no interrupted write.
    let mut bytes = whole[..places[first + 1]].to_vec();
    bytes.extend(&whole[places[first + 2]..]);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Damaged(_))));
}

#[test]
fn a_part_that_shares_its_frame_is_damage() {
    use crate::registry::journal::entry::Hash;
    use crate::registry::journal::frame::{self, Start};
    let line = |seq: u64, prev: Hash, more: &str| {
        format!(r#"{{"seq":{seq},"prev":"{prev}"{more},"time":"2026-01-01T00:00:00Z","by":"x","changes":[]}}"#)
    };
    let journal = |frames: &[&str]| {
        let frames = frames.iter().flat_map(|lines| frame::frame(lines.as_bytes()).unwrap());
        crate::registry::decode_journal(&frame::header(Start::Entries).into_iter().chain(frames).collect::<Vec<_>>())
    };
    let first = line(1, Hash::default(), r#","more":true"#);
    let second = line(2, Hash::of(first.as_bytes()), "");
    assert_eq!(journal(&[&first, &second]), Ok(2));
    let text = journal(&[&format!("{first}\n{second}")]).unwrap_err();
    assert!(text.contains("shares its frame"), "{text}");
    let whole = line(1, Hash::default(), "");
    let part = line(2, Hash::of(whole.as_bytes()), r#","more":true"#);
    assert!(journal(&[&format!("{whole}\n{part}")]).unwrap_err().contains("shares its frame"));
    // However it is spelled.
    let spelled = line(1, Hash::default(), r#", "more" : true"#);
    let second = line(2, Hash::of(spelled.as_bytes()), "");
    assert!(journal(&[&format!("{spelled}\n{second}")]).unwrap_err().contains("shares its frame"));
}
