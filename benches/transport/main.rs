//! The SSH door beside OpenSSH's sshd, on one machine, with the same client and cipher: `just bench-transport`.
//!
//! Three servers take part: sshd with git-shell, the gateway without its cache, and the gateway with it. Rounds alternate;
//! a cell is the median of its rounds. Bulk comes from a child that does nothing but write, in git's place: what is left is
//! what it costs to bring a byte from git's pipe, or from what is kept, to the client. Over a path of 50 ms the clock counts (`far`).

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
#![allow(dead_code, reason = "what is shared with the benchmark beside the peers has more than is used here")]

#[path = "../peers/client.rs"]
mod client;
mod far;
#[path = "../peers/figures.rs"]
mod figures;
mod floor;
#[path = "../peers/meter.rs"]
mod meter;
mod path;
#[path = "../peers/repos.rs"]
mod repos;
#[path = "../peers/servers.rs"]
mod servers;
mod transfer;
mod writer;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use russh::cipher;

use client::{Client, Fault, Wish};
use figures::figure;
use repos::Repo;
use servers::Server;

const USAGE: &str = "\
just bench-transport [--rounds N] [--only WORDS] [--control NAME]

  --rounds N      how many rounds (5)
  --only WORDS    only parts with one of these words in their name, separated by commas: connections, polls, bulk,
                  far (a path of 50 ms, which needs root)
  --control NAME  which congestion control TCP has on that path (the machine's own)";

/// How many connections of one round are made at a time.
const AT_ONCE: usize = 4;

fn main() {
    if writer::was_asked() {
        return;
    }
    if let Err(why) = args().and_then(|args| bench(&args)) {
        eprintln!("{why}");
        std::process::exit(2);
    }
}

struct Args {
    rounds: usize,
    only: Vec<String>,
    control: Option<String>,
}

fn args() -> Result<Args, String> {
    let mut args = Args { rounds: 5, only: Vec::new(), control: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} takes a value\n\n{USAGE}"));
        match word.as_str() {
            // cargo says so to every benchmark.
            "--bench" => {}
            "--rounds" => args.rounds = value()?.parse::<usize>().map_err(|e| format!("--rounds: {e}"))?.max(1),
            "--control" => args.control = Some(value()?),
            "--only" => args.only = value()?.split(',').map(str::to_owned).collect(),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(args)
}

fn bench(args: &Args) -> Result<(), String> {
    let Args { rounds, only, control } = args;
    let rounds = *rounds;
    let wanted = |part: &str| only.is_empty() || only.iter().any(|word| part.contains(word.as_str()));
    let counted = meter::prove()?;
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-transport");
    std::fs::create_dir_all(&store).map_err(|e| e.to_string())?;
    let store = store.canonicalize().map_err(|e| e.to_string())?;
    let (bulk, small) = (repos::bulk(&store)?, repos::few(&store)?);
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let sshd = servers::git_shell(dir.path(), &store, Ipv4Addr::LOCALHOST)?;
    let without = servers::gateway(dir.path(), &store, Ipv4Addr::LOCALHOST, false)?;
    let with = servers::gateway(dir.path(), &store, Ipv4Addr::LOCALHOST, true)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("{}\n\n{counted}. Key exchange curve25519 for all.", servers::versions());
    let bench = Bench { sshd, without, with, runtime, rounds };
    if wanted("connections") {
        bench.connections()?;
    }
    if wanted("polls") {
        bench.polls(&small)?;
    }
    if wanted("bulk") {
        bench.bulk(&bulk, &store, dir.path())?;
    }
    if wanted("far") {
        far::far(dir.path(), &store, &bulk, rounds, control.as_deref())?;
    }
    Ok(())
}

struct Bench {
    sshd: Server,
    without: Server,
    with: Server,
    runtime: tokio::runtime::Runtime,
    rounds: usize,
}

impl Bench {
    /// A connection, a login, and a command that nobody serves: the answer is a line.
    fn connections(&self) -> Result<(), Fault> {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for _ in 0..self.rounds {
            for (server, many, samples) in [(&self.sshd, 40, &mut theirs), (&self.with, 1000, &mut ours)] {
                server.tree.rest();
                let (cpu, start) = (server.tree.cpu(), Instant::now());
                self.runtime.block_on(at_once(server, many, async |client: &Client| {
                    drop(client.exec("nothing", 0).await?.end().await);
                    Ok(())
                }))?;
                let wall = start.elapsed().as_secs_f64();
                server.tree.rest();
                samples.add((server.tree.cpu() - cpu) / many as f64, many as f64 / wall);
            }
        }
        println!(
            "\n| a connection, a login, a line | sshd + git-shell | pullgate | times |\n| --- | --- | --- | --- |"
        );
        row("CPU, ms", theirs.first(), ours.first(), theirs.first() / ours.first());
        row(
            &format!("connections a second, {AT_ONCE} at a time"),
            theirs.second(),
            ours.second(),
            ours.second() / theirs.second(),
        );
        Ok(())
    }

    /// What `git ls-remote` asks, of a repository with ten refs.
    fn polls(&self, repo: &Repo) -> Result<(), Fault> {
        let servers = [(&self.sshd, 40), (&self.without, 200), (&self.with, 400)];
        let mut samples = [Samples::default(), Samples::default(), Samples::default()];
        for _ in 0..self.rounds {
            for ((server, many), samples) in servers.iter().zip(&mut samples) {
                server.tree.rest();
                let (cpu, start, path) = (server.tree.cpu(), Instant::now(), server.path(&repo.name));
                self.runtime.block_on(at_once(server, *many, async |client: &Client| {
                    let mut talk = client.upload_pack(&path, 2).await?;
                    talk.capabilities().await?;
                    let refs = talk.ls_refs(&[]).await?;
                    if refs.len() < repo.refs {
                        return Err(format!("{} refs of {}", refs.len(), repo.refs));
                    }
                    talk.flush_and_end().await
                }))?;
                let wall = start.elapsed().as_secs_f64();
                server.tree.rest();
                samples.add((server.tree.cpu() - cpu) / *many as f64, *many as f64 / wall);
            }
        }
        let base = samples[0].first();
        println!(
            "\n| git ls-remote, 10 refs | CPU, ms | a second, {AT_ONCE} at a time | sshd's CPU, times this |\n| --- | --- | --- | --- |"
        );
        for (name, samples) in ["sshd + git-shell", "pullgate, without its cache", "pullgate"].iter().zip(&samples) {
            row(name, samples.first(), samples.second(), base / samples.first());
        }
        Ok(())
    }

    /// 256 MB from a child that only writes them, and a clone of 256 MB that is kept, to the real ssh.
    fn bulk(&self, repo: &Repo, store: &Path, dir: &Path) -> Result<(), Fault> {
        const GIGABYTE: f64 = (1 << 30) as f64;
        let folder = writer::put(dir)?;
        let sshd = servers::sshd_with(dir, &folder.join("git"))?;
        let piped = servers::gateway_with(dir, store, &folder)?;
        let wish = Wish { wants: repo.all.clone(), ..Wish::default() }.v2();
        println!(
            "\n| CPU, s/GiB | sshd, from a child | pullgate, from a child | times sshd's | pullgate, from what is kept | times sshd's | the child alone | cipher alone |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
        );
        for (name, cipher, floor) in [
            ("aes128-gcm", cipher::AES_128_GCM, floor::Cipher::Aes128),
            ("aes256-gcm", cipher::AES_256_GCM, floor::Cipher::Aes256),
            ("chacha20-poly1305", cipher::CHACHA20_POLY1305, floor::Cipher::ChaCha20),
        ] {
            let (mut alone, mut samples) = (Vec::new(), [const { Vec::new() }; 3]);
            // The first keeps what the others find.
            transfer::by_ssh(&self.with, &repo.name, &wish, cipher.as_ref(), repo.pack_bytes)?;
            for _ in 0..self.rounds {
                alone.push(writer::alone(&folder)? / 1000.0 / (writer::BYTES as f64 / GIGABYTE));
                for (n, server) in [&sshd, &piped, &self.with].into_iter().enumerate() {
                    server.tree.rest();
                    let cpu = server.tree.cpu();
                    let (wish, least) = if n == 2 { (&*wish, repo.pack_bytes) } else { (&b""[..], writer::BYTES) };
                    let seen = transfer::by_ssh(server, &repo.name, wish, cipher.as_ref(), least)?;
                    if !seen.whole {
                        return Err(format!("{}: not done in {:?}", server.name, transfer::LIMIT));
                    }
                    server.tree.rest();
                    samples[n].push((server.tree.cpu() - cpu) / 1000.0 / (seen.bytes as f64 / GIGABYTE));
                }
            }
            let [sshd, piped, kept] = samples.map(median);
            println!(
                "| {name} | {sshd:.3} | {piped:.3} | {:.2} | {kept:.3} | {:.2} | {:.3} | {:.3} |",
                piped / sshd,
                kept / sshd,
                median(alone),
                floor::seconds_a_gigabyte(floor)
            );
        }
        Ok(())
    }
}

/// So many connections, a few at a time, each with one thing to do.
async fn at_once(server: &Server, many: usize, work: impl AsyncFn(&Client) -> Result<(), Fault>) -> Result<(), Fault> {
    let one = async || {
        let client = Client::connect(&server.door).await?;
        work(&client).await?;
        client.close().await;
        Ok::<_, Fault>(())
    };
    let line = async || {
        for _ in 0..many / AT_ONCE {
            one().await?;
        }
        Ok::<_, Fault>(())
    };
    let (a, b, c, d) = tokio::join!(line(), line(), line(), line());
    a.and(b).and(c).and(d)
}

/// Milliseconds of processor time of this process's children that have ended.
fn waited_for() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    let ms = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1000.0 + time.tv_usec() as f64 / 1000.0;
    ms(usage.user_time()) + ms(usage.system_time())
}

#[derive(Debug, Default)]
struct Samples(Vec<f64>, Vec<f64>);

impl Samples {
    fn add(&mut self, first: f64, second: f64) {
        self.0.push(first);
        self.1.push(second);
    }

    fn first(&self) -> f64 {
        median(self.0.clone())
    }

    fn second(&self) -> f64 {
        median(self.1.clone())
    }
}

fn median(values: Vec<f64>) -> f64 {
    figures::median(values).unwrap_or(0.0)
}

fn row(name: &str, a: f64, b: f64, c: f64) {
    println!("| {name} | {} | {} | {} |", figure(a), figure(b), figure(c));
}
