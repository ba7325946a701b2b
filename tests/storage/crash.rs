//! kill -9 and power cuts under four writers: what was acknowledged is there, nothing that was removed comes back.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use pullgate::registry;
use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;
use crate::book::Book;
use crate::disk::{self, Disk};
use crate::names::account;
use crate::writers::SETTINGS;

struct Writers {
    child: Child,
    lines: Receiver<String>,
}

impl Writers {
    fn start(dir: &Path) -> Self {
        let mut command = crate::child("writers::write_without_end", dir);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // A last line that was cut by the end is none.
            while out.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
                if send.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, lines }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits until commits are acknowledged, and then for a random while.
    fn let_work(&self, book: &mut Book) {
        let before = book.acknowledged;
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        let begin = Instant::now();
        let mut end = begin + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            book.line(&line);
            if book.acknowledged == before + 1 {
                end = end.min(Instant::now() + Duration::from_millis(u64::from(u16::from_ne_bytes(random)) % 300));
            }
            if Instant::now() >= end {
                break;
            }
        }
        assert!(book.acknowledged > before, "nothing was acknowledged within {:?}", begin.elapsed());
    }

    /// After the end: what was still on its way to us.
    fn rest(mut self, book: &mut Book) {
        self.child.wait().unwrap();
        for line in self.lines.iter() {
            book.line(&line);
        }
    }
}

/// Opens the registry, compares it with the book while memory answers, then while the index does, and closes it well.
fn check(dir: &Path, book: &mut Book, what: &str) -> usize {
    let (lookup, amend) = registry::open_with(dir, SETTINGS).unwrap_or_else(|error| panic!("{what}: {error}"));
    let rebuilt = usize::from(!lookup.indexed());
    let mut wrong = book.compare(&lookup);
    crate::indexed(&lookup, what);
    wrong.extend(book.compare(&lookup));
    drop((lookup, amend));
    let found = registry::compare(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(found.indexed, "{what}: closed well, and yet the index does not answer");
    wrong.extend(found.wrong);
    assert!(wrong.is_empty(), "{what}, after {} acknowledged commits:\n{}", book.acknowledged, wrong.join("\n"));
    rebuilt
}

fn prepare(dir: &Path) {
    let (_lookup, amend) = registry::open(dir).unwrap();
    amend.commit("tester", &[account("acme"), account("beta")]).unwrap();
}

fn report(what: &str, cycles: usize, rebuilt: usize, dir: &Path, book: &Book) {
    let archives = std::fs::read_dir(dir).unwrap().filter(|item| {
        item.as_ref().unwrap().file_name().to_string_lossy().strip_prefix("journal.").is_some_and(|rest| rest != "new")
    });
    println!(
        "{what}: {cycles} cycles, {} commits acknowledged, none lost, none back; {} were on their way and came through, {} \
         did not; the index was compared and used {} times, built again {rebuilt} times, and equal to the journal each time; \
         {} compactions",
        book.acknowledged,
        book.came_through,
        book.did_not,
        cycles - rebuilt,
        archives.count(),
    );
}

#[test]
fn kill_9_loses_nothing() {
    let cycles = crate::count("PULLGATE_KILLS", 30);
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    prepare(dir);
    let (mut book, mut rebuilt) = (Book::default(), 0);
    for cycle in 1..=cycles {
        let writers = Writers::start(dir);
        writers.let_work(&mut book);
        writers.signal(Signal::KILL);
        writers.rest(&mut book);
        rebuilt += check(dir, &mut book, &format!("kill -9, cycle {cycle}"));
    }
    report("kill -9", cycles, rebuilt, dir, &book);
}

/// In a build whose journal is not synced, which is made for this alone, it has to find out.
#[test]
#[cfg_attr(feature = "fault-unsynced-journal", should_panic(expected = "power cut, cycle"))]
fn a_power_cut_loses_nothing() {
    let cycles = crate::count("PULLGATE_CUTS", 10);
    let mut disk = match Disk::new(256) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("SKIPPED: power cuts need a loop device with ext4: {reason}");
            return;
        }
    };
    let dir = disk::registry(&disk.path());
    prepare(&dir);
    let (mut book, mut rebuilt) = (Book::default(), 0);
    for cycle in 1..=cycles {
        let writers = Writers::start(&dir);
        writers.let_work(&mut book);
        // Stopped before the cut: a process that goes on would find its disk gone, which is another test.
        writers.signal(Signal::STOP);
        std::thread::sleep(Duration::from_millis(5));
        if let Err(reason) = disk.cut() {
            writers.signal(Signal::KILL);
            writers.rest(&mut book);
            assert_eq!(cycle, 1, "{reason}");
            println!("SKIPPED: this kernel does not shut a file system down: {reason}");
            return;
        }
        writers.signal(Signal::KILL);
        writers.rest(&mut book);
        disk.unmount();
        disk.mount().unwrap();
        rebuilt += check(&dir, &mut book, &format!("power cut, cycle {cycle}"));
    }
    report("power cuts", cycles, rebuilt, &dir, &book);
}
