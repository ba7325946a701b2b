//! Many at once.

use std::sync::Barrier;

use super::*;

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
