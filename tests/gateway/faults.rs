//! Kept answers in trouble: the git that makes one is killed, their disk is full, their folder goes, readers stall or leave. What
//! the clients saw is printed as a table, and nothing is left of it all. `PULLGATE_FAULT_ROUNDS` makes more of each.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use crate::disk::Disk;
use crate::harness::{Gateway, plain_git, run, wait_until};
use crate::leaks::{descriptors, memory};
use crate::scene::same_id_in_the_audit;
use crate::tree::gits;

/// Clients at a time.
pub(crate) const CLIENTS: usize = 4;
/// Bytes that no compression makes less: a pack of a size that takes a while.
const NOISE: usize = 12 << 20;

/// What clients saw of one trouble.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// All of it, and sound.
    pub(crate) whole: usize,
    /// Why there is nothing, with an id that the audit has; nothing is left of the clone.
    pub(crate) told: usize,
    /// Went away by itself.
    pub(crate) left: usize,
}

/// Has git search for deltas as it does by itself: so there is a time before the first byte of a pack.
pub(crate) fn slow_packs(config: String) -> String {
    assert!(config.contains("depth1_window = 0"), "{config}");
    config.replace("depth1_window = 0", "depth1_window = 100")
}

/// Has so many MiB of what is kept in memory, and the rest in files.
pub(crate) fn in_memory(config: String, mib: u64) -> String {
    assert!(config.contains("\nmemory_mib = 256\n"), "{config}");
    config.replace("\nmemory_mib = 256\n", &format!("\nmemory_mib = {mib}\n"))
}

/// A gateway whose cache is here, with one repository; its folder, and a key.
pub(crate) fn site(folder: Option<&Path>, edit: impl FnOnce(String) -> String) -> (Gateway, PathBuf, PathBuf) {
    let gateway = Gateway::start_with(|config| {
        let folder = folder.map_or_else(|| "state/cache".into(), |folder| folder.display().to_string());
        edit(config.replace("state/cache", &folder).replace("free_mib = 1024", "free_mib = 1"))
    });
    let bare = gateway.repo("acme/app");
    let mut noise = vec![0u8; NOISE];
    getrandom::fill(&mut noise).unwrap();
    let work = gateway.path("noise");
    run(plain_git(&gateway.path("")).args(["clone", "-q", bare.to_str().unwrap(), "noise"])).ok();
    // Many files, so that git has something to do between the first byte and the last.
    for (n, piece) in noise.chunks(1 << 18).enumerate() {
        std::fs::write(work.join(format!("noise{n}")), piece).unwrap();
    }
    for args in [&["add", "."][..], &["commit", "-q", "-m", "Noise"], &["push", "-q"]] {
        run(plain_git(&work).args(args)).ok();
    }
    let key = gateway.key("ci", &["acme/app"]);
    std::thread::sleep(Duration::from_millis(60));
    (gateway, bare, key)
}

fn rounds() -> usize {
    std::env::var("PULLGATE_FAULT_ROUNDS").ok().map_or(2, |text| text.parse().expect("a number"))
}

/// A moment of less than so many milliseconds.
fn some_time(milliseconds: u64) {
    let mut dice = [0u8; 8];
    getrandom::fill(&mut dice).unwrap();
    std::thread::sleep(Duration::from_millis(u64::from_le_bytes(dice) % milliseconds));
}

/// Clones that run, each in a process group of its own.
pub(crate) struct Clones<'a> {
    gateway: &'a Gateway,
    running: Vec<(Child, PathBuf, PathBuf)>,
}

impl<'a> Clones<'a> {
    pub(crate) fn start(gateway: &'a Gateway, key: &Path, name: &str, options: &[&str]) -> Self {
        let clone = |n: usize| {
            let (copy, said) = (gateway.path(&format!("{name}-{n}")), gateway.path(&format!("{name}-{n}.said")));
            let mut git = gateway.git_command(key);
            git.args(["-c", if n.is_multiple_of(2) { "protocol.version=2" } else { "protocol.version=0" }]);
            git.args(["clone", "-q"]).args(options).arg(gateway.url("acme/app")).arg(&copy).process_group(0);
            git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&said).unwrap());
            (git.spawn().unwrap(), copy, said)
        };
        Self { gateway, running: (0..CLIENTS).map(clone).collect() }
    }

    pub(crate) fn signal(&self, n: usize, signal: Signal) {
        let group = Pid::from_raw(i32::try_from(self.running[n].0.id()).unwrap()).unwrap();
        kill_process_group(group, signal).ok();
    }

    /// Waits for all; those who were killed left.
    pub(crate) fn end(self, tip: &str, seen: &mut Seen) {
        for (mut git, copy, said) in self.running {
            let mut status = None;
            wait_until("the end of a clone", || {
                status = git.try_wait().unwrap();
                status.is_some()
            });
            // Its ssh may say something yet.
            let group = Pid::from_raw(i32::try_from(git.id()).unwrap()).unwrap();
            wait_until("the end of its ssh", || test_kill_process_group(group).is_err());
            let said = std::fs::read_to_string(said).unwrap();
            match status.unwrap().code() {
                Some(0) => {
                    run(plain_git(&copy).args(["fsck", "--strict"])).ok();
                    assert_eq!(run(plain_git(&copy).args(["rev-parse", "HEAD"])).ok(), tip);
                    seen.whole += 1;
                }
                Some(128) => {
                    // The sentence comes behind a pack that broke off, and git may have left by then.
                    if let Some(ours) = said.lines().find(|line| line.contains("[repository]")) {
                        same_id_in_the_audit(self.gateway, ours, "repository");
                    }
                    assert!(
                        said.contains("[repository]") || said.contains("the pack broke off: git ended early"),
                        "{said}"
                    );
                    assert!(!copy.exists(), "something is left of it: {said}");
                    seen.told += 1;
                }
                None => seen.left += 1,
                Some(_) => panic!("{status:?}: {said}"),
            }
            std::fs::remove_dir_all(&copy).ok();
        }
    }
}

fn pid_of(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

pub(crate) fn forget(gateway: &Gateway) {
    gateway.pullgate(["cache", "clear"]).ok();
}

#[test]
fn whatever_happens_to_what_is_kept() {
    // So that an answer has both, a part in memory and one in a file.
    let (gateway, bare, key) = site(None, |config| in_memory(config, 4));
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let kinds: [&[&str]; 2] = [&["--depth=1"], &["--bare"]];
    let clones = |name: &str, n: usize| Clones::start(&gateway, &key, &format!("{name}{n}"), kinds[n % 2]);
    // What is taken once and kept: threads, their stacks, the first answers.
    clones("warm", 0).end(&tip, &mut Seen::default());
    wait_until("no git runs", || gits(&gateway).is_empty());
    let (files, kib) = (descriptors(&gateway), memory(&gateway));

    let (mut killed, mut kills) = (Seen::default(), 0);
    for n in 0..rounds() {
        forget(&gateway);
        let clones = clones("killed", n);
        wait_until("a git runs", || !gits(&gateway).is_empty());
        some_time(300);
        for pid in gits(&gateway) {
            kills += usize::from(kill_process(pid_of(pid), Signal::KILL).is_ok());
        }
        clones.end(&tip, &mut killed);
    }
    assert!(kills > 0, "no git was there to be killed");
    assert_eq!(killed.left, 0);

    let mut stalled = Seen::default();
    for n in 0..rounds() {
        forget(&gateway);
        let clones = clones("stalled", n);
        some_time(400);
        clones.signal(0, Signal::STOP);
        clones.signal(1, Signal::STOP);
        some_time(1500);
        clones.signal(0, Signal::CONT);
        clones.signal(1, Signal::CONT);
        clones.end(&tip, &mut stalled);
    }
    assert_eq!((stalled.told, stalled.left), (0, 0), "who reads slowly gets all the same");

    let mut leaving = Seen::default();
    for n in 0..rounds() {
        forget(&gateway);
        let clones = clones("leaving", n);
        some_time(100);
        clones.signal(n % CLIENTS, Signal::KILL);
        clones.end(&tip, &mut leaving);
    }
    assert_eq!(leaving.told, 0, "one who leaves takes nothing from the others");
    assert!(leaving.left > 0, "nobody left");

    let mut removed = Seen::default();
    let folder = gateway.path("state/cache");
    for n in 0..rounds() {
        forget(&gateway);
        // Every other time it is not there from the start, and cannot be made: something is in its place.
        if n % 2 == 1 {
            std::fs::remove_dir_all(&folder).ok();
            std::fs::write(&folder, "in the way").unwrap();
        }
        let clones = clones("removed", n);
        some_time(200);
        std::fs::remove_dir_all(&folder).ok();
        clones.end(&tip, &mut removed);
        std::fs::remove_file(&folder).ok();
    }
    assert_eq!((removed.told, removed.left), (0, 0), "without its folder it only does not keep");

    forget(&gateway);
    wait_until("no git is left", || gits(&gateway).is_empty());
    // A worker that is kept has its socket.
    wait_until("no file is left open", || descriptors(&gateway) <= files + 8);
    let grown = memory(&gateway).saturating_sub(kib);
    let full = full_disk();
    eprintln!("{:28} {:>6} {:>22} {:>5}", "trouble", "whole", "told [repository]", "left");
    let rows = [
        (format!("{kills} gits killed"), Some(&killed)),
        ("two of four stall".to_owned(), Some(&stalled)),
        ("one of four leaves".to_owned(), Some(&leaving)),
        ("the folder is removed".to_owned(), Some(&removed)),
        ("the disk is full".to_owned(), full.as_ref()),
    ];
    for (name, seen) in rows {
        match seen {
            Some(Seen { whole, told, left }) => eprintln!("{name:28} {whole:>6} {told:>22} {left:>5}"),
            None => eprintln!("{name:28} not tried"),
        }
    }
    eprintln!("left: {} files of {files}, 0 gits, {grown} KiB on {kib}", descriptors(&gateway));
    assert!(grown < 48 * 1024, "{grown} KiB more");
    assert!(!folder.exists() || std::fs::read_dir(&folder).unwrap().count() == 0);
}

/// The answer is larger than what is left on the disk; every other time somebody else fills the disk to the last byte meanwhile.
fn full_disk() -> Option<Seen> {
    let disk = match Disk::new(12) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("not tried on a full disk: {why}");
            return None;
        }
    };
    let (gateway, bare, key) = site(Some(&disk.path().join("cache")), |config| in_memory(config, 0));
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let mut seen = Seen::default();
    for n in 0..rounds() {
        let clones = Clones::start(&gateway, &key, &format!("full{n}"), &["--bare"]);
        let filler = disk.path().join("filler");
        if n % 2 == 1 {
            some_time(200);
            let mut file = std::fs::File::create(&filler).unwrap();
            while std::io::Write::write_all(&mut file, &[1; 1 << 16]).is_ok() {}
        }
        clones.end(&tip, &mut seen);
        std::fs::remove_file(filler).ok();
    }
    assert_eq!((seen.told, seen.left), (0, 0), "without room it only does not keep");
    assert_eq!(gateway.audit().matches(r#""cache":"hit""#).count(), 0, "it was kept where there is no room");
    wait_until("no git is left", || gits(&gateway).is_empty());
    drop(gateway);
    Some(seen)
}
