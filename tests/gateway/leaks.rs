//! What is left of many requests of all kinds: nothing. `just leak-test` makes ten thousand.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::harness::{Gateway, Said, plain_git, run, wait_until};
use crate::tree::{gits, workers, zombies};

/// Requests of the short form.
const REQUESTS: usize = 150;
/// Requests before the first look: what is taken once and kept is taken by then.
const FIRST: usize = 100;
/// Clients at a time.
const CLIENTS: usize = 6;

/// What a worker has open in the daemon: its socket, and what tells of its end.
const OF_WORKER: usize = 2;

/// The files that the daemon has open, of every kind.
pub(crate) fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count()
}

/// The same but for those of its workers, who are kept and then are not.
fn files(gateway: &Gateway) -> usize {
    descriptors(gateway).saturating_sub(OF_WORKER * workers(gateway))
}

/// The files without a name, as kept answers are.
fn unnamed(gateway: &Gateway) -> usize {
    let all = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().flatten();
    let targets = all.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    targets.filter(|target| target.to_string_lossy().ends_with(" (deleted)")).count()
}

fn status(gateway: &Gateway, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Memory of the daemon that is its own, in KiB.
pub(crate) fn memory(gateway: &Gateway) -> u64 {
    status(gateway, "RssAnon:")
}

/// What a gateway holds, of which nothing may become more with the number of requests.
#[derive(Debug)]
struct Held {
    /// Files of the daemon but for those of its workers, and those of them without a name.
    files: usize,
    unnamed: usize,
    /// Processes: gits, those that nobody waited for, and workers, who are kept.
    gits: usize,
    zombies: usize,
    workers: usize,
    threads: u64,
    memory: u64,
}

impl Held {
    fn now(gateway: &Gateway) -> Self {
        Self {
            files: files(gateway),
            unnamed: unnamed(gateway),
            gits: gits(gateway).len(),
            zombies: zombies(gateway),
            workers: workers(gateway),
            threads: status(gateway, "Threads:"),
            memory: memory(gateway),
        }
    }

    fn row(&self, when: &str) -> String {
        let Self { files, unnamed, gits, zombies, workers, threads, memory } = self;
        format!("{when:>16} {files:>6} {unnamed:>8} {gits:>5} {zombies:>8} {workers:>8} {threads:>8} {memory:>8} KiB")
    }
}

/// Everybody who asks.
struct People {
    known: PathBuf,
    suspended: PathBuf,
    stranger: PathBuf,
}

/// How requests ended, for whoever reads the output.
#[derive(Debug, Default)]
struct Ends {
    served: AtomicUsize,
    refused: AtomicUsize,
    told: AtomicUsize,
    left: AtomicUsize,
    kills: AtomicUsize,
}

impl Ends {
    fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that is served, unless somebody kills its git.
    fn served(&self, said: Said) {
        match said.code {
            Some(0) => Self::count(&self.served),
            // What git makes of a connection that ends is said in many ways; `faults.rs` and `kills.rs` listen for ours.
            // It may also die of writing to an ssh that has left (`None`: by a signal).
            Some(128) | None if self.kills.load(Ordering::Relaxed) > 0 => Self::count(&self.told),
            _ => panic!("{said:?}"),
        }
    }

    fn refused(&self, said: Said, code: &str) {
        let err = said.failed();
        assert!(err.contains(code), "{err}");
        Self::count(&self.refused);
    }
}

/// Polls, clones, fetches of old and new protocols; refusals of all sorts; clients that leave in the middle, and gits that are
/// killed there. `begin` is the number of the first.
fn requests(gateway: &Gateway, people: &People, ends: &Ends, begin: usize, number: usize) {
    let (url, other) = (gateway.url("acme/app"), gateway.url("acme/other"));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (url, other) = (url.as_str(), other.as_str());
            scope.spawn(move || {
                for n in (begin..begin + number).skip(client).step_by(CLIENTS) {
                    let copy = format!("leak{n}");
                    let version = if n / 10 % 2 == 0 { "protocol.version=2" } else { "protocol.version=0" };
                    // So deep is no history; but each depth is a question of its own, for which a git is started.
                    let depth = format!("--depth={}", 1000 + n);
                    let ask = |key: &Path, args: &[&str]| gateway.git(key, &[&["-c", version], args].concat());
                    match n % 10 {
                        0..=2 => ends.served(ask(&people.known, &["ls-remote", "-q", url])),
                        3 => ends.served(ask(&people.known, &["clone", "-q", "--depth=1", url, &copy])),
                        4 => ends.served(ask(&people.known, &["clone", "-q", "--bare", url, &copy])),
                        5 => ends.refused(ask(&people.known, &["clone", "-q", other, &copy]), "[not-granted]"),
                        6 => ends.refused(ask(&people.suspended, &["ls-remote", "-q", url]), "[suspended]"),
                        7 => ends.refused(ask(&people.stranger, &["ls-remote", "-q", url]), "Permission denied"),
                        8 => {
                            let mut git = gateway.git_command(&people.known);
                            git.args(["-c", version, "clone", "-q", &depth, url, &copy]).stderr(Stdio::null());
                            let mut git = git.spawn().unwrap();
                            std::thread::sleep(Duration::from_millis(u64::try_from(n * 7 % 150).unwrap()));
                            git.kill().ok();
                            git.wait().unwrap();
                            Ends::count(&ends.left);
                        }
                        _ => {
                            let mut git = gateway.git_command(&people.known);
                            git.args(["-c", version, "clone", "-q", "--bare", &depth, url, &copy]);
                            let said = std::thread::spawn(move || run(&mut git));
                            while !said.is_finished() {
                                for pid in gits(gateway) {
                                    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                                    let killed = kill_process(pid, Signal::KILL).is_ok();
                                    ends.kills.fetch_add(usize::from(killed), Ordering::Relaxed);
                                }
                                std::thread::sleep(Duration::from_millis(u64::try_from(10 + n * 13 % 50).unwrap()));
                            }
                            ends.served(said.join().unwrap());
                        }
                    }
                    std::fs::remove_dir_all(gateway.path(&copy)).ok();
                }
            });
        }
    });
}

/// Waits until everybody is gone, and has what is kept forgotten; what is there then is there for good.
fn at_rest(gateway: &Gateway, most: usize) -> Held {
    wait_until("no git is left", || gits(gateway).is_empty());
    gateway.pullgate(["cache", "clear"]).ok();
    // Whoever was killed is noticed a moment later.
    wait_until("no file without a name is left open", || unnamed(gateway) == 0);
    wait_until("nobody is left to be waited for", || zombies(gateway) == 0);
    // One for each slot, and those that had to end are collected a moment later.
    wait_until("few workers are kept", || workers(gateway) <= 8);
    wait_until("no file is left open", || files(gateway) <= most);
    Held::now(gateway)
}

#[test]
fn nothing_is_left_of_many_requests() {
    let number = std::env::var("PULLGATE_LEAK_REQUESTS").ok().map_or(REQUESTS, |number| number.parse().unwrap());
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    gateway.repo("acme/other");
    let people = People {
        known: gateway.key("ci", &["acme/app"]),
        suspended: gateway.key("away", &["acme/app"]),
        stranger: gateway.keygen("stranger", &["ed25519"]),
    };
    gateway.pullgate(["key", "suspend", "acme/away"]).ok();
    std::thread::sleep(Duration::from_millis(60));
    let ends = Ends::default();
    requests(&gateway, &people, &ends, 0, FIRST);
    let first = at_rest(&gateway, usize::MAX);
    eprintln!(
        "{:>16} {:>6} {:>8} {:>5} {:>8} {:>8} {:>8} {:>12}",
        "requests", "files", "unnamed", "gits", "zombies", "workers", "threads", "memory"
    );
    eprintln!("{}", first.row(&format!("after the first {FIRST}")));
    let (mut done, mut looks) = (0, Vec::new());
    while done < number {
        let some = (number - done).min(number.div_ceil(10));
        requests(&gateway, &people, &ends, FIRST + done, some);
        done += some;
        // Another state of the refs, so that something is made anew.
        let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
        run(plain_git(&bare).args(["update-ref", &format!("refs/heads/b{done}"), tip.trim()])).ok();
        // No more than after the first, but for a connection that comes to its end at that moment.
        looks.push(at_rest(&gateway, first.files + 1));
        eprintln!("{}", looks.last().unwrap().row(&done.to_string()));
    }
    eprintln!("{ends:?}");
    let last = looks.last().unwrap();
    assert_eq!((last.gits, last.zombies, last.unnamed), (0, 0, 0), "{last:?}");
    // What an allocator keeps for itself settles; what each request leaves behind does not. 300 bytes of each would be seen.
    let (half, memory) = (looks[looks.len() / 2 - 1].memory, last.memory);
    let room = 2048 + u64::try_from(number / 2).unwrap() * 300 / 1024;
    assert!(memory < half + room, "{memory} KiB, and {half} KiB at half of {number} requests");
    // Nothing on disk either: what is kept has no name.
    assert_eq!(std::fs::read_dir(gateway.path("state/cache")).unwrap().count(), 0);
}
