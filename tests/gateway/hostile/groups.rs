//! Key exchanges in large groups: a gateway computes for 80 ms where a stranger who never meant to log in computes nothing.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::site::Site;
use super::wire::{End, Peer};
use super::words;
use crate::harness::{run, wait_until};

const METHOD: &str = "diffie-hellman-group-exchange-sha256";

/// A gateway that computes so many at a time, half of them for each network, and waits so many seconds for a client's part of it.
fn site(exchanges: u64, seconds: u64) -> Site {
    Site::start_with(|config| {
        let numbers =
            [("group_exchanges = 0", exchanges), ("group_exchange_seconds = 5", seconds), ("login_seconds = 3", 20)];
        numbers.iter().fold(config, |config, (line, number)| {
            assert!(config.contains(line), "{config}");
            let key = line.split(' ').next().unwrap();
            config.replace(line, &format!("{key} = {number}"))
        })
    })
}

/// Says everything at once up to the request of a group (RFC 4419 §3), and then nothing.
fn asks(site: &Site, from: Ipv4Addr) -> Peer {
    let mut peer = site.dial_from(from);
    let hello = format!("{}\r\n", words::HELLO).into_bytes();
    let exchange = peer.sealed(&words::kexinit_of(METHOD, "ssh-ed25519"));
    let group = peer.sealed(&words::group_request(2048, 3072, 8192));
    peer.hello(&[hello, exchange, group].concat()).unwrap();
    peer.until(&[words::KEXINIT]).unwrap();
    peer
}

/// Whether it is given a group before long.
fn given(peer: &mut Peer) -> bool {
    peer.waits(Duration::from_millis(200));
    let answer = peer.until(&[words::GROUP]);
    assert!(matches!(answer, Ok(_) | Err(End::Silent)), "{answer:?}");
    answer.is_ok()
}

/// Real ssh, which has nothing else to offer.
fn ssh(site: &Site) -> Command {
    let gateway = &site.gateway;
    let line = gateway.ssh_line(&gateway.path("ci"));
    let mut ssh = Command::new("ssh");
    ssh.args(line.split(' ').skip(1)).args(["-p", &gateway.port().to_string(), "-o"]);
    ssh.args([&format!("KexAlgorithms={METHOD}"), "git@localhost", "git-upload-pack 'acme/app'"]);
    ssh
}

#[test]
fn strangers_take_turns_at_large_groups() {
    let site = site(2, 4);
    let [first, second, third] = [1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 9, last));
    let mut crowd: Vec<Peer> = (0..6).map(|_| asks(&site, first)).collect();
    assert_eq!(crowd.iter_mut().map(given).filter(|given| *given).count(), 1, "one of a network");
    crowd.push(asks(&site, second));
    assert!(given(crowd.last_mut().unwrap()), "another network has its own");
    let mut late = asks(&site, third);
    assert!(!given(&mut late), "two in all");
    assert!(site.hits("group_exchanges") >= 6.0);
    // Those who have a group and do nothing are ended, and others get theirs.
    late.waits(Duration::from_secs(15));
    late.until(&[words::GROUP]).unwrap();
    wait_until("it is counted", || site.hits("group_exchange_seconds") >= 2.0);
    // Who leaves gives back what they had, and their place among those who wait.
    drop((crowd, late));
    assert!(run(&mut ssh(&site)).out.contains("refs/heads/main"));
    site.clone_now("after");
}

/// The clock of an exchange that is done would else be waited for by everybody behind it.
#[test]
fn a_turn_ends_with_the_exchange() {
    let site = site(1, 600);
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
    assert_eq!(site.hits("group_exchange_seconds"), 0.0);
}

/// As many as they like, each with its answer to a group that everybody knows: no computing of their own, and all of it in one piece.
#[test]
fn a_flood_of_large_groups_leaves_room_for_a_clone() {
    let site = site(2, 5);
    let answered: usize = std::thread::scope(|scope| {
        let strangers: Vec<_> = (0..40)
            .map(|_| {
                scope.spawn(|| {
                    let mut peer = asks(&site, Ipv4Addr::new(127, 0, 9, 4));
                    peer.send(&words::group_init(&[0x7f; 383])).ok();
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
