//! Clients that stop to read in the middle of a clone: what they cost, that others do not notice, and that the clock of what
//! makes no progress ends each, with a record. `just stall-test` does it with 1,000 of them, in a release build.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::crowd::{clones, many_descriptors, number};
use super::site::Site;
use super::wire::{Lies, Peer};
use super::words;
use crate::harness::{plain_git, run, wait_until};

/// Bytes that no compression makes less.
const NOISE: usize = 8 << 20;

/// Puts a file into the repository that is as large as a clone has to be, to have a middle.
fn noise(site: &Site) {
    let mut noise = vec![0u8; NOISE];
    getrandom::fill(&mut noise).unwrap();
    let (base, work) = (site.gateway.path(""), site.gateway.path("noise"));
    let bare = site.gateway.path("repositories/acme/app.git");
    run(plain_git(&base).args(["clone", "-q", bare.to_str().unwrap(), "noise"])).ok();
    std::fs::write(work.join("noise"), noise).unwrap();
    for args in [&["add", "."][..], &["commit", "-q", "-m", "Noise"], &["push", "-q"]] {
        run(plain_git(&work).args(args)).ok();
    }
    std::fs::remove_dir_all(work).unwrap();
    // Older than what is taken for just changed.
    std::thread::sleep(Duration::from_millis(100));
}

/// Asks for the clone, and reads a little of it. Some leave no room in their channel, the others do not read their socket.
fn reader(site: &Site, n: usize, tip: &str) -> Peer {
    let mut peer = site.dial_from(Ipv4Addr::new(127, 0, 5, u8::try_from(n % 250).unwrap()));
    peer.hello(format!("{}\r\n", words::HELLO).as_bytes()).unwrap();
    peer.exchange(Lies::default()).unwrap();
    peer.serve();
    assert!(peer.login(&site.ci));
    let channel = peer.open(if n.is_multiple_of(2) { 1 << 18 } else { u32::MAX }).unwrap().unwrap();
    peer.send(&words::env(channel, "GIT_PROTOCOL", "version=2", false)).unwrap();
    peer.send(&words::exec(channel, "git-upload-pack 'acme/app'")).unwrap();
    assert!(peer.granted().unwrap());
    peer.until(&[words::CHANNEL_DATA]).unwrap();
    peer.send(&words::data(channel, &words::clone_of(tip))).unwrap();
    // The middle begins: something of the pack is there.
    let mut read = 0;
    while read < 1 << 16 {
        read += peer.until(&[words::CHANNEL_DATA]).unwrap().len();
    }
    peer
}

#[test]
fn who_stops_reading_is_bounded_unnoticed_and_ended() {
    let readers = number("PULLGATE_READERS", 40);
    // Long enough for all of them to be there at once.
    let clock = if readers > 100 { 30 } else { 6 };
    many_descriptors(u64::try_from(readers).unwrap() + 300);
    let site = Site::start_with(|config| {
        let lines = [
            ("login_seconds = 3", "login_seconds = 30".to_owned()),
            ("banner_seconds = 2", "banner_seconds = 30".to_owned()),
            ("fetch_idle_seconds = 600", format!("fetch_idle_seconds = {clock}")),
        ];
        lines.iter().fold(config, |config, (from, to)| {
            assert!(config.contains(from), "{config}");
            config.replace(from, to)
        })
    });
    noise(&site);
    let alone = clones(&site, "alone", 5);
    let (tip, before, start) = (site.tip(), site.more_kib(), Instant::now());
    let (audit, mut most) = (site.gateway.audit().len(), 0);
    let mut stalled = Vec::new();
    for n in 0..readers {
        stalled.push(reader(&site, n, &tip));
        most = most.max(site.more_kib().saturating_sub(before));
    }
    let came = start.elapsed();
    let beside = clones(&site, "beside", 5);
    most = most.max(site.more_kib().saturating_sub(before));
    let ended = || {
        let audit = &site.gateway.audit()[audit..];
        let of_ci =
            audit.lines().filter(|line| line.contains("\"key\":\"acme/ci\"") && line.contains("\"event\":\"fetch\""));
        of_ci.filter(|line| line.contains("timed-out")).count()
    };
    let there = readers - ended();
    wait_until("each is ended, with a record", || {
        most = most.max(site.more_kib().saturating_sub(before));
        ended() >= readers
    });
    eprintln!(
        "\n{readers} readers that stopped, in {came:?} ({there} at once): {most} KiB more at the most, {} KiB each; a clone \
         alone {alone:?}, beside them {beside:?}; {} records of the clock ({clock} s), the last {:?} after the first came",
        most / readers as u64,
        ended(),
        start.elapsed()
    );
    assert_eq!(ended(), readers);
    assert!(there * 10 > readers * 9, "{there}: they were not there at once");
    let bound = EACH_KIB * u64::try_from(readers).unwrap() + (16 << 10);
    assert!(most < bound, "{most} KiB of {bound}");
    assert!(beside < alone * 2 + Duration::from_millis(200), "{beside:?}");
    drop(stalled);
    site.clone_now("after");
}

/// What one of them may cost: some pieces that wait in the library, of those that the library cuts its packets from.
const EACH_KIB: u64 = 1 << 10;
