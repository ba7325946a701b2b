//! The git that works for all is killed, at moments that are chosen: before the first byte of its pack, when another one can take
//! its place and nobody notices, and behind it, when everybody has to be told. `faults.rs` kills at any moment.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::faults::{CLIENTS, Clones, Seen, forget, in_memory, site, slow_packs};
use crate::harness::{Gateway, PATIENCE, plain_git, run, wait_until};
use crate::tree::{gits, packers};

/// How long after the question another git can still take over. What has come is sent on after five seconds.
const IN_TIME: Duration = Duration::from_secs(4);
/// More than git says before its pack, in bytes.
const BEFORE: u64 = 1000;
/// How often a machine may be too slow for that.
const TRIES: usize = 10;

/// How the fetches since the last look had their pack: from work of another, from work for all, from a git of their own.
fn sources(gateway: &Gateway, before: &mut [usize; 4]) -> [usize; 3] {
    let count = || {
        let audit = gateway.audit();
        let of = |word: &str| audit.matches(word).count();
        let shared = of(r#""cache":"hit""#) + of(r#""cache":"joined""#);
        [of(r#""bytes_out":"#), shared, of(r#""cache":"miss""#), of(r#""cache":"bypass""#)]
    };
    wait_until("every fetch is recorded", || count()[0] >= before[0] + CLIENTS);
    let now = count();
    let new = [now[1] - before[1], now[2] - before[2], now[3] - before[3]];
    *before = now;
    new
}

/// Stops those who make packs as soon as this is so; it is looked at every millisecond.
fn stop_when(gateway: &Gateway, what: &str, mut is_so: impl FnMut() -> bool) -> Vec<Pid> {
    let start = Instant::now();
    loop {
        let packers = packers(gateway);
        if !packers.is_empty() && is_so() {
            packers.iter().for_each(|pid| kill_process(*pid, Signal::STOP).unwrap_or_default());
            return packers;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The bytes of the largest answer that is kept, or being made: a file that has no name.
fn largest(gateway: &Gateway) -> u64 {
    let all = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().flatten();
    let unnamed = all.filter(|fd| {
        std::fs::read_link(fd.path()).is_ok_and(|target| target.to_string_lossy().ends_with(" (deleted)"))
    });
    unnamed.filter_map(|fd| Some(std::fs::metadata(fd.path()).ok()?.len())).max().unwrap_or(0)
}

fn kill(packers: &[Pid]) {
    packers.iter().for_each(|pid| kill_process(*pid, Signal::KILL).unwrap());
}

fn clones<'a>(gateway: &'a Gateway, key: &Path, name: &str) -> Clones<'a> {
    forget(gateway);
    wait_until("nothing of before is there", || largest(gateway) == 0);
    Clones::start(gateway, key, name, &["--depth=1"])
}

/// Kills the git that makes the pack, and the next ones, so often, before they have made a byte. What clients saw, and how they
/// had their pack.
fn before_the_pack(
    gateway: &Gateway,
    key: &Path,
    tip: &str,
    kills: usize,
    before: &mut [usize; 4],
) -> (Seen, [usize; 3]) {
    for n in 0..TRIES {
        let clients = clones(gateway, key, &format!("before{kills}-{n}"));
        let start = Instant::now();
        let mut in_time = true;
        for _ in 0..kills {
            let packers = stop_when(gateway, "a git makes a pack", || true);
            // Until then others can join it, and what is on its way arrives.
            std::thread::sleep(Duration::from_millis(300));
            in_time &= largest(gateway) < BEFORE && start.elapsed() < IN_TIME;
            kill(&packers);
        }
        let mut seen = Seen::default();
        clients.end(tip, &mut seen);
        let sources = sources(gateway, before);
        if in_time {
            return (seen, sources);
        }
    }
    panic!("{TRIES} times this machine took more than {IN_TIME:?}");
}

#[test]
fn a_git_that_is_killed_is_replaced_while_that_can_be() {
    // In a file, whose length says from outside how much there is.
    let (gateway, bare, key) = site(None, |config| in_memory(slow_packs(config), 0));
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let mut before = [0; 4];
    let row = |when: &str, seen: &Seen, sources: &[usize; 3]| {
        eprintln!("{when:40} {:>5} {:>5}   {sources:?}", seen.whole, seen.told);
    };
    eprintln!("{:40} whole  told   [shared, made, own git]", "killed");
    let (once, sources_once) = before_the_pack(&gateway, &key, &tip, 1, &mut before);
    row("before the pack", &once, &sources_once);
    assert_eq!((once.whole, sources_once[2]), (CLIENTS, 0), "another git for all, and not one for each");
    let (twice, sources_twice) = before_the_pack(&gateway, &key, &tip, 2, &mut before);
    row("before the pack, and the next one too", &twice, &sources_twice);
    assert!(twice.whole == CLIENTS && sources_twice[2] > 0, "each with a git of its own");

    let mut late = Seen::default();
    let clients = clones(&gateway, &key, "late");
    kill(&stop_when(&gateway, "some of the pack is there", || largest(&gateway) > 1 << 20));
    clients.end(&tip, &mut late);
    row("behind the beginning of the pack", &late, &sources(&gateway, &mut before));
    assert_eq!((late.whole, late.told), (0, CLIENTS), "everybody is told that it broke off");

    // Who began the work leaves in the middle of it, and it goes on for the others.
    let mut without = Seen::default();
    let clients = clones(&gateway, &key, "without");
    let packers = stop_when(&gateway, "some of the pack is there", || largest(&gateway) > 1 << 20);
    std::thread::sleep(Duration::from_secs(1));
    clients.signal(0, Signal::KILL);
    std::thread::sleep(Duration::from_secs(1));
    packers.iter().for_each(|pid| kill_process(*pid, Signal::CONT).unwrap());
    clients.end(&tip, &mut without);
    row("none, but a client leaves in the middle", &without, &sources(&gateway, &mut before));
    assert_eq!((without.whole, without.told, without.left), (CLIENTS - 1, 0, 1), "it takes nothing from the others");
    wait_until("no git is left", || gits(&gateway).is_empty());
}
