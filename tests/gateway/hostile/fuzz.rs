//! Conversations that are broken by chance: in the identification string, in the packets of the key exchange, and behind an
//! honest exchange in those of logins and channels. `just hostile` runs 10,000, `PULLGATE_FUZZ_CASES` any number; the seed is
//! printed, and `PULLGATE_FUZZ_SEED` runs the same again.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::site::Site;
use super::wire::{End, Lies, Peer};
use super::words;

/// Conversations at a time.
const THREADS: u64 = 4;
/// A run that takes longer was held up by something.
const MINUTES: u64 = 8;

/// Numbers of Sebastiano Vigna's splitmix64: the same for the same seed, on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most.max(1)).unwrap()).unwrap()
    }

    /// One of the ways in which bytes go wrong.
    fn broken(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(8) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => bytes.truncate(at),
                3 => bytes.extend(vec![b'x'; self.below(2000)]),
                4 => {
                    let piece = bytes[at..(at + self.below(64)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                5 => drop(bytes.drain(at..(at + self.below(16)).min(bytes.len()))),
                // A length of something, which is not that long, or four thousand million.
                6 if bytes.len() >= at + 4 => {
                    let length = [0u32, 1, 0xff, 0xffff, 0x7fff_ffff, u32::MAX][self.below(6)];
                    bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
                }
                _ => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
            }
        }
        bytes
    }

    /// One of these, as it is or broken.
    fn one_of(&mut self, mut all: Vec<Vec<u8>>) -> Vec<u8> {
        let one = all.swap_remove(self.below(all.len()));
        if self.below(5) == 0 { one } else { self.broken(one) }
    }
}

/// What somebody says who logs in, out of which the broken ones are made.
fn of_logins(site: &Site, peer: &Peer) -> Vec<Vec<u8>> {
    vec![
        words::service("ssh-userauth"),
        words::none("git"),
        words::password("git"),
        words::offer("git", &site.ci),
        words::offer("git", &site.stranger),
        // Signed by somebody whom nobody knows, so that whatever gets through lets nobody in.
        words::signed("git", &peer.session, &site.ci, &site.stranger),
        words::signed("git", &peer.session, &site.stranger, &site.stranger),
        words::kexinit(true),
        words::ignore(16),
    ]
}

/// Likewise, when he is in.
fn of_channels(tip: &str) -> Vec<Vec<u8>> {
    vec![
        words::open(0, "session", 1 << 20, 1 << 15),
        words::open(1, "direct-tcpip", 1 << 20, 1 << 15),
        words::env(0, "GIT_PROTOCOL", "version=2", true),
        words::exec(0, "git-upload-pack 'acme/app'"),
        words::request(0, "shell", true, &[]),
        words::request(
            0,
            "pty-req",
            true,
            &[words::string("x"), vec![0; 16], words::string([1, 0, 0, 0, 1, 0])].concat(),
        ),
        words::data(0, &words::clone_of(tip)),
        words::data(0, b"0000"),
        words::window(0, 1 << 20),
        words::end(0, 96),
        words::end(0, 97),
        words::global("tcpip-forward", true),
        words::kexinit(true),
        words::ignore(16),
    ]
}

/// One conversation; whether the gateway ended it by itself.
fn converse(site: &Site, tip: &str, chance: &mut Chance, stage: usize) -> bool {
    let mut peer = site.dial_from(Ipv4Addr::new(127, 0, 6, u8::try_from(chance.below(250)).unwrap()));
    peer.waits(Duration::from_secs(10));
    let hello = format!("{}\r\n", words::HELLO).into_bytes();
    if stage == 0 {
        let line = chance.broken(hello);
        return peer.raw(&line).is_err() || finish(&mut peer);
    }
    if peer.hello(&hello).is_err() {
        return true;
    }
    if stage == 1 {
        let packets =
            [words::kexinit(true), [&[words::ECDH_INIT][..], &words::string([9; 32])].concat(), vec![words::NEWKEYS]];
        for packet in packets {
            let broken = if chance.below(3) == 0 { packet } else { chance.broken(packet) };
            let sealed = peer.sealed(&broken);
            let sealed = if chance.below(4) == 0 { chance.broken(sealed) } else { sealed };
            if peer.raw(&sealed).is_err() {
                return true;
            }
        }
        return finish(&mut peer);
    }
    peer.exchange(Lies::default()).unwrap();
    if stage == 3 {
        peer.serve();
        assert!(peer.login(&site.ci));
    }
    for _ in 0..=chance.below(8) {
        let message = if stage == 2 { of_logins(site, &peer) } else { of_channels(tip) };
        let message = chance.one_of(message);
        // Now and then the packet itself is broken too, which no key holds for a good one.
        let mut packet = peer.sealed(&message);
        if chance.below(20) == 0 {
            packet = chance.broken(packet);
        }
        if peer.raw(&packet).is_err() {
            return true;
        }
    }
    finish(&mut peer)
}

/// Says nothing more, and waits until the gateway has understood that.
fn finish(peer: &mut Peer) -> bool {
    if peer.stream.shutdown(std::net::Shutdown::Write).is_err() {
        return true;
    }
    let end = peer.drained();
    assert_ne!(end, End::Silent, "the gateway keeps somebody who is gone");
    false
}

#[test]
fn ten_thousand_broken_conversations() {
    let cases = std::env::var("PULLGATE_FUZZ_CASES")
        .map_or(if super::is_long() { 10_000 } else { 300 }, |text| text.parse().unwrap());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed: u64 = std::env::var("PULLGATE_FUZZ_SEED").map_or(now, |text| text.parse().unwrap());
    eprintln!("\nPULLGATE_FUZZ_SEED={seed} PULLGATE_FUZZ_CASES={cases}");
    let site = Site::start();
    let tip = site.tip();
    let honest = site.clones_meanwhile();
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    let counts: [[AtomicUsize; 2]; 4] = Default::default();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cases {
                        break;
                    }
                    let stage = number % 4;
                    // Each has chances of its own: whichever thread it falls to, it is the same.
                    let mut chance = Chance(seed.wrapping_add(u64::try_from(number).unwrap().wrapping_mul(0x1_0001)));
                    let ended = converse(&site, &tip, &mut chance, stage);
                    counts[stage][usize::from(ended)].fetch_add(1, Ordering::Relaxed);
                    assert!(start.elapsed() < Duration::from_secs(60 * MINUTES), "case {number}: it takes too long");
                }
            });
        }
    });
    eprintln!("\n| broken | cases | ended while they spoke | ended when they had spoken |\n| --- | --- | --- | --- |");
    for (what, [later, at_once]) in ["identification", "key exchange", "login", "channels"].into_iter().zip(counts) {
        let (later, at_once) = (later.into_inner(), at_once.into_inner());
        eprintln!("| {what} | {} | {at_once} | {later} |", later + at_once);
    }
    eprintln!("{cases} in {:?}", start.elapsed());
    honest.end();
    // A thread of the gateway that broke would have told of it.
    assert!(!site.gateway.log().contains("panicked"), "{}", site.gateway.log());
    assert!(site.gateway.log().len() < 1 << 20, "strangers fill the log");
    site.calm();
}
