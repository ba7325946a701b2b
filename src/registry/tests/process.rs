//! What takes a process of its own: being killed, and ending itself.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "PULLGATE_TEST_REGISTRY";

/// This test program once more, with one of the tests below that only work as a child.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = format!("registry::tests::process::{test}");
    command.args(["--exact", &test, "--ignored", "--nocapture"]).env(DIR, dir);
    command
}

fn given() -> std::path::PathBuf {
    std::env::var_os(DIR).expect("run by another test").into()
}

#[test]
#[ignore = "the child of being_killed_loses_nothing"]
fn commits_without_end() {
    let (_lookup, amend) = open(&given()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100_000 {
                    let number = rand_number();
                    commit(&amend, &[key_add(number, &format!("acme/k{number}"), &["acme/app"])]);
                    println!("done {number}");
                }
            });
        }
    });
}

/// A number that earlier children did not use.
fn rand_number() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    u32::from_ne_bytes(bytes)
}

#[test]
fn being_killed_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[account_add("acme")]);
    drop((lookup, amend));
    let mut acknowledged = Vec::new();
    for round in 1..6 {
        let mut running = child("commits_without_end", dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(running.stdout.take().unwrap()).lines().map_while(Result::ok);
        for line in lines {
            // A line that was cut by the end names no number, or one that nobody can look up: only whole lines count.
            if let Some(number) = line.strip_prefix("done ").and_then(|number| number.parse::<u32>().ok()) {
                acknowledged.push(number);
            }
            if acknowledged.len() == round * 150 {
                running.kill().unwrap();
                break;
            }
        }
        assert_eq!(running.wait().unwrap().signal(), Some(9));
        let (lookup, _amend) = open(dir.path()).unwrap();
        for number in &acknowledged {
            let found = lookup.key(&key(*number).fingerprint()).unwrap();
            assert_eq!(found.unwrap().name, name(&format!("acme/k{number}")));
        }
        settle(&lookup);
        assert!(everything(&lookup).1.len() >= acknowledged.len());
    }
}

#[test]
#[ignore = "the child of a_journal_that_cannot_be_written_ends_the_process"]
fn writes_where_it_cannot() {
    let dir = given();
    crate::registry::journal::Journal::create(&dir).unwrap();
    let (mut journal, _) = crate::registry::journal::Journal::open(&dir).unwrap();
    journal.append(b"x", 1, Default::default()).unwrap();
    println!("space is there");
    journal.break_for_test(&dir);
    drop(journal.append(b"y", 2, Default::default()));
    println!("went on");
}

#[test]
fn a_journal_that_cannot_be_written_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let output = child("writes_where_it_cannot", dir.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("space is there") && !text.contains("went on"), "{text}");
    assert_eq!(output.status.signal(), Some(6), "{text}");
}

#[test]
fn a_full_disk_is_said_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    crate::registry::journal::Journal::create(dir.path()).unwrap();
    let (mut journal, _) = crate::registry::journal::Journal::open(dir.path()).unwrap();
    journal.break_for_test(dir.path());
    // A file that cannot grow stands for a disk that is full: the refusal comes from the same place.
    let error = journal.append(b"x", 1, Default::default()).unwrap_err();
    assert!(error.reason.contains("no space"), "{error}");
    assert_eq!(journal.seq(), 0);
    assert_eq!(std::fs::metadata(dir.path().join("journal")).unwrap().len(), 16);
}

#[test]
#[ignore = "needs a small file system of its own: PULLGATE_TEST_REGISTRY names a directory on it"]
fn a_disk_that_fills_up_refuses_and_loses_nothing() {
    let dir = given();
    let (lookup, amend) = open(&dir).unwrap();
    commit(&amend, &[account_add("acme")]);
    let mut number = 0;
    let error = loop {
        match amend.commit("tester", &[key_add(number, &format!("acme/k{number}"), &["acme/app"])]) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 1_000_000, "the file system is not small");
    };
    assert!(error.to_string().contains("no space"), "{error}");
    let before = everything(&lookup);
    assert_eq!(before.1.len(), number as usize);
    drop((lookup, amend));
    let (lookup, amend) = open(&dir).unwrap();
    assert_eq!(everything(&lookup), before);
    println!("{number} keys; the next commit says {:?}", amend.commit("tester", &[account_add("beta")]));
    assert_eq!(everything(&lookup).1, before.1);
}
