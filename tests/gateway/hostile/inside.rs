//! Lies of somebody who is logged in, with a key that is registered and granted.

use std::time::{Duration, Instant};

use super::Case;
use super::site::Site;
use super::wire::{End, Lies, Peer};
use super::words;

pub(crate) const CASES: &[Case] = &[
    Case { name: "a second login", does: "logs in as another when it is in", run: second_login },
    Case { name: "exec twice", does: "two commands on one channel; a shell behind an exec", run: exec_twice },
    Case {
        name: "exec after close",
        does: "a command on a channel that is closed, and that never was",
        run: after_close,
    },
    Case { name: "endless env", does: "20,000 variables on one channel, then a fetch", run: endless_env },
    Case {
        name: "env that would hurt",
        does: "GIT_TRACE, LD_PRELOAD, --split-string, GIT_PROTOCOL with a line break",
        run: bad_env,
    },
    Case {
        name: "other channels",
        does: "direct-tcpip, forwarded-tcpip, x11, streamlocal, an unknown kind",
        run: other_channels,
    },
    Case {
        name: "other requests",
        does: "subsystem, x11-req, pty-req, agent, exit-status, unknown",
        run: other_requests,
    },
    Case {
        name: "confirms what nobody opened",
        does: "CHANNEL_OPEN_CONFIRMATION, SUCCESS, FAILURE, 51, 52, 60",
        run: confirms,
    },
    Case {
        name: "channels that are none",
        does: "data, end, close, window for channel 4,294,967,295",
        run: no_channel,
    },
    Case { name: "too much window", does: "grants 2^32-1 bytes, three times", run: window_overflow },
    Case { name: "packets of no bytes", does: "a channel whose largest packet is 0, and of 1", run: tiny_packets },
    Case { name: "data before exec", does: "1 MiB, then end of file, then the command", run: data_first },
    Case { name: "key exchange loop, inside", does: "100 exchanges, then a fetch", run: kex_loop },
    Case { name: "unknown numbers", does: "every message number from 1 to 255, with no body", run: every_number },
];

const FETCH: &str = "git-upload-pack 'acme/app'";

/// A fetch on a channel of its own still works.
fn works(peer: &mut Peer) {
    let channel = peer.open(1 << 20).unwrap().expect("a channel");
    peer.send(&words::exec(channel, FETCH)).unwrap();
    assert!(peer.granted().unwrap());
    peer.send(&words::data(channel, b"0000")).unwrap();
    let said = peer.until(&[words::CHANNEL_DATA]).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("refs/heads/main"), "{said:?}");
    peer.send(&words::end(channel, 97)).unwrap();
}

fn second_login(site: &Site) -> String {
    let mut peer = site.inside();
    for key in [&site.other, &site.stranger] {
        let request = words::signed("git", &peer.session, key, key);
        peer.send(&request).unwrap();
    }
    peer.send(&words::none("root")).unwrap();
    peer.send(&words::service("ssh-userauth")).unwrap();
    assert_eq!(peer.name(), "ci");
    works(&mut peer);
    "stayed with the first".to_owned()
}

fn exec_twice(site: &Site) -> String {
    let mut peer = site.inside();
    site.recorded(&["not-served", "a second command on one channel"], || {
        let channel = peer.open(1 << 20).unwrap().unwrap();
        peer.send(&words::exec(channel, FETCH)).unwrap();
        peer.send(&words::exec(channel, FETCH)).unwrap();
        peer.send(&words::request(channel, "shell", true, &[])).unwrap();
        let answers = [peer.granted().unwrap(), peer.granted().unwrap(), peer.granted().unwrap()];
        assert_eq!(answers, [true, false, false]);
    });
    works(&mut peer);
    "took the first, refused the others; recorded".to_owned()
}

fn after_close(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = peer.open(1 << 20).unwrap().unwrap();
    peer.send(&words::end(channel, 97)).unwrap();
    let audit = site.audited(|| {
        for channel in [channel, 77] {
            if peer.send(&words::exec(channel, FETCH)).is_err() {
                return;
            }
            peer.waits(Duration::from_millis(500));
            assert_ne!(peer.granted(), Ok(true), "{channel}");
        }
    });
    let fetches =
        audit.lines().filter(|line| line.contains("\"key\":\"acme/ci\"") && line.contains("\"event\":\"allowed"));
    assert_eq!(fetches.count(), 0, "{audit}");
    site.clone_now("after-close");
    "started nothing".to_owned()
}

fn endless_env(site: &Site) -> String {
    const MANY: usize = 20_000;
    let mut peer = site.inside();
    let channel = peer.open(1 << 20).unwrap().unwrap();
    let before = site.more_kib();
    let start = Instant::now();
    for n in 0..MANY {
        peer.send(&words::env(channel, &format!("NAME{n}"), &"x".repeat(200), n % 100 == 0)).unwrap();
    }
    for _ in 0..MANY / 100 {
        assert!(!peer.granted().unwrap());
    }
    let (took, more) = (start.elapsed(), site.more_kib().saturating_sub(before));
    assert!(more < 8 << 10, "{more} KiB");
    works(&mut peer);
    format!("refused each; {more} KiB more, {} µs each", took.as_micros() / MANY as u128)
}

fn bad_env(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = peer.open(1 << 20).unwrap().unwrap();
    let trace = site.gateway.path("PWNED");
    let trace = trace.to_str().unwrap();
    let long = format!("version={}", "2:".repeat(100));
    for (name, value) in [
        ("GIT_TRACE", trace),
        ("LD_PRELOAD", "/tmp/x.so"),
        ("--split-string", "touch PWNED"),
        ("GIT_CONFIG_PARAMETERS", "'uploadpack.packObjectsHook'='touch PWNED'"),
        ("GIT_PROTOCOL", "version=2\nGIT_TRACE=1"),
        ("GIT_PROTOCOL", long.as_str()),
        ("", ""),
    ] {
        peer.send(&words::env(channel, name, value, true)).unwrap();
        assert!(!peer.granted().unwrap(), "{name}={value:?}");
    }
    works(&mut peer);
    assert!(!std::path::Path::new(trace).exists());
    "refused each, and no file came".to_owned()
}

fn other_channels(site: &Site) -> String {
    let mut peer = site.inside();
    let to = [words::string("127.0.0.1"), vec![0, 0, 0, 22], words::string("127.0.0.1"), vec![0; 4]].concat();
    let from = [words::string("127.0.0.1"), vec![0; 4]].concat();
    for (kind, rest) in [("direct-tcpip", &to), ("forwarded-tcpip", &to), ("x11", &from)] {
        site.recorded(&["not-served", kind], || {
            peer.send(&[words::open(0, kind, 1 << 20, 1 << 15), rest.clone()].concat()).unwrap();
            peer.until(&[words::CHANNEL_OPEN_FAILURE]).unwrap();
        });
    }
    let streamlocal = [words::string("/run/x.sock"), words::string(""), vec![0; 4]].concat();
    for (kind, rest) in [("direct-streamlocal@openssh.com", streamlocal), ("tun@openssh.com", vec![0; 8])] {
        peer.send(&[words::open(0, kind, 1 << 20, 1 << 15), rest].concat()).unwrap();
        match peer.until(&[words::CHANNEL_OPEN_FAILURE, words::CHANNEL_CONFIRMATION]) {
            Ok(answer) => assert_eq!(answer[0], words::CHANNEL_OPEN_FAILURE, "{kind}"),
            Err(end) => panic!("{kind}: {end:?}"),
        }
    }
    // The library refuses what it does not know twice (russh 0.65.1); the second time is no answer to anything.
    peer.waits(Duration::from_millis(200));
    let more = std::iter::from_fn(|| peer.receive().ok()).filter(|packet| packet[0] == words::CHANNEL_OPEN_FAILURE);
    let more = more.count();
    assert!(more <= 1, "{more}");
    peer.waits(super::wire::PATIENCE);
    works(&mut peer);
    format!("refused each, the last {} times; three are recorded", more + 1)
}

fn other_requests(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = peer.open(1 << 20).unwrap().unwrap();
    let x11 = [vec![0], words::string("x"), words::string("y"), vec![0; 4]].concat();
    let pty = [words::string("xterm"), vec![0; 16], words::string([])].concat();
    for (kind, rest) in [("subsystem", words::string("sftp")), ("x11-req", x11), ("pty-req", pty)] {
        peer.send(&words::request(channel, kind, true, &rest)).unwrap();
        assert!(!peer.granted().unwrap(), "{kind}");
    }
    for kind in ["auth-agent-req@openssh.com", "break", "made-up"] {
        peer.send(&words::request(channel, kind, true, if kind == "break" { &[0; 4] } else { &[] })).unwrap();
        assert!(!peer.granted().unwrap(), "{kind}");
    }
    for (kind, rest) in [("exit-status", vec![0; 4]), ("signal", words::string("KILL")), ("xon-xoff", vec![1])] {
        peer.send(&words::request(channel, kind, false, &rest)).unwrap();
    }
    works(&mut peer);
    "refused each that wanted an answer, passed over the rest".to_owned()
}

fn confirms(site: &Site) -> String {
    let (mut ended, mut ignored) = (0, 0);
    let confirmation = [&[words::CHANNEL_CONFIRMATION][..], &[0; 16]].concat();
    let failure = [&[words::CHANNEL_OPEN_FAILURE][..], &[0; 8], &words::string(""), &words::string("")].concat();
    let messages = [
        confirmation,
        failure,
        words::end(0, words::CHANNEL_SUCCESS),
        words::end(0, words::CHANNEL_FAILURE),
        vec![words::AUTH_FAILURE],
        vec![words::AUTH_SUCCESS],
        vec![words::PK_OK, 0],
        vec![81],
        vec![82],
    ];
    for message in messages {
        let mut peer = site.inside();
        peer.send(&message).unwrap();
        match peer.open(1 << 20) {
            Ok(Some(_)) => {
                works(&mut peer);
                ignored += 1;
            }
            Ok(None) => panic!("{message:?}: no channel"),
            Err(End::Silent) => panic!("{message:?}: hangs"),
            Err(_) => ended += 1,
        }
    }
    format!("ended {ended}, passed over {ignored}")
}

fn no_channel(site: &Site) -> String {
    let mut ended = 0;
    let none = u32::MAX;
    for message in [words::data(none, b"x"), words::end(none, 96), words::end(none, 97), words::window(none, 1)] {
        let mut peer = site.inside();
        peer.send(&message).unwrap();
        match peer.open(1 << 20) {
            Ok(channel) => assert!(channel.is_some(), "{message:?}"),
            Err(End::Silent) => panic!("{message:?}: hangs"),
            Err(_) => ended += 1,
        }
    }
    format!("ended {ended} of 4, passed over the rest")
}

fn window_overflow(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = peer.open(u32::MAX).unwrap().unwrap();
    let said: Vec<_> = (0..3).map(|_| peer.send(&words::window(channel, u32::MAX))).collect();
    assert!(said[0].is_ok());
    match peer.send(&words::exec(channel, FETCH)).and_then(|()| peer.granted()) {
        Ok(granted) => assert!(granted),
        Err(End::Silent) => panic!("hangs"),
        Err(end) => return format!("{end:?}"),
    }
    peer.until(&[words::CHANNEL_DATA]).unwrap();
    "served it".to_owned()
}

fn tiny_packets(site: &Site) -> String {
    let mut did = Vec::new();
    for largest in [0, 1] {
        let mut peer = site.inside();
        peer.send(&words::open(0, "session", 1 << 20, largest)).unwrap();
        let Ok(answer) = peer.until(&[words::CHANNEL_CONFIRMATION, words::CHANNEL_OPEN_FAILURE]) else {
            did.push(format!("of {largest}: ended"));
            continue;
        };
        let channel = u32::from_be_bytes(answer[5..9].try_into().unwrap());
        peer.send(&words::exec(channel, FETCH)).unwrap();
        peer.waits(Duration::from_secs(2));
        let (mut packets, mut cpu) = (0, site.cpu());
        while packets < 20 && peer.until(&[words::CHANNEL_DATA]).is_ok() {
            packets += 1;
        }
        drop(peer);
        std::thread::sleep(Duration::from_millis(500));
        // Whoever takes nothing costs nothing: no loop tries to send it.
        cpu = site.cpu() - cpu;
        assert!(cpu < Duration::from_secs(2), "of {largest}: {cpu:?}");
        did.push(format!("of {largest}: {packets} packets"));
    }
    did.join("; ")
}

fn data_first(site: &Site) -> String {
    let mut peer = site.inside();
    let channel = peer.open(1 << 20).unwrap().unwrap();
    for _ in 0..32 {
        peer.send(&words::data(channel, &[b'x'; 1 << 15])).unwrap();
    }
    peer.send(&words::end(channel, 96)).unwrap();
    peer.send(&words::exec(channel, FETCH)).unwrap();
    match peer.granted() {
        Ok(true) => {
            peer.waits(Duration::from_secs(10));
            // Its program ends somehow, and does not take what was said before it as words for it.
            let said = peer.until(&[97]).map(|_| "closed the channel");
            assert_ne!(said, Err(End::Silent));
        }
        Ok(false) => {}
        Err(end) => {
            assert_ne!(end, End::Silent);
            return format!("{end:?}");
        }
    }
    works(&mut peer);
    "dropped the data, and served on".to_owned()
}

fn kex_loop(site: &Site) -> String {
    let mut peer = site.inside();
    let (start, before) = (site.cpu(), site.more_kib());
    for _ in 0..100 {
        peer.exchange(Lies::default()).unwrap();
    }
    let (cpu, more) = (site.cpu() - start, site.more_kib().saturating_sub(before));
    assert!(more < 8 << 10, "{more} KiB");
    works(&mut peer);
    format!("went along: {} µs and {more} KiB for 100", cpu.as_micros())
}

fn every_number(site: &Site) -> String {
    let (mut ended, mut on) = (0, 0);
    for number in 2..=255 {
        let mut peer = site.inside();
        peer.send(&[number]).unwrap();
        // It says that it began an exchange of keys, so nothing else is due before the rest of it.
        if number == words::KEXINIT {
            continue;
        }
        match peer.open(1 << 20) {
            Ok(channel) => {
                assert!(channel.is_some(), "{number}");
                on += 1;
            }
            Err(End::Silent) => panic!("{number}: hangs"),
            Err(_) => ended += 1,
        }
    }
    format!("ended {ended}, passed over {on}")
}
