//! Keys that nobody registered: a dozen of them cost an agent nothing, thousands cost who guesses, and a build farm behind one
//! address is not kept out by one of its own.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use russh::keys::PrivateKey;

use super::site::{Site, load};
use super::wire::{End, Lies, Peer};
use super::words;
use crate::harness::wait_until;

/// What this network may offer at once.
const MOST: usize = 60;

fn site() -> Site {
    Site::start_with(|config| {
        let line = "guesses_per_network = 600";
        assert!(config.contains(line), "{config}");
        config
            .replace(line, &format!("guesses_per_network = {MOST}"))
            .replace("login_seconds = 3", "login_seconds = 20")
    })
}

/// Somebody of this address, ready to log in; or the door is closed to them.
fn come(site: &Site, from: Ipv4Addr) -> Result<Peer, End> {
    let mut peer = site.dial_from(from);
    peer.hello(format!("{}\r\n", words::HELLO).as_bytes())?;
    peer.exchange(Lies::default())?;
    peer.send(&words::service("ssh-userauth"))?;
    peer.until(&[words::SERVICE_ACCEPT])?;
    Ok(peer)
}

/// What is said to an offer, and how long that took.
fn offer(peer: &mut Peer, key: &PrivateKey) -> (Result<u8, End>, Duration) {
    let start = Instant::now();
    let said = peer.send(&words::offer("git", key)).and_then(|()| peer.until(&[words::AUTH_FAILURE, words::PK_OK]));
    (said.map(|said| said[0]), start.elapsed())
}

#[test]
fn who_guesses_pays_and_nobody_else() {
    let site = site();
    let stray: Vec<PrivateKey> =
        (0..12).map(|n| load(&site.gateway.keygen(&format!("stray{n}"), &["ed25519"]))).collect();

    // Agents with a dozen stray keys each, one behind the other, and all behind one address: nobody waits.
    let office = Ipv4Addr::new(127, 0, 3, 1);
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let start = Instant::now();
        let mut peer = come(&site, office).unwrap();
        for key in &stray {
            assert_eq!(offer(&mut peer, key).0, Ok(words::AUTH_FAILURE));
        }
        assert!(peer.login(&site.ci));
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(site.hits("guesses_per_network"), 0.0);

    // Somebody who guesses, on as many connections as he likes: some are answered, and then the door is closed.
    let (guesser, start, before) = (Ipv4Addr::new(127, 0, 3, 2), Instant::now(), site.gateway.audit().len());
    let mut inside: Vec<Peer> = (0..6).map(|_| come(&site, guesser).unwrap()).collect();
    let (mut answered, mut turned_away) = (0, 0);
    while turned_away < 50 {
        let Ok(mut peer) = come(&site, guesser) else {
            turned_away += 1;
            continue;
        };
        while offer(&mut peer, &site.stranger).0 == Ok(words::AUTH_FAILURE) {
            answered += 1;
        }
    }
    let took = start.elapsed();
    let most = MOST + usize::try_from(took.as_secs()).unwrap() + 2;
    assert!((MOST..=most).contains(&answered), "{answered} in {took:?}");
    // A registered key of that network is not told of either, which a guesser would want to know.
    assert!(come(&site, guesser).is_err());
    // Nor do connections help that were there before: all at a time, they get what there is, and no more.
    inside.iter_mut().for_each(|peer| peer.send(&words::offer("git", &site.stranger)).unwrap());
    let ended = inside.iter_mut().filter_map(|peer| peer.until(&[words::AUTH_FAILURE]).err()).count();
    assert!(ended >= 3, "{ended}");
    drop(inside);
    wait_until("a record", || site.gateway.audit()[before..].contains("\"reason\":\"too-many-guesses\""));
    assert!(site.hits("guesses_per_network") >= 50.0);
    assert!(site.gateway.log().contains("limit=\"guesses_per_network\""), "{}", site.gateway.log());
    eprintln!(
        "12 stray keys and a login: {slowest:?} at the most; {answered} guesses answered in {took:?}, then turned away"
    );
    // Others are served; and the guesser is too, when he has stopped for a moment.
    site.clone_now("beside-guesser");
    wait_until("it is over", || come(&site, guesser).is_ok_and(|mut peer| peer.login(&site.ci)));

    // A farm from which agents log in, and one of its agents with a wrong key that never stops: slowed, and nobody kept out.
    for _ in 0..3 {
        let mut wrong = come(&site, office).unwrap();
        for _ in 0..30 {
            wrong.send(&words::offer("git", &site.stranger)).unwrap();
            wrong.waits(Duration::from_millis(50));
            // The pause begins: enough was offered.
            if wrong.until(&[words::AUTH_FAILURE]) == Err(End::Silent) {
                break;
            }
        }
    }
    let (said, took) = offer(&mut come(&site, office).unwrap(), &site.stranger);
    assert!(said == Ok(words::AUTH_FAILURE) && took > Duration::from_millis(900), "{said:?} {took:?}");
    let start = Instant::now();
    let mut good = come(&site, office).unwrap();
    assert_eq!(offer(&mut good, &site.ci).0, Ok(words::PK_OK));
    assert!(good.login(&site.ci));
    assert!(start.elapsed() < Duration::from_millis(900), "a good agent waits {:?}", start.elapsed());
}

/// Anybody can have nothing in common with us, as often as they like.
#[test]
fn the_log_of_odd_clients_is_bounded() {
    let site = site();
    for _ in 0..40 {
        let mut peer = site.greeted();
        peer.send(&words::kexinit_of("diffie-hellman-group1-sha1", "ssh-dss")).unwrap();
        assert_eq!(peer.ended(), End::Closed);
    }
    let lines = || site.gateway.log().matches("a client has nothing in common with us").count();
    wait_until("the log", || lines() >= 10);
    site.clone_now("after-odd");
    assert_eq!(lines(), 10);
}
