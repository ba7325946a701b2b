//! Lies between the keys and the login: whoever says that he is in is not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Case;
use super::site::{LOGIN, Site};
use super::wire::{End, Lies, Peer};
use super::words;

pub(crate) const CASES: &[Case] = &[
    Case { name: "offers A, signs with B", does: "all orders of three offers, each signer", run: all_orders },
    Case { name: "names A, signs with B", does: "signs for a key that it does not have", run: names_another },
    Case { name: "another's signature", does: "sends the signed login of another session again", run: replayed },
    Case {
        name: "user name midway",
        does: "offers as one user, signs as another; alters the signed name",
        run: other_user,
    },
    Case {
        name: "server's messages",
        does: "SERVICE_ACCEPT, USERAUTH_SUCCESS, PK_OK and others, then a channel",
        run: server_says,
    },
    Case { name: "channels before login", does: "opens, requests, data, forwardings", run: too_early },
    Case {
        name: "services",
        does: "asks for ssh-connection before its login, for a login to another, for nothing",
        run: services,
    },
    Case { name: "many keys", does: "1,000 offers on one connection", run: many_keys },
    Case { name: "other methods", does: "200 passwords; keyboard-interactive; hostbased", run: other_methods },
    Case { name: "torn requests", does: "a signed login, cut at each fifth byte", run: torn },
    Case {
        name: "lengths under encryption",
        does: "packets of 0, 1 MiB and 4 GiB; more padding than packet",
        run: lengths,
    },
    Case { name: "a broken seal", does: "one bit of a packet, in its head, its body, its tag", run: broken_seal },
    Case { name: "key exchange loop", does: "exchanges keys again and again, and never logs in", run: kex_loop },
];

fn all_orders(site: &Site) -> String {
    let keys = [("ci", &site.ci), ("other", &site.other), ("", &site.stranger)];
    let (mut tried, mut refused) = (0, 0);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for (name, signer) in keys {
            let mut peer = site.served();
            for offered in order.map(|n| keys[n].1) {
                peer.send(&words::offer("git", offered)).unwrap();
                peer.until(&[words::PK_OK, words::AUTH_FAILURE]).unwrap();
            }
            tried += 1;
            if name.is_empty() {
                assert!(!peer.login(signer), "{order:?}: a stranger is in");
                refused += 1;
            } else {
                assert!(peer.login(signer), "{order:?} {name}");
                assert_eq!(peer.name(), name, "{order:?}");
            }
        }
    }
    format!("who signed was logged in, {} times of {tried}; {refused} strangers were refused", tried - refused)
}

/// Refused or ended, and nobody is in: channels are not opened either. Some are only ended by the clock, so all at a time.
fn stay_out(peers: Vec<Peer>) {
    std::thread::scope(|scope| {
        for (n, mut peer) in peers.into_iter().enumerate() {
            scope.spawn(move || {
                peer.waits(Duration::from_secs(LOGIN + 6));
                let login = peer.is_in();
                assert!(!matches!(login, Ok(true) | Err(End::Silent)), "{n}: {login:?}");
                let opened = peer.open(1 << 20);
                assert!(!matches!(opened, Ok(Some(_)) | Err(End::Silent)), "{n}: {opened:?}");
            });
        }
    });
}

fn names_another(site: &Site) -> String {
    let peers = [false, true].map(|offered| {
        let mut peer = site.served();
        if offered {
            peer.send(&words::offer("git", &site.ci)).unwrap();
            peer.until(&[words::PK_OK]).unwrap();
        }
        let lie = words::signed("git", &peer.session, &site.ci, &site.other);
        peer.send(&lie).unwrap();
        peer
    });
    stay_out(peers.into());
    "refused the login, with and without an offer before".to_owned()
}

fn replayed(site: &Site) -> String {
    let mut first = site.served();
    let login = words::signed("git", &first.session, &site.ci, &site.ci);
    first.send(&login).unwrap();
    assert_eq!(first.is_in(), Ok(true));
    let mut second = site.served();
    second.send(&login).unwrap();
    stay_out(vec![second]);
    // And the first session's own, after its keys were exchanged again: the session's id stays (RFC 4253 §7.2).
    let mut third = site.served();
    third.exchange(Lies::default()).unwrap();
    assert!(third.login(&site.ci));
    "refused it; in its own session it counts, after a second key exchange too".to_owned()
}

fn other_user(site: &Site) -> String {
    let mut peer = site.served();
    peer.send(&words::offer("git", &site.ci)).unwrap();
    peer.until(&[words::PK_OK]).unwrap();
    // Rightly signed, by another, under another name: in as who signed.
    let other = words::signed("root", &peer.session, &site.other, &site.other);
    peer.send(&other).unwrap();
    assert_eq!(peer.is_in(), Ok(true));
    assert_eq!(peer.name(), "other");
    // Signed under one name, sent under another of the same length.
    let mut peer = site.served();
    let signed = words::signed("git", &peer.session, &site.ci, &site.ci);
    peer.send(&[&signed[..5], b"tig", &signed[8..]].concat()).unwrap();
    stay_out(vec![peer]);
    "who signed was logged in; an altered name was refused".to_owned()
}

/// Peers that are not in, say one of these each, and are not in after it either; how the gateway took it.
fn say(site: &Site, messages: &[Vec<u8>]) -> String {
    let counts = [const { AtomicUsize::new(0) }; 3];
    std::thread::scope(|scope| {
        for message in messages {
            let counts = &counts;
            scope.spawn(move || {
                let mut peer = site.served();
                peer.waits(Duration::from_secs(LOGIN + 6));
                let start = Instant::now();
                peer.send(message).unwrap();
                let way = match peer.open(1 << 20) {
                    Ok(Some(_)) => panic!("{message:?}: a channel is open"),
                    Err(End::Silent) => panic!("{message:?}: no clock ended it"),
                    Ok(None) => 1,
                    Err(_) if start.elapsed() > Duration::from_secs(LOGIN - 1) => 2,
                    Err(_) => 0,
                };
                counts[way].fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    let [ended, refused, late] = counts.map(AtomicUsize::into_inner);
    format!("ended {ended} at once, refused {refused}, ended {late} by the login clock; nobody was in")
}

fn server_says(site: &Site) -> String {
    let key = [&[words::PK_OK][..], &words::string("ssh-ed25519"), &words::string(words::blob(&site.ci))].concat();
    let reply = [&[words::ECDH_REPLY][..], &words::string([0; 51]), &words::string([9; 32]), &words::string([0; 83])];
    let messages = [
        [&[words::SERVICE_ACCEPT][..], &words::string("ssh-connection")].concat(),
        vec![words::AUTH_SUCCESS],
        [&[words::AUTH_FAILURE][..], &words::string("publickey"), &[1]].concat(),
        key,
        reply.concat(),
        vec![words::NEWKEYS],
    ];
    say(site, &messages)
}

fn too_early(site: &Site) -> String {
    let messages = [
        words::exec(0, "git-upload-pack 'acme/app'"),
        words::data(0, b"0000"),
        words::global("tcpip-forward", true),
        words::window(0, 1 << 20),
    ];
    say(site, &messages)
}

fn services(site: &Site) -> String {
    std::thread::scope(|scope| {
        for name in ["ssh-connection", "", "ssh-userauth,ssh-connection", "\0"] {
            scope.spawn(move || {
                let mut peer = site.keyed();
                peer.waits(Duration::from_secs(LOGIN + 6));
                peer.send(&words::service(name)).unwrap();
                let answer = peer.until(&[words::SERVICE_ACCEPT]);
                assert!(matches!(answer, Err(End::Closed | End::Disconnected(_))), "{name}: {answer:?}");
            });
        }
    });
    let mut peer = site.served();
    let request = words::signed("git", &peer.session, &site.ci, &site.ci);
    let lie = [&request[..8], &words::string("ssh-everything"), &request[8 + 18..]].concat();
    peer.send(&lie).unwrap();
    stay_out(vec![peer]);
    "ended or refused each".to_owned()
}

fn many_keys(site: &Site) -> String {
    let before = site.hits("keys_per_connection");
    let mut peer = site.served();
    let mut answered = 0;
    site.recorded(&["login-refused", "too-many-keys"], || {
        for _ in 0..1000 {
            if peer.send(&words::offer("git", &site.stranger)).is_err() || peer.until(&[words::AUTH_FAILURE]).is_err() {
                break;
            }
            answered += 1;
        }
        // The record is written when the connection is over.
        drop(peer);
    });
    assert!((32..=34).contains(&answered), "{answered}");
    assert!(site.hits("keys_per_connection") > before);
    format!("answered {answered}, then ended it; recorded and counted")
}

fn other_methods(site: &Site) -> String {
    let mut peer = site.served();
    let mut answered = 0;
    while answered < 200 && peer.send(&words::password("git")).is_ok() {
        match peer.until(&[words::AUTH_FAILURE, words::AUTH_SUCCESS]) {
            Ok(answer) => assert_eq!(answer[0], words::AUTH_FAILURE),
            Err(_) => break,
        }
        answered += 1;
    }
    assert!(answered < 40, "{answered}");
    let peers = ["keyboard-interactive", "hostbased", "none", "gssapi-with-mic", ""].map(|method| {
        let mut peer = site.served();
        let head =
            [&[50][..], &words::string("git"), &words::string("ssh-connection"), &words::string(method)].concat();
        // A count of answers, or whatever else would follow, of four thousand million.
        peer.send(&[&head[..], &[0xff; 16]].concat()).unwrap();
        peer
    });
    stay_out(peers.into());
    format!("refused {answered} passwords, then ended it; refused the others")
}

fn torn(site: &Site) -> String {
    let length = words::signed("git", &[0; 32], &site.ci, &site.ci).len();
    let peers: Vec<Peer> = (1..length)
        .step_by(5)
        .map(|cut| {
            let mut peer = site.served();
            let request = words::signed("git", &peer.session, &site.ci, &site.ci);
            peer.send(&request[..cut]).unwrap();
            peer
        })
        .collect();
    let number = peers.len();
    stay_out(peers);
    format!("refused or ended each of {number}")
}

fn lengths(site: &Site) -> String {
    let before = site.more_kib();
    let packets = [
        [0u32.to_be_bytes().to_vec(), vec![4; 16]].concat(),
        [(1u32 << 20).to_be_bytes().to_vec(), vec![4; 1 << 10]].concat(),
        [u32::MAX.to_be_bytes().to_vec(), vec![4; 1 << 10]].concat(),
        // A packet of 16 bytes, of which 255 are padding; and one that is nothing but padding.
        [&[0, 0, 0, 16, 255][..], &[5; 15]].concat(),
        [&[0, 0, 0, 16, 15][..], &[0; 15]].concat(),
    ];
    let peers = packets.map(|packet| {
        let mut peer = site.served();
        let sealed = peer.seal(packet);
        peer.raw(&sealed).unwrap();
        peer
    });
    stay_out(peers.into());
    assert!(site.more_kib() < before + (8 << 10), "a length was believed");
    "ended each, without taking memory for it".to_owned()
}

fn broken_seal(site: &Site) -> String {
    for place in [0, 3, 4, 10, 30] {
        let mut peer = site.served();
        let request = words::signed("git", &peer.session, &site.ci, &site.ci);
        let mut packet = peer.sealed(&request);
        let place = if place == 30 { packet.len() - 1 } else { place };
        packet[place] ^= 1;
        peer.waits(Duration::from_secs(LOGIN + 6));
        peer.raw(&packet).unwrap();
        let end = peer.is_in();
        assert!(matches!(end, Err(End::Closed | End::Disconnected(_))), "{place}: {end:?}");
    }
    "ended each".to_owned()
}

fn kex_loop(site: &Site) -> String {
    let (start, before) = (Instant::now(), site.hits("login_seconds"));
    let mut peer = site.keyed();
    let mut times = 1;
    while peer.exchange(Lies::default()).is_ok() {
        times += 1;
        assert!(start.elapsed() < Duration::from_secs(LOGIN + 8), "no clock ended it");
    }
    crate::harness::wait_until("it is counted", || site.hits("login_seconds") > before);
    format!("ended it by the login clock, after {times} exchanges")
}
