//! Key exchanges in large groups: a gateway computes for 80 ms where a stranger who never meant to log in computes nothing.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use super::site::Site;
use super::wire::Peer;
use super::words;
use crate::algorithms;
use crate::harness::{run, wait_until};

const METHOD: &str = "diffie-hellman-group-exchange-sha256";

/// A gateway that computes one at a time.
fn site() -> Site {
    Site::start_with(|config| {
        [("group_exchanges = 0", "group_exchanges = 1"), ("login_seconds = 3", "login_seconds = 20")].iter().fold(
            config,
            |config, (line, instead)| {
                assert!(config.contains(line), "{config}");
                config.replace(line, instead)
            },
        )
    })
}

/// A packet without the padding that RFC 4253 §6 wants, and the library does without.
fn bare(payload: &[u8]) -> Vec<u8> {
    [&words::u32_of(1 + payload.len())[..], &[0], payload].concat()
}

/// Says all of this at once: what it is, its methods, the request of a group, and what stands behind that.
fn asks(site: &Site, from: Ipv4Addr, and: &[u8]) -> Peer {
    let mut peer = site.dial_from(from);
    let hello = b"SSH-2.0-x\n".to_vec();
    let exchange = bare(&words::kexinit_of(METHOD, "ssh-ed25519"));
    let group = bare(&words::group_request(2048, 3072, 8192));
    peer.hello(&[hello, exchange, group, and.to_vec()].concat()).unwrap();
    peer.until(&[words::KEXINIT]).unwrap();
    peer
}

/// Real ssh, which has nothing else to offer.
fn ssh(site: &Site) -> Command {
    algorithms::ssh(&site.gateway, &site.gateway.path("ci"), &[&format!("KexAlgorithms={METHOD}")])
}

#[test]
fn strangers_who_are_given_a_group_and_say_no_more_hold_nobody_up() {
    let site = site();
    let mut crowd: Vec<Peer> = (1..=20).map(|last| asks(&site, Ipv4Addr::new(127, 0, 9, last), b"")).collect();
    for peer in &mut crowd {
        peer.until(&[words::GROUP]).unwrap();
        // Nearly all of an answer.
        let answer = peer.sealed(&words::group_init(&[0x7f; 383]));
        peer.raw(&answer[..answer.len() - 1]).unwrap();
    }
    let said = run(&mut ssh(&site));
    assert!(said.out.contains("refs/heads/main"), "{said:?}");
    site.clone_now("beside");
}

#[test]
fn a_turn_ends_with_the_exchange() {
    let site = site();
    // One that stays, so that it is not its end that makes room.
    let mut stays = ssh(&site).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(stays.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("HEAD"), "{line}");
    let said = run(&mut ssh(&site));
    assert!(said.out.contains("refs/heads/main"), "{said:?}");
    // Who is logged in takes turns too, and one more with each exchange in the middle of a clone.
    let gateway = &site.gateway;
    let often = format!("{} -o KexAlgorithms={METHOD} -o RekeyLimit=1K -v", gateway.ssh_line(&gateway.path("ci")));
    let mut git = gateway.git_command(&gateway.path("ci"));
    let cloned = run(git.env("GIT_SSH_COMMAND", often).args(["clone", "-q", &gateway.url("acme/app"), "often"]));
    assert!(
        cloned.code == Some(0) && cloned.err.matches("SSH2_MSG_KEX_DH_GEX_GROUP received").count() > 1,
        "{cloned:?}"
    );
    assert_eq!(stays.try_wait().unwrap(), None, "it is there yet");
    drop(stays.stdin.take());
    stays.wait().unwrap();
    assert_eq!(site.hits("group_exchanges"), 0.0);
}

/// As many as they like, each with an answer for which nobody has to compute: a number of one byte. All of it fits into the 256
/// bytes that the library reads ahead while it looks for who the peer is.
#[test]
fn a_flood_of_large_groups_leaves_room_for_a_clone() {
    let site = site();
    let answer = bare(&words::group_init(&[2]));
    let answered: usize = std::thread::scope(|scope| {
        let strangers: Vec<_> = (0..40)
            .map(|_| {
                scope.spawn(|| {
                    let mut peer = asks(&site, Ipv4Addr::new(127, 0, 9, 4), &answer);
                    usize::from(peer.until(&[words::GROUP_REPLY]).is_ok())
                })
            })
            .collect();
        wait_until("they wait for each other", || site.hits("group_exchanges") >= 20.0);
        site.clone_now("meanwhile");
        strangers.into_iter().map(|stranger| stranger.join().unwrap()).sum()
    });
    assert!(answered > 0, "they are answered, in their turn");
    site.calm();
}
