//! The inbound-window trap (the library opens a client's window again on receipt): whatever somebody who is logged in
//! sends, and however little they read, the gateway neither hangs nor grows without a bound.

use std::time::{Duration, Instant};

use super::Case;
use super::site::Site;
use super::wire::{End, Lies, PATIENCE, Peer};
use super::words;
use crate::harness::wait_until;

pub(crate) const CASES: &[Case] = &[
    Case { name: "flooded stdin", does: "256 MiB of wants toward upload-pack", run: stdin },
    Case {
        name: "flooded stdin, ten channels",
        does: "25 MiB each, by turns, to gits that were asked nothing",
        run: ten_channels,
    },
    Case { name: "tiny packets", does: "300,000 packets of one byte", run: tiny },
    Case { name: "requests out of order", does: "flushes, dones, wants and haves shuffled, 16 MiB", run: shuffled },
    Case { name: "window zero", does: "asks for a clone with no room for it, and sends on", run: no_window },
    Case { name: "window zero, forty channels", does: "7 MiB on each, from four connections", run: stalled_channels },
    Case { name: "reads nothing", does: "a clone with all the room, and no byte read", run: no_reading },
    Case { name: "10,000 channels", does: "opens 10,000, and reads no answer until the end", run: channels },
    Case { name: "channels that close", does: "opens and closes 10,000, one by one", run: come_and_go },
    Case { name: "questions, no reading", does: "200,000 global requests that want an answer", run: questions },
    Case { name: "half an exchange", does: "begins to exchange keys in a clone, then floods", run: half_exchange },
    Case { name: "pings", does: "200,000 IGNORE and keepalives of its own", run: pings },
];

/// The most that one connection may add, in KiB: what may wait unread on one channel (32 MiB), and half of it again for what the
/// pieces and the allocator take, and the library's own buffers.
const ONE: u64 = 48 << 10;
/// The most that all of them together may add: what one key may have unread (64 MiB), and a quarter of it for the rest.
const ALL: u64 = (64 << 10) + (16 << 10);
/// What was given up within the last second, at the most; then the allocator gives it back. Each of the threads that serve has its own
/// of it, so that what one has given up is no room for another.
const GIVEN_UP: u64 = 64 << 10;
const GIVEN_BACK: Duration = Duration::from_secs(2);
/// Pieces of the size that OpenSSH sends.
const PIECE: usize = 1 << 15;

/// What is said of a connection that is as it was before.
const SERVES_ON: &str = "the connection serves on";

/// So many, or a fifth of them in the short form.
fn many(number: u32) -> u32 {
    if super::is_long() { number } else { number / 5 }
}

/// A command that was granted on a new channel, with this window.
fn git(peer: &mut Peer, window: u32) -> u32 {
    let channel = peer.open(window).unwrap().expect("a channel");
    peer.send(&words::env(channel, "GIT_PROTOCOL", "version=2", false)).unwrap();
    peer.send(&words::exec(channel, "git-upload-pack 'acme/app'")).unwrap();
    assert!(peer.granted().unwrap());
    channel
}

/// Sends until it is all sent, or the gateway does not take it. What it used meanwhile at the most, and how far it came.
fn flood(site: &Site, peer: &mut Peer, packets: impl Iterator<Item = Vec<u8>>) -> (u64, usize, Option<End>) {
    let (before, mut most, mut sent) = (site.more_kib(), 0, 0);
    peer.waits(Duration::from_secs(1));
    let mut end = None;
    for (n, packet) in packets.enumerate() {
        let length = packet.len();
        if let Err(why) = peer.send(&packet) {
            end = Some(why);
            break;
        }
        sent += length;
        if n % 256 == 0 {
            most = most.max(site.more_kib().saturating_sub(before));
        }
    }
    most = most.max(site.more_kib().saturating_sub(before));
    peer.waits(PATIENCE);
    (most, sent, end)
}

/// What an open connection is good for after a flood: the gateway has ended it, or it serves.
fn after(site: &Site, peer: &mut Peer) -> &'static str {
    let start = Instant::now();
    let opened = peer.send(&words::open(0, "session", 1 << 20, 1 << 15));
    let answer = opened.and_then(|()| peer.until(&[words::CHANNEL_CONFIRMATION, words::CHANNEL_OPEN_FAILURE]));
    assert!(answer != Err(End::Silent) || start.elapsed() < PATIENCE, "it hangs");
    site.clone_now("after-flood");
    match answer {
        Ok(answer) if answer[0] == words::CHANNEL_CONFIRMATION => SERVES_ON,
        Ok(_) => "the connection lives",
        Err(_) => "ended the connection",
    }
}

fn told(site: &Site, peer: &mut Peer, bound: u64, (most, sent, end): (u64, usize, Option<End>)) -> String {
    assert!(most < bound, "{most} KiB more");
    let stopped = end.map_or(String::new(), |end| format!(", then {end:?}"));
    format!("took {} KiB{stopped}; {most} KiB more; {}", sent >> 10, after(site, peer))
}

fn stdin(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = git(&mut peer, 1 << 20);
    let want = words::pkt(&format!("want {}\n", site.tip()));
    let wants = want.repeat(PIECE / want.len());
    let start = [words::pkt("command=fetch"), words::pkt("object-format=sha1"), "0001".to_owned()].concat();
    peer.send(&words::data(channel, start.as_bytes())).unwrap();
    let mut flooded = (0, 0, None);
    site.recorded(&["\"event\":\"fetch\"", "acme/ci", "\"outcome\""], || {
        flooded = flood(site, &mut peer, (0..(256 << 20) / PIECE).map(|_| words::data(channel, wants.as_bytes())));
    });
    told(site, &mut peer, ONE, flooded)
}

/// Each of forty channels may have that much unread; all of them together may not.
fn stalled_channels(site: &Site) -> String {
    // What the case before has given up is not of this one.
    std::thread::sleep(GIVEN_BACK);
    let before = site.more_kib();
    let (tip, mut most, mut taken) = (site.tip(), 0, 0);
    let peers: Vec<Peer> = (0..4)
        .map(|_| {
            let mut peer = site.inside();
            let channels: Vec<u32> = (0..10).map(|_| git(&mut peer, 0)).collect();
            for channel in &channels {
                peer.send(&words::data(*channel, &words::clone_of(&tip))).unwrap();
            }
            let pieces = (0..10 * (7 << 20) / PIECE).map(|n| words::data(channels[n % 10], &[b'0'; PIECE]));
            taken += flood(site, &mut peer, pieces).1;
            most = most.max(site.more_kib().saturating_sub(before));
            peer
        })
        .collect();
    site.clone_now("beside-stalled");
    assert!(most < ALL + GIVEN_UP, "{most} KiB more");
    let more = || site.more_kib().saturating_sub(before);
    wait_until("what was given up is given back", || more() < ALL);
    let kept = more();
    drop(peers);
    format!("took {} KiB, kept {kept} of them; {most} KiB more; clones went on", taken >> 10)
}

fn ten_channels(site: &Site) -> String {
    let mut peer = site.inside();
    let channels: Vec<u32> = (0..10).map(|_| git(&mut peer, 1 << 20)).collect();
    let pieces = (0..10 * (25 << 20) / PIECE).map(|n| words::data(channels[n % 10], &[b'0'; PIECE]));
    let flooded = flood(site, &mut peer, pieces);
    told(site, &mut peer, ALL, flooded)
}

fn tiny(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = git(&mut peer, 1 << 20);
    let flooded = flood(site, &mut peer, (0..many(300_000)).map(|_| words::data(channel, b"0")));
    told(site, &mut peer, ONE, flooded)
}

fn shuffled(site: &Site) -> String {
    let (tip, none) = (site.tip(), "0".repeat(40));
    let lines = [
        "0000".to_owned(),
        "0001".to_owned(),
        "0002".to_owned(),
        words::pkt("done\n"),
        words::pkt(&format!("want {tip}\n")),
        words::pkt(&format!("have {none}\n")),
        words::pkt("command=fetch"),
        words::pkt("command=ls-refs\n"),
        words::pkt("deepen 1\n"),
        words::pkt("shallow x\n"),
    ];
    let mut worst = (0, 0, None);
    for start in 0..lines.len() {
        let mut peer = site.inside();
        let channel = git(&mut peer, 1 << 24);
        let words =
            |n: usize| (0..600).map(|k| lines[(start + n * k * 7 + k) % lines.len()].as_str()).collect::<String>();
        let flooded = flood(site, &mut peer, (1..64).map(|n| words::data(channel, words(n).as_bytes())));
        assert_ne!(after(site, &mut peer), "");
        worst = (worst.0.max(flooded.0), worst.1 + flooded.1, worst.2.or(flooded.2));
    }
    assert!(worst.0 < ONE, "{} KiB more", worst.0);
    format!("{} KiB in ten orders; {} KiB more", worst.1 >> 10, worst.0)
}

fn no_window(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = git(&mut peer, 0);
    peer.send(&words::data(channel, &words::clone_of(&site.tip()))).unwrap();
    let flooded = flood(site, &mut peer, (0..1000).map(|_| words::data(channel, &[b'0'; PIECE])));
    told(site, &mut peer, ONE, flooded)
}

fn no_reading(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = git(&mut peer, u32::MAX);
    let clone = words::clone_of(&site.tip());
    let flooded = flood(site, &mut peer, (0..20_000).map(|_| words::data(channel, &clone)));
    told(site, &mut peer, ONE, flooded)
}

fn channels(site: &Site) -> String {
    let mut peer = site.inside();
    let flooded = flood(site, &mut peer, (0..10_000).map(|n| words::open(n, "session", 1 << 20, 1 << 15)));
    let mut granted = 0;
    for _ in 0..10_000 {
        match peer.until(&[words::CHANNEL_CONFIRMATION, words::CHANNEL_OPEN_FAILURE]) {
            Ok(answer) => granted += usize::from(answer[0] == words::CHANNEL_CONFIRMATION),
            Err(_) => break,
        }
    }
    assert!(granted <= 10, "{granted}");
    format!("granted {granted}; {}", told(site, &mut peer, ONE, flooded))
}

fn come_and_go(site: &Site) -> String {
    let mut peer = site.inside();
    let before = site.more_kib();
    for _ in 0..10_000 {
        let channel = peer.open(1 << 20).unwrap().expect("the last one is closed");
        peer.send(&words::end(channel, 97)).unwrap();
    }
    let more = site.more_kib().saturating_sub(before);
    assert!(more < 8 << 10, "{more} KiB");
    format!("served each; {more} KiB more; {}", after(site, &mut peer))
}

fn questions(site: &Site) -> String {
    let mut peer = site.inside();
    let flooded = flood(site, &mut peer, (0..many(200_000)).map(|_| words::global("no-such-thing@example.org", true)));
    drain(&mut peer);
    let did = told(site, &mut peer, ONE, flooded);
    assert!(did.ends_with(SERVES_ON), "{did}");
    did
}

fn half_exchange(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = git(&mut peer, u32::MAX);
    peer.send(&words::data(channel, &words::clone_of(&site.tip()))).unwrap();
    peer.send(&words::kexinit(true)).unwrap();
    let flooded = flood(site, &mut peer, (0..10_000).map(|n| words::open(n, "session", 1 << 20, 1 << 15)));
    let did = told(site, &mut peer, ONE, flooded);
    // And one that only waits, with channels asked for in the same breath.
    let mut peer = site.inside();
    peer.exchange(Lies::default()).unwrap();
    assert!(peer.open(1 << 20).unwrap().is_some());
    did
}

fn pings(site: &Site) -> String {
    let mut peer = site.inside();
    let flooded = flood(
        site,
        &mut peer,
        (0..many(200_000))
            .map(|n| if n % 2 == 0 { words::ignore(64) } else { words::global("keepalive@openssh.com", true) }),
    );
    drain(&mut peer);
    let did = told(site, &mut peer, ONE, flooded);
    assert!(did.ends_with(SERVES_ON), "{did}");
    did
}

/// Reads what is there.
fn drain(peer: &mut Peer) {
    peer.waits(Duration::from_millis(300));
    while peer.receive().is_ok() {}
    peer.waits(PATIENCE);
}
