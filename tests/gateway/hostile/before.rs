//! Lies before there is a key: identification strings, packets in the clear, and the exchange itself.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::Case;
use super::site::{BANNER, LOGIN, Site};
use super::wire::{End, Lies, Peer};
use super::words;

pub(crate) const CASES: &[Case] = &[
    Case { name: "no SSH", does: "speaks HTTP, SSH-1.5, binary, and a line of 300 bytes", run: no_ssh },
    Case { name: "lengths in the clear", does: "packets of 0, 1, 3, 1 MiB and 4 GiB", run: lengths },
    Case { name: "padding in the clear", does: "more padding than packet, and none", run: padding },
    Case { name: "cut off", does: "half a KEXINIT, then end of file", run: cut_off },
    Case { name: "endless names", does: "a KEXINIT of 200 KiB of methods", run: endless_names },
    Case { name: "KEXINIT twice", does: "begins an exchange within the exchange", run: kexinit_twice },
    Case {
        name: "out of order in the clear",
        does: "NEWKEYS, KEXDH_REPLY, a login, a channel first",
        run: out_of_order,
    },
    Case { name: "bad points", does: "a public value of zeros, of 31 and of 33 bytes, of none", run: bad_points },
    Case {
        name: "IGNORE after KEXINIT",
        does: "strict, then IGNORE, DEBUG, UNIMPLEMENTED before ECDH_INIT",
        run: extra,
    },
    Case { name: "IGNORE before NEWKEYS", does: "strict, then IGNORE before NEWKEYS (Terrapin)", run: extra_later },
    Case { name: "IGNORE before KEXINIT", does: "IGNORE, then a strict KEXINIT (Terrapin)", run: extra_before },
    Case { name: "counts on", does: "strict, and does not begin to count anew", run: counts_on },
    Case {
        name: "not strict",
        does: "says nothing of strictness, and sends an IGNORE in the exchange",
        run: not_strict,
    },
    Case { name: "nothing in common", does: "offers methods that nobody has", run: nothing_in_common },
    Case { name: "slow bytes", does: "a byte of its KEXINIT every 150 ms", run: slow_bytes },
    Case { name: "half-open flood", does: "300 connections that say nothing", run: half_open },
];

/// Ended by the gateway, and by no clock of it.
fn at_once(peer: &mut Peer, what: &str) -> End {
    let start = Instant::now();
    let end = peer.ended();
    assert!(
        end != End::Silent && start.elapsed() < Duration::from_secs(BANNER),
        "{what}: {end:?} {:?}",
        start.elapsed()
    );
    end
}

fn no_ssh(site: &Site) -> String {
    let long = [b"SSH-2.0-".as_slice(), &[b'x'; 300], b"\r\n"].concat();
    for words in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), b"SSH-1.5-old\r\n", &[0; 255], &long] {
        let mut peer = site.dial();
        // It may be gone after the first line.
        peer.hello(words).ok();
        at_once(&mut peer, &format!("{words:?}"));
    }
    "closed each at once".to_owned()
}

fn lengths(site: &Site) -> String {
    let before = site.more_kib();
    for length in [0u32, 1, 3, 1 << 20, u32::MAX] {
        let mut peer = site.greeted();
        let head = length.to_be_bytes();
        peer.raw(&[&head[..], &[4; 60]].concat()).unwrap();
        at_once(&mut peer, &format!("{length}"));
    }
    assert!(site.more_kib() < before + (8 << 10), "a length was believed");
    "closed each at once, without taking memory for it".to_owned()
}

fn padding(site: &Site) -> String {
    for padding in [0u8, 255] {
        let mut peer = site.greeted();
        let mut packet = peer.sealed(&words::kexinit(true));
        packet[4] = padding;
        peer.raw(&packet).unwrap();
        at_once(&mut peer, &format!("{padding}"));
    }
    "closed each at once".to_owned()
}

fn cut_off(site: &Site) -> String {
    let mut peer = site.greeted();
    let packet = peer.sealed(&words::kexinit(true));
    peer.raw(&packet[..packet.len() / 2]).unwrap();
    peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
    format!("{:?}", at_once(&mut peer, "half a packet"))
}

fn endless_names(site: &Site) -> String {
    let names: Vec<String> = (0..20_000).map(|n| format!("method{n}")).collect();
    let mut peer = site.greeted();
    peer.send(&words::kexinit_of(&names.join(","), "ssh-ed25519")).ok();
    format!("{:?}", at_once(&mut peer, "names"))
}

fn kexinit_twice(site: &Site) -> String {
    let mut peer = site.greeted();
    let end = peer.exchange(Lies { after_kexinit: &words::kexinit(true), ..Lies::default() });
    assert!(matches!(end, Err(End::Closed | End::Disconnected(_))), "{end:?}");
    format!("{:?}", end.unwrap_err())
}

fn out_of_order(site: &Site) -> String {
    let reply = [&[words::ECDH_REPLY][..], &words::string([0; 51]), &words::string([9; 32]), &words::string([0; 83])];
    let messages = [
        vec![words::NEWKEYS],
        reply.concat(),
        words::service("ssh-userauth"),
        words::none("git"),
        words::open(0, "session", 1 << 20, 1 << 15),
        vec![words::AUTH_SUCCESS],
    ];
    for first in [false, true] {
        for message in &messages {
            let mut peer = site.greeted();
            if !first {
                peer.send(&words::kexinit(true)).unwrap();
            }
            peer.send(message).ok();
            at_once(&mut peer, &format!("{message:?}, first: {first}"));
        }
    }
    "closed each at once".to_owned()
}

fn bad_points(site: &Site) -> String {
    for point in [vec![0; 32], vec![9; 31], vec![9; 33], vec![]] {
        let mut peer = site.greeted();
        peer.send(&words::kexinit(true)).unwrap();
        peer.send(&[&[words::ECDH_INIT][..], &words::string(&point)].concat()).unwrap();
        at_once(&mut peer, &format!("{point:?}"));
    }
    "closed each at once".to_owned()
}

fn extra(site: &Site) -> String {
    let debug = [&[4, 0][..], &words::string("x"), &words::string("")].concat();
    for message in [words::ignore(8), debug, vec![words::UNIMPLEMENTED, 0, 0, 0, 0]] {
        let end = site.greeted().exchange(Lies { after_kexinit: &message, ..Lies::default() });
        assert!(matches!(end, Err(End::Closed | End::Disconnected(_))), "{message:?}: {end:?}");
    }
    "ended each exchange".to_owned()
}

fn extra_later(site: &Site) -> String {
    let mut peer = site.greeted();
    // The gateway's own NEWKEYS is on its way by then; what counts is that nothing is served behind it.
    let end = peer.exchange(Lies { before_newkeys: &words::ignore(8), ..Lies::default() });
    assert!(end.is_ok() || matches!(end, Err(End::Closed | End::Disconnected(_))), "{end:?}");
    peer.send(&words::service("ssh-userauth")).ok();
    let accepted = peer.until(&[words::SERVICE_ACCEPT]);
    assert!(matches!(accepted, Err(End::Closed | End::Disconnected(_))), "{accepted:?}");
    "ended the exchange".to_owned()
}

fn extra_before(site: &Site) -> String {
    let mut peer = site.greeted();
    peer.send(&words::ignore(8)).unwrap();
    let end = peer.exchange(Lies::default());
    assert!(matches!(end, Err(End::Closed | End::Disconnected(_))), "{end:?}");
    "ended the exchange".to_owned()
}

fn counts_on(site: &Site) -> String {
    let mut peer = site.greeted();
    peer.exchange(Lies { keeps_counting: true, ..Lies::default() }).unwrap();
    peer.send(&words::service("ssh-userauth")).unwrap();
    format!("{:?}: its packet is not what its number says", at_once(&mut peer, "counts on"))
}

/// What RFC 4253 allows, and clients before 2024 are: served, since who is inside then is another's affair.
fn not_strict(site: &Site) -> String {
    let mut peer = site.greeted();
    let lies = Lies { lax: true, before_newkeys: &words::ignore(8), ..Lies::default() };
    peer.exchange(lies).unwrap();
    peer.serve();
    assert!(!peer.login(&site.stranger));
    "went along, as RFC 4253 allows".to_owned()
}

fn nothing_in_common(site: &Site) -> String {
    let mut peer = site.greeted();
    peer.send(&words::kexinit_of("diffie-hellman-group1-sha1", "ssh-dss")).unwrap();
    format!("{:?}", at_once(&mut peer, "nothing in common"))
}

fn slow_bytes(site: &Site) -> String {
    let before = site.hits("login_seconds");
    let mut peer = site.greeted();
    let packet = peer.sealed(&words::kexinit(true));
    let start = Instant::now();
    for byte in packet.chunks(1) {
        if peer.stream.write_all(byte).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(LOGIN + 5), "{took:?}");
    crate::harness::wait_until("it is counted", || site.hits("login_seconds") > before);
    format!("closed it by the login clock ({LOGIN} s)")
}

fn half_open(site: &Site) -> String {
    let before = site.hits("banner_seconds");
    let start = Instant::now();
    let mut peers: Vec<Peer> =
        (0..300).map(|n| site.dial_from(Ipv4Addr::new(127, 0, 2, u8::try_from(n % 250).unwrap()))).collect();
    for peer in &mut peers {
        assert_eq!(peer.drained(), End::Closed);
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(BANNER + 8), "{took:?}");
    crate::harness::wait_until("each is counted", || site.hits("banner_seconds") >= before + 300.0);
    format!("closed all 300 by the banner clock ({BANNER} s)")
}
