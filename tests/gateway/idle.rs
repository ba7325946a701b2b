//! A daemon that nobody asks anything leaves the disk alone.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Gateway, wait_until};

/// The thread that brings the index to the disk.
const FLUSHER: &str = "index-flush";

/// The names of the daemon's threads, and how often the one that syncs the index came to sleep.
fn threads(process: &Path) -> (Vec<String>, u64) {
    let (mut names, mut slept) = (Vec::new(), 0);
    for thread in std::fs::read_dir(process.join("task")).unwrap() {
        let thread = thread.unwrap().path();
        // A thread may end while it is looked at.
        let Ok(name) = std::fs::read_to_string(thread.join("comm")) else { continue };
        if name.trim() == FLUSHER {
            let status = std::fs::read_to_string(thread.join("status")).unwrap();
            slept += number(&status, "voluntary_ctxt_switches:");
        }
        names.push(name.trim().to_owned());
    }
    (names, slept)
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse().unwrap()
}

#[test]
fn an_idle_daemon_writes_and_syncs_nothing() {
    let gateway = Gateway::start();
    let process = Path::new("/proc").join(gateway.pid().to_string());
    if std::fs::read(process.join("io")).is_err() {
        eprintln!("not run: only root sees what a daemon does that nobody else may look into");
        return;
    }
    let seen = || {
        let (names, slept) = threads(&process);
        // sled's own would sync twice a second for ever.
        assert!(!names.iter().any(|name| name.contains("log flusher")), "{names:?}");
        assert_eq!(names.iter().filter(|name| *name == FLUSHER).count(), 1, "{names:?}");
        (number(&std::fs::read_to_string(process.join("io")).unwrap(), "write_bytes:"), slept)
    };
    wait_until("the index is built", || threads(&process).0.iter().any(|name| name == FLUSHER));
    gateway.pullgate(["account", "add", "beta"]).ok();
    let mut last = seen();
    // What was just changed comes to the disk soon, and then there is nothing more to do.
    wait_until("two seconds without a write or a sync", || {
        std::thread::sleep(Duration::from_secs(2));
        let now = seen();
        std::mem::replace(&mut last, now) == now
    });
    let before = last;
    gateway.pullgate(["account", "add", "gamma"]).ok();
    wait_until("a change wakes it", || seen().1 > before.1);
}
