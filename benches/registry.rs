//! The registry at scale. `just bench-registry` runs it with a million keys and prints a table.
//!
//! What can be done many times (a look-up, an addition) is criterion's to measure, with its statistics. What happens once
//! at a million keys (opening, building an index) is timed once, each in a process of its own, so that the memory that is
//! reported is that of the one thing. `cargo bench -- --test` only shows that it runs, with a thousand keys. One stage alone:
//! `--stage NAME DIR KEYS`, with `fill` first; a copy of what it fills serves every other one.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement prints, and says no by panicking"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use criterion::Criterion;
use pullgate::model::expiry::Expiry;
use pullgate::model::grant::Grant;
use pullgate::model::key_name::KeyName;
use pullgate::model::name::AccountName;
use pullgate::model::public_key::PublicKey;
use pullgate::model::text::Note;
use pullgate::registry::change::Change;
use pullgate::registry::record::Holder;
use pullgate::registry::{self, Amend, Lookup};

// As the program has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How many accounts the keys are spread over.
const ACCOUNTS: u32 = 1000;
/// How many keys one commit of the filling has.
const TOGETHER: u32 = 1000;
/// Who adds at once, and how many keys each.
const CLIENTS: u32 = 64;
const EACH: u32 = 400;
/// Where numbers of keys that are added later start.
const LATER: u32 = 1 << 30;

fn key(number: u32) -> PublicKey {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    // Keys are random: their order is not that of their numbers.
    for n in 0..8u32 {
        blob.extend_from_slice(&(number ^ n.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b).to_be_bytes());
    }
    PublicKey::parse(&format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob))).unwrap()
}

fn add(number: u32) -> Change {
    let account = number % ACCOUNTS;
    let grants = [format!("acc{account}/app{}", number % 7), format!("acc{account}/team-*")];
    Change::KeyAdd {
        key: key(number),
        name: KeyName::parse(&format!("acc{account}/ci-agent-{number}")).unwrap(),
        holder: Holder::DeployKey,
        note: Note::parse("build agents of the second floor").unwrap(),
        expiry: Expiry::Never,
        sources: Vec::new(),
        grants: grants.iter().map(|grant| Grant::parse(grant).unwrap()).collect(),
    }
}

/// Resident memory now and at its highest, in MB.
fn memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    (line("VmRSS"), line("VmHWM"))
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[times.len() * percent / 100]
}

fn row(what: &str, value: impl std::fmt::Display, target: &str) {
    println!("| {what} | {value} | {target} |");
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

fn lookups(lookup: &Lookup, count: u32) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..200_000u32.min(count * 10))
        .map(|n| {
            let fingerprint = key(n.wrapping_mul(2_654_435_761) % count).fingerprint();
            let start = Instant::now();
            assert!(lookup.key(&fingerprint).unwrap().is_some());
            start.elapsed()
        })
        .collect();
    times.sort();
    times
}

fn wait_for_index(lookup: &Lookup) {
    while !lookup.indexed() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A child's part of the table. Prints rows.
fn stage(name: &str, dir: &Path, count: u32) {
    let start = Instant::now();
    let (lookup, amend) = registry::open(dir).unwrap();
    let opened = start.elapsed();
    match name {
        "fill" => {
            let accounts: Vec<_> = (0..ACCOUNTS)
                .map(|n| Change::AccountAdd { account: AccountName::parse(&format!("acc{n}")).unwrap() })
                .collect();
            amend.commit("bench", &accounts).unwrap();
            wait_for_index(&lookup);
            let start = Instant::now();
            for piece in 0..count.div_ceil(TOGETHER) {
                let changes: Vec<_> = (piece * TOGETHER..count.min((piece + 1) * TOGETHER)).map(add).collect();
                amend.commit("bench", &changes).unwrap();
            }
            row("filling it, 1,000 keys a commit", seconds(start.elapsed()), "");
            let start = Instant::now();
            drop((lookup, amend));
            row("closing it, waiting compactions included", seconds(start.elapsed()), "");
        }
        "clean" => {
            assert!(lookup.indexed());
            row("open after a clean stop", seconds(opened), "≤ 3 s");
            let mut times = lookups(&lookup, count);
            row("look-up by fingerprint, p50", micros(percentile(&mut times, 50)), "");
            row("look-up by fingerprint, p99", micros(percentile(&mut times, 99)), "≤ 50 µs");
            let mut times: Vec<Duration> = (0..2000)
                .map(|n| {
                    let change = [add(LATER + n)];
                    let start = Instant::now();
                    amend.commit("bench", &change).unwrap();
                    start.elapsed()
                })
                .collect();
            row("durable addition, p50", micros(percentile(&mut times, 50)), "≤ 1 ms");
            row("durable addition, p99", micros(percentile(&mut times, 99)), "");
            row("64 clients adding at once", format!("{:.0} keys/s", together(&amend)), "≥ 5,000/s");
            row("memory, resident / highest", format!("{} / {} MB", memory().0, memory().1), "≤ 1,200 MB");
            let start = Instant::now();
            drop((lookup, amend));
            row("closing it", seconds(start.elapsed()), "");
        }
        "die" => {
            // Until somebody kills it.
            for n in 0.. {
                amend.commit("bench", &[add(LATER / 2 + n)]).unwrap();
                if n == 3000 {
                    println!("writing");
                }
            }
        }
        "killed" => {
            assert!(lookup.indexed(), "the index of a process that was killed is compared, not built again");
            row("open after a kill, until look-ups are answered", seconds(opened), "≤ 6 s");
            let mut times = lookups(&lookup, count);
            row("look-up after that, p50", micros(percentile(&mut times, 50)), "");
            row("look-up after that, p99", micros(percentile(&mut times, 99)), "≤ 50 µs");
            let (now, highest) = memory();
            row("memory after that, resident / highest", format!("{now} / {highest} MB"), "≤ 1,200 MB");
            drop((lookup, amend));
        }
        "lost" => {
            row("open without an index, until look-ups are answered", seconds(opened), "");
            let mut times = lookups(&lookup, count);
            row("look-up from memory meanwhile, p50", micros(percentile(&mut times, 50)), "");
            row("look-up from memory meanwhile, p99", micros(percentile(&mut times, 99)), "≤ 50 µs");
            wait_for_index(&lookup);
            row("the index built, since the start", seconds(start.elapsed()), "");
            // What was freed may be given back only now.
            let (now, highest) = memory();
            row("memory after that, resident / highest", format!("{now} / {highest} MB"), "≤ 1,200 MB");
            drop((lookup, amend));
        }
        other => panic!("{other}"),
    }
}

/// A process that writes, killed as `kill -9` does.
fn kill_one(dir: &Path, count: u32) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--stage", "die"]).arg(dir).arg(count.to_string()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "writing\n");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn together(amend: &Amend) -> f64 {
    static NEXT: AtomicU32 = AtomicU32::new(LATER + 1_000_000);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    amend.commit("bench", &[add(NEXT.fetch_add(1, Ordering::Relaxed))]).unwrap();
                }
            });
        }
    });
    f64::from(CLIENTS * EACH) / start.elapsed().as_secs_f64()
}

fn disk(dir: &Path) -> u64 {
    let sizes = std::fs::read_dir(dir).unwrap().map(|item| {
        let item = item.unwrap();
        if item.file_type().unwrap().is_dir() { disk(&item.path()) } else { item.metadata().unwrap().len() }
    });
    sizes.sum()
}

/// What is done often, by criterion, over the registry that the stages left.
fn often(criterion: &mut Criterion, dir: &Path, count: u32) {
    let (lookup, amend) = registry::open(dir).unwrap();
    wait_for_index(&lookup);
    let mut number = 0u32;
    let mut next = || {
        number = number.wrapping_add(2_654_435_761);
        number % count
    };
    let known: Vec<_> = (0..4096).map(|_| key(next()).fingerprint()).collect();
    let mut at = 0;
    criterion.bench_function("look-up by fingerprint", |bench| {
        bench.iter(|| {
            at = (at + 1) % known.len();
            lookup.key(&known[at]).unwrap().unwrap()
        });
    });
    let strange = key(u32::MAX).fingerprint();
    criterion.bench_function("look-up of an unknown key", |bench| bench.iter(|| lookup.key(&strange).unwrap()));
    let mut later = LATER + 500_000;
    criterion.bench_function("durable addition", |bench| {
        bench.iter(|| {
            later += 1;
            amend.commit("bench", &[add(later)]).unwrap()
        });
    });
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, stage_flag, name, dir, count] = args.as_slice()
        && stage_flag == "--stage"
    {
        return stage(name, Path::new(dir), count.parse().unwrap());
    }
    let test = args.iter().any(|arg| arg == "--test");
    let count: u32 = match std::env::var("PULLGATE_KEYS") {
        Ok(text) if !test => text.parse().unwrap(),
        _ if test => 1000,
        _ => 100_000,
    };
    let place = std::env::var_os("PULLGATE_BENCH_DIR").map(PathBuf::from);
    let temporary = tempfile::Builder::new().tempdir_in(place.unwrap_or_else(std::env::temp_dir)).unwrap();
    let dir = temporary.path().join("registry");
    let child = |name: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let status = command.args(["--stage", name]).arg(&dir).arg(count.to_string()).status().unwrap();
        assert!(status.success(), "{name}: {status}");
    };
    println!("| {count} keys | measured | target |\n| --- | --- | --- |");
    child("fill");
    let journal = std::fs::metadata(dir.join("journal")).unwrap().len();
    child("clean");
    kill_one(&dir, count);
    child("killed");
    std::fs::remove_file(dir.join("index.clean")).unwrap();
    std::fs::remove_dir_all(dir.join("index")).unwrap();
    child("lost");
    let index = disk(&dir.join("index"));
    row("disk: the journal / the index", format!("{} / {} MB", journal >> 20, index >> 20), "");
    println!();
    let mut criterion = Criterion::default().configure_from_args().without_plots();
    often(&mut criterion, &dir, count);
    criterion.final_summary();
}
