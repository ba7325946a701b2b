//! What the cell costs: `just bench-cell`. One fetch is one `git upload-pack` as the gateway starts it, with the same
//! requests on its input, without a cell and in one that a worker makes, in turns. CPU is that of everything that was started (getrusage(2) of the children that were waited for) and of this process, for twenty fetches
//! together, the start of their worker among it; wall is from before the start until everything has ended.
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

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use pullgate::git::Program;
use pullgate::sandbox::{Allow, Cells, Job, Mode, Pool, Profile, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ARGS: [&str; 3] = ["upload-pack", "--strict", "."];

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

/// The ways to start git, in the order in which they take turns.
const WAYS: [Way; 2] = [Way::Off, Way::Worker];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Without a cell.
    Off,
    /// In a cell that a worker makes, which goes on to the next.
    Worker,
}

/// How many fetches are measured together: the processor time of a worker's children is known when the worker has ended.
const TOGETHER: usize = 20;

struct Bench {
    program: Program,
    profile: Profile,
    repo: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn cells(way: Way) -> Cells {
        let mode = if way == Way::Off { Mode::Off } else { Mode::Require };
        Cells::through(Settings { mode, ..Settings::default() }, PathBuf::from(env!("CARGO_BIN_EXE_pullgate")))
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let of = |name: &str, value: &str| (name.into(), value.into());
        vec![
            of("PATH", "/usr/local/bin:/usr/bin:/bin"),
            of("HOME", "/nonexistent"),
            of("GIT_CONFIG_NOSYSTEM", "1"),
            of("GIT_CONFIG_GLOBAL", "/dev/null"),
            of("GIT_PROTOCOL", "version=2"),
            of("LC_ALL", "C"),
            ("GIT_EXEC_PATH".into(), self.program.exec_path().into()),
            of("GIT_CONFIG_COUNT", "1"),
            of("GIT_CONFIG_KEY_0", "safe.directory"),
            of("GIT_CONFIG_VALUE_0", "*"),
        ]
    }

    /// One fetch from its start to its end, but for its processor time.
    fn by_pool(&self, pool: &Pool, fetch: &Fetch) -> Cost {
        self.runtime.block_on(async {
            let start = Instant::now();
            let job = Job {
                profile: self.profile.clone(),
                program: self.program.path().to_owned(),
                args: ARGS.map(OsString::from).to_vec(),
                environment: self.environment(),
                directory: std::fs::File::open(&self.repo).unwrap().into(),
            };
            let mut running = pool.start(&job).unwrap();
            let spawn = start.elapsed();
            running.stdin.take().unwrap().write_all(&fetch.input).await.unwrap();
            running.stdout.read_u8().await.unwrap();
            let first = start.elapsed();
            let mut answer = Vec::new();
            running.stdout.read_to_end(&mut answer).await.unwrap();
            let code = running.wait().await.unwrap();
            assert!(code == Some(0) && answer.len() > 200, "{code:?}: {}", String::from_utf8_lossy(&answer));
            Cost { cpu: Duration::ZERO, spawn, first, wall: start.elapsed() }
        })
    }

    /// Some fetches, with the mean of their processor time in each.
    fn together(&self, way: Way, fetch: &Fetch, count: usize) -> Vec<Cost> {
        let (before, cells) = (cpu(), Self::cells(way));
        let pool = Pool::new(cells, 1);
        let mut costs: Vec<Cost> = (0..count).map(|_| self.by_pool(&pool, fetch)).collect();
        drop(pool);
        // The time of the worker, and of its children, counts when it was waited for.
        while nix::sys::wait::wait().is_ok() {}
        let each = (cpu() - before) / u32::try_from(count).unwrap();
        costs.iter_mut().for_each(|cost| cost.cpu = each);
        costs
    }

    /// All ways in turns.
    fn turns(&self, fetch: &Fetch, count: usize) -> [Vec<Cost>; 2] {
        let mut costs = WAYS.map(|_| Vec::new());
        for _ in 0..count.div_ceil(TOGETHER) {
            for (costs, way) in costs.iter_mut().zip(WAYS) {
                costs.extend(self.together(way, fetch, count.min(TOGETHER)));
            }
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

fn row(what: &str, costs: &[Vec<Cost>; 2], of: impl Fn(&Cost) -> Duration + Copy) {
    let [off, worker] = [0, 1].map(|way| [50, 90].map(|p| percentile(&costs[way], of, p)));
    let more = worker[0] - off[0];
    println!("| {what} | {:.2} | {:.2} | {:.2} | {:.2} | {more:+.2} |", off[0], off[1], worker[0], worker[1]);
}

fn main() {
    let test = std::env::args().any(|arg| arg == "--test");
    let count = std::env::var("PULLGATE_FETCHES").map_or(200, |count| count.parse().unwrap());
    let count = if test { 2 } else { count };
    let dir = tempfile::tempdir().unwrap();
    let tip = repository(dir.path(), 200);
    let program = Program::find(&std::env::var_os("PATH").unwrap()).unwrap();
    let profile = program.profile().and([Allow::Here]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = Bench { program, profile, repo: dir.path().canonicalize().unwrap(), runtime };
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
    println!("git {}, {count} fetches each, milliseconds", bench.program.version());
    println!("| fetch | off p50 | p90 | worker p50 | p90 | more |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for fetch in &fetches {
        bench.turns(fetch, count / 10);
        let costs = bench.turns(fetch, count);
        row(&format!("{}: CPU", fetch.name), &costs, |cost| cost.cpu);
        row(&format!("{}: to the first byte", fetch.name), &costs, |cost| cost.first);
        row(&format!("{}: wall", fetch.name), &costs, |cost| cost.wall);
        row(&format!("{}: spawn()", fetch.name), &costs, |cost| cost.spawn);
    }
    // A daemon of that size: every page is there and its own.
    let gib = if test { 0 } else { 2 };
    let mut large = vec![0u8; gib << 30];
    large.chunks_mut(4096).for_each(|page| page[0] = 1);
    let costs = bench.turns(&fetches[0], count);
    row(&format!("in a process of {gib} GiB: spawn()"), &costs, |cost| cost.spawn);
    // The first of those that are measured together starts its worker.
    let first = costs.each_ref().map(|costs| costs.iter().step_by(TOGETHER).copied().collect());
    row(&format!("in a process of {gib} GiB: spawn(), each twentieth, of a worker too"), &first, |cost| cost.spawn);
    row(&format!("in a process of {gib} GiB: to the first byte"), &costs, |cost| cost.first);
    row(&format!("in a process of {gib} GiB: CPU"), &costs, |cost| cost.cpu);
    assert_eq!(large.iter().step_by(4096).map(|byte| usize::from(*byte)).sum::<usize>(), large.len() / 4096);
}
