//! What the cell costs: `just bench-cell`. One fetch is one `git upload-pack` as the gateway starts it, with the same
//! requests on its input, in a cell and without one, in turns. CPU is that of everything that was started (getrusage(2) of
//! the children that were waited for) and of this process; wall is from before the start until everything has ended.
//!
//! `cargo bench -- --test` only shows that it runs.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement prints, and says no by panicking"
)]

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use pullgate::git::Program;
use pullgate::sandbox::{Allow, Cells, Mode, Profile, Settings};

/// What one start came to.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    cpu: Duration,
    spawn: Duration,
    first: Duration,
    wall: Duration,
}

/// CPU time of this process and of all that it has waited for.
fn cpu() -> Duration {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .map(|who| {
            let usage = getrusage(who).unwrap();
            [usage.user_time(), usage.system_time()]
                .iter()
                .map(|time| Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap()))
                .sum::<Duration>()
        })
        .sum()
}

struct Fetch {
    name: &'static str,
    input: Vec<u8>,
}

struct Bench {
    program: Program,
    profile: Profile,
    repo: PathBuf,
}

impl Bench {
    /// One fetch from its start to its end.
    fn once(&self, cells: &Cells, fetch: &Fetch) -> Cost {
        let (before, start) = (cpu(), Instant::now());
        let launch = cells.launch(&self.profile, self.program.path(), &["upload-pack", "--strict", "."]);
        let mut child = Command::new(launch.program)
            .args(launch.args)
            .current_dir(&self.repo)
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/nonexistent"), ("GIT_CONFIG_NOSYSTEM", "1")])
            .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_PROTOCOL", "version=2"), ("LC_ALL", "C")])
            .env("GIT_EXEC_PATH", self.program.exec_path())
            .envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", "*")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let spawn = start.elapsed();
        child.stdin.take().unwrap().write_all(&fetch.input).unwrap();
        let (mut stdout, mut byte) = (child.stdout.take().unwrap(), [0]);
        stdout.read_exact(&mut byte).unwrap();
        let first = start.elapsed();
        let mut answer = Vec::new();
        stdout.read_to_end(&mut answer).unwrap();
        assert!(child.wait().unwrap().success() && answer.len() > 200, "{}", String::from_utf8_lossy(&answer));
        Cost { cpu: cpu() - before, spawn, first, wall: start.elapsed() }
    }

    /// Both modes in turns.
    fn turns(&self, [off, cell]: &[Cells; 2], fetch: &Fetch, count: usize) -> [Vec<Cost>; 2] {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..count {
            costs[0].push(self.once(off, fetch));
            costs[1].push(self.once(cell, fetch));
        }
        costs
    }
}

fn percentile(costs: &[Cost], of: impl Fn(&Cost) -> Duration, percent: usize) -> f64 {
    let mut values: Vec<_> = costs.iter().map(of).collect();
    values.sort();
    values[(values.len() - 1) * percent / 100].as_secs_f64() * 1000.0
}

fn line(text: &str) -> String {
    format!("{:04x}{text}\n", text.len() + 5)
}

/// git without anybody's configuration, to make the repository.
fn git(dir: &Path, args: &[&str], input: &str) -> String {
    let mut git = Command::new("git");
    git.current_dir(dir).args(args).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    git.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository of `commits` commits and as many files, in one pack; returns the name of its tip.
fn repository(dir: &Path, commits: usize) -> String {
    git(dir, &["init", "-q", "--bare", "-b", "main"], "");
    let mut stream = String::new();
    for n in 0..commits {
        let text = format!("content {n}\n").repeat(20);
        let file = format!("M 644 inline dir{}/file{n}\ndata {}\n{text}\n", n % 7, text.len());
        stream.push_str(&format!("commit refs/heads/main\ncommitter A <a@b> {n} +0000\ndata 2\nc\n{file}"));
    }
    git(dir, &["fast-import", "--quiet"], &stream);
    git(dir, &["repack", "-adq"], "");
    git(dir, &["rev-parse", "main"], "")
}

fn row(what: &str, [off, cell]: &[Vec<Cost>; 2], of: impl Fn(&Cost) -> Duration + Copy) {
    let (off, cell) = ([50, 90].map(|p| percentile(off, of, p)), [50, 90].map(|p| percentile(cell, of, p)));
    println!("| {what} | {:.2} | {:.2} | {:.2} | {:.2} | {:+.2} |", off[0], off[1], cell[0], cell[1], cell[0] - off[0]);
}

fn main() {
    let test = std::env::args().any(|arg| arg == "--test");
    let count = std::env::var("PULLGATE_FETCHES").map_or(200, |count| count.parse().unwrap());
    let count = if test { 2 } else { count };
    let dir = tempfile::tempdir().unwrap();
    let tip = repository(dir.path(), 200);
    let program = Program::find(&std::env::var_os("PATH").unwrap()).unwrap();
    let profile = program.profile().and([Allow::Here]);
    let bench = Bench { program, profile, repo: dir.path().canonicalize().unwrap() };
    let listing = format!("{}0001{}0000", line("command=ls-refs"), line("peel"));
    let pack = format!(
        "{}0001{}{}{}0000",
        line("command=fetch"),
        line("ofs-delta"),
        line(&format!("want {tip}")),
        line("done")
    );
    let fetches = [
        Fetch { name: "nothing new (refs only)", input: format!("{listing}0000").into_bytes() },
        Fetch { name: "clone of 200 commits", input: format!("{listing}{pack}0000").into_bytes() },
    ];
    let cells = [Mode::Off, Mode::Require].map(|mode| {
        Cells::through(Settings { mode, ..Settings::default() }, PathBuf::from(env!("CARGO_BIN_EXE_pullgate")))
    });
    println!("git {}, {count} fetches each, milliseconds", bench.program.version());
    println!("| fetch | off p50 | off p90 | cell p50 | cell p90 | p50 more |\n| --- | --- | --- | --- | --- | --- |");
    for fetch in &fetches {
        bench.turns(&cells, fetch, count / 10);
        let costs = bench.turns(&cells, fetch, count);
        row(&format!("{}: CPU", fetch.name), &costs, |cost| cost.cpu);
        row(&format!("{}: to the first byte", fetch.name), &costs, |cost| cost.first);
        row(&format!("{}: wall", fetch.name), &costs, |cost| cost.wall);
        row(&format!("{}: spawn()", fetch.name), &costs, |cost| cost.spawn);
    }
    // A daemon of that size: every page is there and its own.
    let gib = if test { 0 } else { 2 };
    let mut large = vec![0u8; gib << 30];
    large.chunks_mut(4096).for_each(|page| page[0] = 1);
    let costs = bench.turns(&cells, &fetches[0], count);
    row(&format!("in a process of {gib} GiB: spawn()"), &costs, |cost| cost.spawn);
    row(&format!("in a process of {gib} GiB: to the first byte"), &costs, |cost| cost.first);
    row(&format!("in a process of {gib} GiB: CPU"), &costs, |cost| cost.cpu);
    assert_eq!(large.iter().step_by(4096).map(|byte| usize::from(*byte)).sum::<usize>(), large.len() / 4096);
}
