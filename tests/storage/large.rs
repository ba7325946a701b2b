//! A commit of tens of thousands of keys, with a kill or a power cut in its middle: all of it is there, or nothing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use pullgate::model::name::AccountName;
use pullgate::registry;

use crate::disk::{self, Disk};
use crate::names::{account, add};

/// How many keys one commit has: more than ten megabytes, in half a dozen entries of the journal.
const KEYS: u32 = 50_000;
/// How many commits a child makes.
const COMMITS: u32 = 2;

#[test]
#[ignore = "a child of the tests below"]
fn write_large() {
    let (lookup, amend) = registry::open(&crate::given()).unwrap();
    let have = u32::try_from(lookup.count(&AccountName::parse("acme").unwrap()).unwrap()).unwrap();
    for round in 0..COMMITS {
        let first = have + round * KEYS;
        let changes: Vec<_> =
            (first..first + KEYS).map(|n| add(n, &format!("acme/k{n}"), "x", &["acme/app"])).collect();
        std::io::stdout().lock().write_all(b"\ntry\n").unwrap();
        amend.commit_all("tester", changes).unwrap();
        std::io::stdout().lock().write_all(b"\nok\n").unwrap();
    }
}

fn start(dir: &Path) -> Child {
    let mut command = crate::child("large::write_large", dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// When a child is ended: so many milliseconds after one of the two.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// It began with its first commit.
    Begun(u32),
    /// Its first commit was acknowledged, whatever that took; it is at the second one.
    Acknowledged(u32),
}

/// What a child says, and how many commits it was heard to acknowledge so far.
struct Heard(BufReader<std::process::ChildStdout>, u32);

impl Heard {
    /// Waits for the moment.
    fn until(child: &mut Child, moment: Moment) -> Self {
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (word, count, wait) = match moment {
            Moment::Begun(wait) => ("try\n", 0, wait),
            Moment::Acknowledged(wait) => ("ok\n", 1, wait),
        };
        let mut line = String::new();
        while line != word {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended before it said {word}");
        }
        std::thread::sleep(Duration::from_millis(u64::from(wait)));
        Self(lines, count)
    }

    /// How many commits were acknowledged by the end.
    fn acknowledged(self) -> u32 {
        let later = self.0.lines().map_while(Result::ok).filter(|line| line == "ok").count();
        self.1 + u32::try_from(later).unwrap()
    }
}

/// Whole commits only, and all that were acknowledged.
fn check(dir: &Path, before: u32, acknowledged: u32, what: &str) -> u32 {
    let (lookup, amend) = registry::open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = u32::try_from(lookup.keys(None, None, usize::MAX).unwrap().len()).unwrap();
    assert_eq!(found % KEYS, 0, "{what}: a part of a commit is there");
    let commits = found / KEYS - before;
    assert!((acknowledged..=COMMITS).contains(&commits), "{what}: {commits} commits, {acknowledged} acknowledged");
    crate::indexed(&lookup, what);
    drop((lookup, amend));
    let found = registry::compare(dir).unwrap();
    assert!(found.equal(), "{what}: {found:?}");
    before + commits
}

/// Moments that are spread over two commits: every other one is in the middle of the first one, or may be; the rest are
/// behind its acknowledgement, so that there is something to be lost.
fn moments(count: usize) -> impl Iterator<Item = Moment> {
    (0..count).map(move |n| {
        let part = |of: usize| u32::try_from(n * of / count).unwrap();
        if n % 2 == 0 { Moment::Begun(part(3000) + 20) } else { Moment::Acknowledged(part(1000)) }
    })
}

fn prepare(dir: &Path) {
    let (_lookup, amend) = registry::open(dir).unwrap();
    amend.commit("tester", &[account("acme")]).unwrap();
}

#[test]
fn a_large_commit_is_all_or_nothing_after_kill_9() {
    // Of one alone only the cutting would be seen.
    let cycles = crate::count("PULLGATE_KILLS", 30).div_ceil(10).max(2);
    let (mut cut, mut whole) = (0, 0);
    for moment in moments(cycles) {
        let place = tempfile::tempdir().unwrap();
        prepare(place.path());
        let mut child = start(place.path());
        let heard = Heard::until(&mut child, moment);
        child.kill().unwrap();
        child.wait().unwrap();
        let done = check(place.path(), 0, heard.acknowledged(), &format!("kill -9, {moment:?}"));
        cut += u32::from(done < COMMITS);
        whole += done;
    }
    println!("large commits, kill -9: {cycles} cycles, {whole} commits whole, {cut} cut and not there at all");
    assert!(cut > 0 && whole > 0, "both have to be seen: commits that were cut, and commits that came through");
}

#[test]
fn a_large_commit_is_all_or_nothing_after_a_power_cut() {
    let cycles = crate::count("PULLGATE_CUTS", 10).div_ceil(10).max(2);
    let mut disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("SKIPPED: power cuts need a loop device with ext4: {reason}");
            return;
        }
    };
    let dir = disk::registry(&disk.path());
    prepare(&dir);
    let (mut done, mut whole) = (0, 0);
    for moment in moments(cycles) {
        let mut child = start(&dir);
        let heard = Heard::until(&mut child, moment);
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        let cut = disk.cut();
        child.kill().unwrap();
        child.wait().unwrap();
        if let Err(reason) = cut {
            println!("SKIPPED: this kernel does not shut a file system down: {reason}");
            return;
        }
        disk.unmount();
        disk.mount().unwrap();
        done = check(&dir, done, heard.acknowledged(), &format!("power cut, {moment:?}"));
        whole += done;
        // Room for the next one.
        if done > 0 {
            std::fs::remove_dir_all(&dir).unwrap();
            prepare(&dir);
            done = 0;
        }
    }
    println!("large commits, power cuts: {cycles} cycles, {whole} commits whole, no part of another one there");
    assert!(whole > 0, "no commit came through: this showed little");
}
