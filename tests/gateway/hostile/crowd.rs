//! Many who are there and do nothing: what each costs, and that clones go on beside them. `just idle-test` does it with 5,000
//! connections, 500 half-done handshakes and 1,000 logins, in a release build.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use super::site::Site;
use super::wire::Peer;
use super::words;
use crate::harness::wait_until;
use crate::leaks::descriptors;

/// Raises what this process, and so the gateway that it starts, may have open to what it may at the most.
pub(crate) fn many_descriptors(need: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let may = limit.current.unwrap_or(u64::MAX);
    assert!(may > need, "{need} descriptors are needed, and {may} may be had: raise the hard limit (ulimit -Hn)");
}

pub(crate) fn number(name: &str, short: usize) -> usize {
    std::env::var(name).map_or(short, |number| number.parse().unwrap())
}

/// The middle of so many clones.
pub(crate) fn clones(site: &Site, name: &str, times: usize) -> Duration {
    let mut took: Vec<Duration> = (0..times)
        .map(|n| {
            let start = Instant::now();
            site.clone_now(&format!("{name}{n}"));
            start.elapsed()
        })
        .collect();
    took.sort();
    took[times / 2]
}

/// In KiB for each.
fn each(before: u64, after: u64, number: usize) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "to be printed")]
    let each = after.saturating_sub(before) as f64 / number as f64;
    each
}

#[test]
fn who_does_nothing_costs_little_and_clones_go_on() {
    let idle = number("PULLGATE_CROWD", 300);
    let (halves, logins) = (idle / 10, idle / 5);
    many_descriptors(u64::try_from(idle + halves + logins).unwrap() + 300);
    let site = Site::start_with(|config| {
        let most = [
            ("banner_seconds = 2", "banner_seconds = 600"),
            ("login_seconds = 3", "login_seconds = 600"),
            ("startups = 1000", "startups = 20000"),
            ("startups_per_network = 600", "startups_per_network = 20000"),
            ("connections = 4096", "connections = 20000"),
        ];
        most.iter().fold(config, |config, (from, to)| {
            assert!(config.contains(from), "{config}");
            config.replace(from, to)
        })
    });
    let from = |n: usize| Ipv4Addr::new(127, 0, 4, u8::try_from(n % 250).unwrap());
    let alone = clones(&site, "alone", 9);
    let open = descriptors(&site.gateway);
    let memory = || crate::leaks::memory(&site.gateway);

    let start = memory();
    let silent: Vec<Peer> = (0..idle).map(|n| site.dial_from(from(n))).collect();
    wait_until("all are inside", || descriptors(&site.gateway) >= open + idle);
    let (of_silent, beside_silent) = (memory(), clones(&site, "silent", 9));
    let of_halves = memory();
    let half: Vec<Peer> = (0..halves)
        .map(|n| {
            let mut peer = site.dial_from(from(n));
            peer.hello(format!("{}\r\n", words::HELLO).as_bytes()).unwrap();
            if n % 2 == 0 {
                peer.send(&words::kexinit(true)).unwrap();
                peer.until(&[words::KEXINIT]).unwrap();
            } else {
                peer.exchange(super::wire::Lies::default()).unwrap();
            }
            peer
        })
        .collect();
    let (with_halves, beside) = (memory(), clones(&site, "half", 9));
    let before_logins = memory();
    let inside: Vec<Peer> = (0..logins).map(|_| site.inside()).collect();
    let with_logins = memory();
    let beside_all = clones(&site, "all", 9);
    assert!(descriptors(&site.gateway) >= open + idle + halves + logins, "they were there all the time");
    let costs = [
        ("connection that says nothing", idle, each(start, of_silent, idle)),
        ("half-done handshake", halves, each(of_halves, with_halves, halves)),
        ("login that does nothing", logins, each(before_logins, with_logins, logins)),
    ];
    eprintln!("\n| what | how many | KiB each |\n| --- | --- | --- |");
    costs.iter().for_each(|(what, number, each)| eprintln!("| {what} | {number} | {each:.1} |"));
    eprintln!(
        "a clone alone {alone:?}, beside the silent {beside_silent:?}, and the half-done {beside:?}, and all {beside_all:?}"
    );
    assert!(costs.iter().all(|(_, _, each)| *each < MOST_KIB), "{costs:?}");
    let bound = alone * 2 + Duration::from_millis(100);
    assert!([beside_silent, beside, beside_all].iter().all(|took| *took < bound), "a clone takes more than {bound:?}");
    drop((silent, half, inside));
    wait_until("they are forgotten", || descriptors(&site.gateway) <= open + 20);
}

/// What any of them may cost, in KiB. The best of other servers that were measured takes 33 KiB, OpenSSH 1.9 MiB.
const MOST_KIB: f64 = 32.0;
