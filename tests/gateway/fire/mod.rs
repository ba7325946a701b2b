//! Correctness under fire: a repository is changed in every way that there is while clients of every version read it. Each
//! answer has to be what git would have said at some moment between question and answer, no reader is told something
//! older than before, every clone is whole, and nothing fails. `just storm-test 10` does it for ten minutes.

mod book;
mod readers;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{Gateway, plain_git, run};
use crate::raw::Door;
use book::Book;
use readers::Counts;
use writer::{Dice, Writer};

/// How many poll at once.
const POLLERS: u64 = 3;
/// How many clone and fetch at once.
const CLONERS: u64 = 2;

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

/// Sets a repository under fire in this gateway for `seconds`, or until the first fault.
fn fire(gateway: &Gateway, bare: &Path, seconds: u64) -> Result<String, String> {
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
    let summary = format!("{} operations, {counts:?}, seed {seed}", book.operations());
    match faults.into_inner().unwrap() {
        faults if faults.is_empty() => Ok(summary),
        faults => Err(format!("{summary}\n{}", faults.join("\n"))),
    }
}

#[test]
fn under_fire_every_answer_is_gits_own() {
    let gateway = Gateway::start();
    let bare = gateway.path("repositories/acme/app.git");
    let summary = fire(&gateway, &bare, seconds()).unwrap_or_else(|faults| panic!("{faults}"));
    eprintln!("under fire: {summary}");
}
