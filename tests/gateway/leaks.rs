//! What is left of many requests: nothing. `just leak-test` makes ten thousand.

use std::time::Duration;

use super::harness::{Gateway, plain_git, run, wait_until};
use crate::tree::{gits, workers};

/// Requests of the short form.
const REQUESTS: usize = 120;
/// Clients at a time.
const CLIENTS: usize = 6;

/// The files that the daemon has open, of every kind.
pub(crate) fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count()
}

/// Memory of the daemon that is its own, in KiB.
pub(crate) fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Polls, clones, fetches of old and new protocols, and clients that leave in the middle.
fn requests(gateway: &Gateway, key: &std::path::Path, number: usize) {
    let url = gateway.url("acme/app");
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let url = &url;
            scope.spawn(move || {
                for n in (client..number).step_by(CLIENTS) {
                    let copy = format!("leak{n}");
                    let version = if n % 2 == 0 { "protocol.version=2" } else { "protocol.version=0" };
                    let (url, copy, base) = (url.as_str(), copy.as_str(), ["-c", version]);
                    match n % 5 {
                        0 | 1 => drop(gateway.git(key, &[&base[..], &["ls-remote", "-q", url]].concat()).ok()),
                        2 => {
                            drop(gateway.git(key, &[&base[..], &["clone", "-q", "--depth=1", url, copy]].concat()).ok())
                        }
                        3 => drop(gateway.git(key, &[&base[..], &["clone", "-q", "--bare", url, copy]].concat()).ok()),
                        _ => {
                            let mut git = gateway.git_command(key);
                            git.args(base).args(["clone", "-q", url, copy]);
                            let mut git = git.stderr(std::process::Stdio::null()).spawn().unwrap();
                            std::thread::sleep(Duration::from_millis(u64::try_from(n % 150).unwrap()));
                            git.kill().ok();
                            git.wait().unwrap();
                        }
                    }
                    std::fs::remove_dir_all(gateway.path(copy)).ok();
                }
            });
        }
    });
}

#[test]
fn nothing_is_left_of_many_requests() {
    let number = std::env::var("PULLGATE_LEAK_REQUESTS").ok().map_or(REQUESTS, |number| number.parse().unwrap());
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    std::thread::sleep(Duration::from_millis(60));
    // What is taken once and kept: threads, their stacks, the answers.
    requests(&gateway, &key, 60);
    wait_until("the first clients are gone", || gits(&gateway).is_empty());
    std::thread::sleep(Duration::from_secs(1));
    let (files, kib) = (descriptors(&gateway), memory(&gateway));
    let mut left = number;
    while left > 0 {
        let some = left.min(1000);
        requests(&gateway, &key, some);
        left -= some;
        // Another state of the refs, so that something is made anew.
        let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
        run(plain_git(&bare).args(["update-ref", &format!("refs/heads/b{left}"), tip.trim()])).ok();
    }
    wait_until("no process is left", || gits(&gateway).is_empty());
    // Workers are kept, and few; those that had to end are collected a moment later.
    wait_until("few workers are kept", || workers(&gateway) <= 8);
    // The few answers that are kept for the new state are files too.
    wait_until("no file is left open", || descriptors(&gateway) <= files + 8);
    let grown = memory(&gateway).saturating_sub(kib);
    eprintln!("{number} requests: files {files} -> {}, memory {kib} KiB + {grown} KiB", descriptors(&gateway));
    assert!(grown < 32 * 1024 + u64::try_from(number).unwrap(), "{grown} KiB more after {number} requests");
    // Nothing on disk either: what is kept has no name.
    assert_eq!(std::fs::read_dir(gateway.path("state/cache")).unwrap().count(), 0);
}
