//! Correctness under fire: a repository is changed in every way that there is while clients of every version read it. Each
//! answer has to be what git would have said at some moment between question and answer, no reader is told something
//! older than before, every clone is whole, and nothing fails. `just storm-test 10` does it for ten minutes.

mod book;
mod readers;
mod refs;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::harness::{Gateway, plain_git, run};
use crate::raw::Door;
use book::Book;
use readers::Counts;
pub(crate) use writer::Dice;
use writer::Writer;

/// How many poll at once.
const POLLERS: u64 = 3;
/// How many clone and fetch at once.
const CLONERS: u64 = 2;

#[cfg(not(feature = "fault-racy-stamps"))]
fn seconds() -> u64 {
    std::env::var("PULLGATE_STORM_SECONDS").ok().map_or(30, |text| text.parse().expect("a number of seconds"))
}

fn seed() -> u64 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    std::env::var("PULLGATE_STORM_SEED")
        .ok()
        .map_or_else(|| u64::try_from(now()).unwrap(), |text| text.parse().expect("a number"))
        | 1
}

/// Sets a repository under fire in this gateway for `seconds`, or until the first fault; `fine_stamps` if its file system knows
/// fractions of seconds.
fn fire(gateway: &Gateway, bare: &Path, seconds: u64, fine_stamps: bool) -> Result<String, String> {
    let seed = seed();
    run(plain_git(gateway.path("").as_path()).args(["init", "-q", "--bare", "-b", "main"]).arg(bare)).ok();
    let key = gateway.key("fire", &["acme/app"]);
    let door = Door {
        address: ([127, 0, 0, 1], gateway.port()).into(),
        user: "git".to_owned(),
        key: Arc::new(russh::keys::load_secret_key(&key, None).unwrap()),
    };
    let writer = Writer::new(bare, &gateway.path("work"), Dice(seed))?;
    let book = Book::open(&writer::truth(bare)?);
    let counts = Counts::default();
    let (over, faults) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let end = Instant::now() + Duration::from_secs(seconds);
    let stop = || over.load(Ordering::Relaxed) || Instant::now() > end;
    let told = |result: Result<(), String>| {
        if let Err(fault) = result {
            over.store(true, Ordering::Relaxed);
            faults.lock().unwrap().push(fault);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| told(writer.run(&book, &stop)));
        for n in 1..=CLONERS {
            let (book, counts, key, stop, told) = (&book, &counts, &key, &stop, &told);
            let dice = Dice(seed.wrapping_add(n << 20));
            scope.spawn(move || told(readers::clone_and_fetch(gateway, key, book, counts, dice, stop)));
        }
        for n in 1..=POLLERS {
            let (book, counts, door, stop, told) = (&book, &counts, &door, &stop, &told);
            let dice = Dice(seed.wrapping_add(n << 40));
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                told(runtime.block_on(readers::poll(door, book, counts, dice, stop)));
            });
        }
    });
    // What was read has to have been kept at times, or all of this has shown nothing. Stamps of whole seconds are never old
    // enough while somebody writes.
    let audit = gateway.audit();
    let from =
        ["hit", "joined", "miss", "bypass"].map(|word| (word, audit.matches(&format!(r#""cache":"{word}""#)).count()));
    let summary = format!("{} operations, {counts:?}, packs and lists {from:?}, seed {seed}", book.operations());
    if fine_stamps && (from[0].1 == 0 || from[2].1 == 0) {
        faults.lock().unwrap().push("nothing was answered from what is kept".to_owned());
    }
    match faults.into_inner().unwrap() {
        faults if faults.is_empty() => Ok(summary),
        faults => Err(format!("{summary}\n{}", faults.join("\n"))),
    }
}

/// A gateway whose store is on a file system that knows whole seconds only, as ext3 and NFS before version 4 do.
fn on_whole_seconds(seconds: u64) -> Result<Result<String, String>, String> {
    // Inodes of 128 bytes have no room for fractions of seconds (ext4(5)).
    let disk = Disk::made_with(96, &["-I", "128"])?;
    let probe = disk.path().join("probe");
    std::fs::write(&probe, "").unwrap();
    let stamps = std::os::unix::fs::MetadataExt::mtime_nsec(&std::fs::metadata(&probe).unwrap());
    assert_eq!(stamps, 0, "this file system has fractions of seconds");
    let root = disk.path().join("store");
    std::fs::create_dir_all(root.join("acme")).unwrap();
    let line = format!("root = {:?}", root.display().to_string());
    let gateway = Gateway::start_with(|config| config.replace("root = \"repositories\"", &line));
    let result = fire(&gateway, &root.join("acme/app.git"), seconds, false);
    drop(gateway);
    Ok(result)
}

#[cfg(not(feature = "fault-racy-stamps"))]
#[test]
fn under_fire_every_answer_is_gits_own() {
    let gateway = Gateway::start();
    let bare = gateway.path("repositories/acme/app.git");
    let summary = fire(&gateway, &bare, seconds(), true).unwrap_or_else(|faults| panic!("{faults}"));
    eprintln!("under fire: {summary}");
}

#[cfg(not(feature = "fault-racy-stamps"))]
#[test]
fn under_fire_on_a_file_system_of_whole_seconds_too() {
    match on_whole_seconds(seconds()) {
        Ok(result) => eprintln!("on whole seconds: {}", result.unwrap_or_else(|faults| panic!("{faults}"))),
        Err(why) => eprintln!("not tried on whole seconds: {why}"),
    }
}

/// With the rule of young stamps switched off, which a build for this test alone can do, the fire finds it out.
#[cfg(feature = "fault-racy-stamps")]
#[test]
fn a_gateway_that_trusts_young_stamps_is_caught() {
    let faults = on_whole_seconds(120).expect("this takes root and a loop device").unwrap_err();
    eprintln!("caught: {faults}");
    assert!(faults.contains("had another value then") || faults.contains("is older than what it was told"), "{faults}");
}
