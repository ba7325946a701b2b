//! A disk that is full: changes are refused, look-ups go on, nothing is lost, and it recovers when there is room.

use std::io::Write as _;
use std::time::{Duration, Instant};

use pullgate::registry::{self, Settings};

use crate::disk::{self, Disk};
use crate::names::{account, add, key};

#[test]
fn a_full_disk_refuses_loses_nothing_and_recovers() {
    let mut disk = match Disk::new(24) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("SKIPPED: a disk that fills up is a loop device with ext4: {reason}");
            return;
        }
    };
    let dir = disk::registry(&disk.path());
    // Compaction is due all the time, and fails on the way as well.
    let settings = Settings { compact_after: 1024 * 1024, compact_patience: std::time::Duration::ZERO };
    let (lookup, amend) = registry::open_with(&dir, settings).unwrap();
    amend.commit("tester", &[account("acme"), account("beta")]).unwrap();
    let mut ballast = std::fs::File::create(disk.path().join("ballast")).unwrap();
    ballast.write_all(&vec![7; 8 * 1024 * 1024]).unwrap();
    ballast.sync_all().unwrap();
    let adds = |piece: u32| -> Vec<_> {
        (piece * 20..piece * 20 + 20).map(|n| add(n, &format!("acme/k{n}"), "full", &["acme/app"])).collect()
    };
    let mut piece = 0;
    let error = loop {
        match amend.commit("tester", &adds(piece)) {
            Ok(_) => piece += 1,
            Err(error) => break error.to_string(),
        }
        assert!(piece < 10_000, "the disk is not small");
    };
    assert!(error.contains("no space"), "{error}");
    let count = piece * 20;
    // A broken index answers "unavailable" for the moment until the journal is read again; it may break at any look.
    let is_there = |lookup: &registry::Lookup, number: u32| {
        let start = Instant::now();
        loop {
            match lookup.key(&key(number).fingerprint()) {
                Ok(found) => return found.is_some(),
                Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let all_there = |lookup: &registry::Lookup| {
        for number in 0..count {
            assert!(is_there(lookup, number), "{number} of {count}");
        }
        assert!(!is_there(lookup, count));
    };
    all_there(&lookup);
    assert!(amend.commit("tester", &adds(piece)).is_err(), "still full");
    // Also for somebody who starts on a full disk.
    drop((lookup, amend));
    let (lookup, amend) = registry::open_with(&dir, settings).unwrap();
    all_there(&lookup);
    // Closing may have freed some room; so it is filled again, to the same end.
    let error = loop {
        match amend.commit("tester", &adds(piece)) {
            Ok(_) => piece += 1,
            Err(error) => break error.to_string(),
        }
        assert!(piece < 10_000, "the disk is not small");
    };
    assert!(error.contains("space"), "{error}");
    let count = piece * 20;
    // Room again: the very next change works, without a restart.
    drop(ballast);
    std::fs::remove_file(disk.path().join("ballast")).unwrap();
    let start = Instant::now();
    while let Err(error) = amend.commit("tester", &adds(piece)) {
        assert!(start.elapsed() < Duration::from_secs(20), "{error}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(lookup.key(&key(count).fingerprint()).unwrap().is_some());
    drop((lookup, amend));
    // Whether there is room for an index as well, and how soon it is tried again, is not promised; if it answers, it is right.
    let found = registry::compare(&dir).unwrap();
    assert_eq!(found.wrong, Vec::<String>::new());
    let index = if found.indexed { "the index was compared" } else { "no index answered yet, and none was compared" };
    println!("{count} keys fitted; refused, served, and went on when there was room; {index}");
    disk.unmount();
}
