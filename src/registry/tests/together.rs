//! Many at once.

use std::sync::Barrier;

use super::*;
use crate::registry::build::hold;

#[test]
fn of_many_who_register_one_key_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[account_add("acme")]);
    for round in 0..10 {
        let barrier = Barrier::new(16);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|n| {
                    let (amend, barrier) = (amend.clone(), &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        amend.commit("tester", &[key_add(round, &format!("acme/r{round}-{n}"), &[])])
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winner = lookup.key(&key(round).fingerprint()).unwrap().unwrap().name;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for outcome in outcomes.into_iter().filter_map(Result::err) {
            let CommitError::Conflict(Conflict::KeyHeld { holder, .. }) = outcome else { panic!("{outcome:?}") };
            assert_eq!(holder, winner);
        }
    }
    assert_eq!(everything(&lookup).1.len(), 10);
}

#[test]
fn commits_share_frames_and_all_are_there_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[account_add("acme")]);
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let amend = amend.clone();
            scope.spawn(move || {
                for n in 0..50 {
                    let number = thread * 100 + n;
                    assert!(commit(&amend, &[key_add(number, &format!("acme/k{number}"), &[])]).changed);
                }
            });
        }
        // Look-ups go on meanwhile, over the change from memory to the index, and a name leads to its own key.
        for number in 0..1600 {
            if let Some(found) = lookup.named(&name(&format!("acme/k{number}"))).unwrap() {
                assert_eq!(found.fingerprint(), key(number).fingerprint());
            }
        }
    });
    let before = everything(&lookup);
    assert_eq!(before.1.len(), 800);
    drop((lookup, amend));
    let bytes = std::fs::read(dir.path().join("journal")).unwrap();
    let frames = bytes.windows(4).filter(|window| **window == crate::registry::journal::frame::MARK).count();
    assert!(frames < 801, "{frames} frames for 801 commits: none was shared");
    assert_eq!(crate::registry::decode_journal(&bytes), Ok(801));
    let (lookup, _amend) = open(dir.path()).unwrap();
    assert_eq!(everything(&lookup), before);
}

#[test]
fn a_second_opener_is_refused_and_let_in_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Locked)));
    drop(amend);
    // Look-ups go on without anybody who could change something.
    assert_eq!(lookup.accounts().unwrap(), []);
    assert!(matches!(open(dir.path()), Err(OpenError::Locked)));
    drop(lookup);
    let (lookup, amend) = open(dir.path()).unwrap();
    drop(lookup);
    assert!(commit(&amend, &[account_add("acme")]).changed);
    drop(amend);
    assert_eq!(open(dir.path()).unwrap().0.accounts().unwrap().len(), 1);
}

#[test]
fn commits_go_on_while_the_index_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[account_add("acme"), account_add("beta")]);
    let adds: Vec<Change> = (0..1500).map(|n| key_add(n, &format!("acme/k{n}"), &["beta/app", "beta/lib"])).collect();
    commit(&amend, &adds);
    drop((lookup, amend));
    lose_index(dir.path());
    hold::at(dir.path(), 0);
    let (lookup, amend) = open(dir.path()).unwrap();
    // Before the first piece, between pieces, and behind the last: keys that were copied already, and keys that were not.
    // Two grants each: it takes more pieces than their number alone would.
    for piece in [0, 1, 3, 5] {
        hold::reached(dir.path(), piece);
        for n in (0..1500).step_by(100) {
            let n = n + 3 * u32::try_from(piece).unwrap();
            let label = Label::parse(&format!("renamed{n}")).unwrap();
            commit(&amend, &[Change::KeyRemove { key: key(n).fingerprint() }]);
            commit(&amend, &[Change::KeyRename { key: key(n + 1).fingerprint(), label }]);
            commit(&amend, &[key_add(10_000 + n, &format!("beta/new{n}"), &["acme/app"])]);
        }
        assert!(!from_index(&lookup), "the builder was held");
        match piece {
            0 => hold::at(dir.path(), 1),
            1 => hold::at(dir.path(), 3),
            3 => hold::at(dir.path(), 5),
            _ => hold::release(dir.path()),
        }
    }
    settle(&lookup);
    commit(&amend, &[Change::AccountRemove { account: account("beta") }]);
    let before = everything(&lookup);
    assert!(before.1.iter().all(|record| record.grants.is_empty()) && before.1.len() == 1500 - 60);
    drop((lookup, amend));
    same(dir.path());
    for mark in [true, false] {
        if !mark {
            lose_index(dir.path());
        }
        let (lookup, amend) = open(dir.path()).unwrap();
        assert_eq!(from_index(&lookup), mark);
        assert_eq!(everything(&lookup), before);
        settle(&lookup);
        drop((lookup, amend));
    }
}

/// The journal that is compared with itself says nothing about an index.
#[test]
fn a_comparison_says_whether_the_index_answered() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    same(dir.path());
    lose_index(dir.path());
    hold::at(dir.path(), 0);
    let found = crate::registry::compare(dir.path()).unwrap();
    assert!(!found.indexed && found.wrong.is_empty() && !found.equal(), "{found:?}");
}

#[test]
#[ignore = "takes minutes; PULLGATE_KEYS says how many keys"]
fn scale() {
    let count: u32 = std::env::var("PULLGATE_KEYS").map_or(100_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        text.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned()
    };
    let timed = |what: &str, start: Instant| println!("{what}: {:?}, {}", start.elapsed(), resident());
    let start = Instant::now();
    let (lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[account_add("acme"), account_add("beta")]);
    settle(&lookup);
    for piece in 0..count / 1000 {
        let numbers = piece * 1000..(piece + 1) * 1000;
        let adds: Vec<Change> = numbers.map(|n| key_add(n, &format!("acme/k{n}"), &["acme/app", "beta/lib"])).collect();
        commit(&amend, &adds);
    }
    timed("filled", start);
    let start = Instant::now();
    drop((lookup, amend));
    timed("closed", start);
    let start = Instant::now();
    let (lookup, amend) = open(dir.path()).unwrap();
    assert!(from_index(&lookup));
    timed("opened clean", start);
    let mut times: Vec<Duration> = (0..100_000u32)
        .map(|n| {
            let fingerprint = key(n.wrapping_mul(2_654_435_761) % count).fingerprint();
            let start = Instant::now();
            assert!(lookup.key(&fingerprint).unwrap().is_some());
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("look-up p50 {:?} p99 {:?}", times[50_000], times[99_000]);
    let mut times: Vec<Duration> = (0..500)
        .map(|n| {
            let start = Instant::now();
            commit(&amend, &[key_add(count + n, &format!("acme/k{}", count + n), &["acme/app"])]);
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("commit p50 {:?} p99 {:?}", times[250], times[495]);
    drop((lookup, amend));
    lose_index(dir.path());
    let start = Instant::now();
    let (lookup, amend) = open(dir.path()).unwrap();
    timed("opened unclean", start);
    let start = Instant::now();
    while !from_index(&lookup) {
        assert!(start.elapsed() < Duration::from_secs(600));
        std::thread::sleep(Duration::from_millis(50));
    }
    timed("index built", start);
    let start = Instant::now();
    commit(&amend, &[Change::AccountRemove { account: account("acme") }]);
    timed("account removed", start);
}
