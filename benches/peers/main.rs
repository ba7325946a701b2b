//! The gateway beside its peers, on one machine, with the same clients: `just bench-peers`.
//!
//! Each server is measured with all its processes; the clients throw away what they get, and are not measured. Rounds of
//! the servers alternate, so that whatever else the machine does meets all of them; the table has medians.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement prints, and says no by panicking"
)]

mod client;
mod figures;
mod meter;
mod repos;
mod servers;
mod works;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use figures::figure;
use servers::Server;
use works::{Round, Work};

const USAGE: &str = "\
just bench-peers [REPOSITORY] [--quick] [--storms] [--only WORDS] [--no-cache] [--minutes N]

  REPOSITORY      a repository to take instead of the synthetic one; it is copied and not touched
  --quick         fewer clients and rounds: below two minutes
  --storms        200 clients at once too, for which sshd alone needs some six minutes
  --only WORDS    only works whose row has one of these words, separated by commas
  --no-cache      with a gateway that keeps nothing
  --minutes N     after so many, rounds that are left are not begun (14)";

/// What was asked for.
#[derive(Debug)]
struct Args {
    repository: Option<PathBuf>,
    quick: bool,
    storms: bool,
    only: Vec<String>,
    cache: bool,
    limit: Duration,
}

fn args() -> Result<Args, String> {
    let limit = Duration::from_secs(14 * 60);
    let mut args = Args { repository: None, quick: false, storms: false, only: Vec::new(), cache: true, limit };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} takes a value\n\n{USAGE}"));
        match word.as_str() {
            // cargo says so to every benchmark.
            "--bench" => {}
            "--quick" => args.quick = true,
            "--storms" => args.storms = true,
            "--only" => args.only = value()?.split(',').map(str::to_owned).collect(),
            "--no-cache" => args.cache = false,
            "--minutes" => {
                args.limit = Duration::from_secs(60 * value()?.parse::<u64>().map_err(|e| format!("--minutes: {e}"))?);
            }
            "--help" | "-h" => return Err(USAGE.to_owned()),
            option if option.starts_with('-') => return Err(format!("{option} is not known\n\n{USAGE}")),
            path => {
                let path = Path::new(path).canonicalize().map_err(|e| format!("{path}: {e}"))?;
                args.repository = Some(path);
            }
        }
    }
    Ok(args)
}

fn main() {
    if let Err(why) = args().and_then(|args| bench(&args)) {
        eprintln!("{why}");
        std::process::exit(2);
    }
}

fn bench(args: &Args) -> Result<(), String> {
    let start = Instant::now();
    let meter = meter::prove()?;
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-peers");
    std::fs::create_dir_all(&store).map_err(|e| e.to_string())?;
    let store = store.canonicalize().map_err(|e| e.to_string())?;
    let repos = repos::prepare(&store, args.repository.as_deref(), args.quick)?;
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut missing = Vec::new();
    let mut there = Vec::new();
    for (name, server) in [
        ("sshd + git-shell", servers::git_shell(dir.path(), &store, Ipv4Addr::LOCALHOST)),
        ("sshd + gitolite", servers::gitolite(dir.path(), &store)),
        ("pullgate", servers::gateway(dir.path(), &store, Ipv4Addr::LOCALHOST, args.cache)),
    ] {
        match server {
            Ok(server) => there.push(server),
            Err(why) => missing.push((name, why)),
        }
    }
    // Now, and not in a table that shows something else than it says.
    if args.cache && there.iter().any(|server| server.config.is_some() && !server.forget()) {
        return Err("what the gateway keeps cannot be cleared".to_owned());
    }
    let wanted = |work: &Work| args.only.is_empty() || args.only.iter().any(|word| work.name.contains(word.as_str()));
    let works: Vec<Work> = works::all(&repos, args.quick, args.storms).into_iter().filter(wanted).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");

    println!("{}\n\n{meter}.", servers::versions());
    println!(
        "Cipher aes128-gcm, key exchange curve25519 for all. {}",
        match args.cache {
            false => "This gateway keeps nothing (--no-cache).",
            true => "What the gateway keeps is cleared before each round of clones and fetches.",
        }
    );
    for (name, why) in &missing {
        println!("{name} takes no part: {why}");
    }
    println!(
        "\n| work | server | CPU, ms a client | wall, s | peak memory, MB | sshd's CPU, times this |\n| --- | --- | --- | --- | --- | --- |"
    );
    for work in &works {
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); there.len()];
        // How much one client of this kind takes, so that a storm does not take the machine's memory.
        let most: Vec<usize> = there.iter().map(|server| most_at_once(work, server, &runtime)).collect();
        for round in 0..work.rounds {
            for (n, server) in there.iter().enumerate() {
                let first = rounds[n].is_empty();
                if (work.two && server.name.contains("gitolite")) || (!first && start.elapsed() > args.limit) {
                    continue;
                }
                if round == 0 && !work.fresh {
                    // The first one finds cold files; polls come all day.
                    work.run(server, &runtime, 1);
                }
                rounds[n].push(work.run(server, &runtime, most[n]));
            }
        }
        let base = there
            .iter()
            .position(|server| server.name == "sshd + git-shell")
            .and_then(|n| median(&rounds[n], |r| r.cpu));
        for (server, rounds) in there.iter().zip(&rounds).filter(|(_, rounds)| !rounds.is_empty()) {
            println!("{}", row(work, server, rounds, base));
        }
    }
    eprintln!("{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// How many clients at once this machine's memory can hold on this server: for storms, where one client's peak is known.
fn most_at_once(work: &Work, server: &Server, runtime: &tokio::runtime::Runtime) -> usize {
    if work.at_once < 20 || (work.two && server.name.contains("gitolite")) {
        return work.at_once;
    }
    let alone = Work { clients: 1, at_once: 1, ..work.clone() };
    let one = alone.run(server, runtime, 1).peak.max(1);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    let available: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    usize::try_from(available * 1024 * 7 / 10 / one).unwrap_or(usize::MAX)
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Option<f64> {
    figures::median(rounds.iter().map(of).collect())
}

fn row(work: &Work, server: &Server, rounds: &[Round], base: Option<f64>) -> String {
    let (cpu, wall) = (median(rounds, |r| r.cpu).unwrap_or(0.0), median(rounds, |r| r.wall).unwrap_or(0.0));
    let peak = rounds.iter().map(|round| round.peak).max().unwrap_or(0) / 1_000_000;
    let failed: usize = rounds.iter().map(|round| round.failed).sum();
    let clients = rounds[0].clients;
    let mut notes = String::new();
    if clients < work.clients {
        notes.push_str(&format!(" ({clients} clients: more do not fit into memory)"));
    }
    if failed > 0 {
        let why = rounds.iter().find_map(|round| round.why.clone()).unwrap_or_default();
        notes.push_str(&format!(" (FAILED: {failed} of {}: {why})", clients * rounds.len()));
    }
    let ratio = base.map_or("–".to_owned(), |base| figure(base / cpu));
    format!("| {} | {}{notes} | {} | {} | {peak} | {ratio} |", work.name, server.name, figure(cpu), figure(wall))
}
