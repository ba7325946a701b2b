//! Certificates, which nobody logs in with: the SSH library checks what an authority signed before it asks, whoever that is.
//! `PULLGATE_HOSTILE=long` does it with a hundred strangers, as docs/transport.md has it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::is_long;
use super::site::Site;
use super::wire::{End, Lies, Peer};
use super::words::{self, mpint, string};
use crate::harness::{run, wait_until};

/// One for a key of Ed25519 (PROTOCOL.certkeys), of an authority with the longest key of RSA that the library takes, which signed
/// something else.
fn certificate() -> Vec<u8> {
    let modulus = [0xf7; 1024];
    let authority = [string("ssh-rsa"), mpint(&[1, 0xff, 0xff, 0xff, 0xff]), mpint(&modulus)].concat();
    let signature = [string("rsa-sha2-512"), string([0x7f; 1024])].concat();
    let (serial, of_users, from, until) = ([0; 8], [0, 0, 0, 1], [0; 8], [0xff; 8]);
    let head = [string("ssh-ed25519-cert-v01@openssh.com"), string([7; 32]), string([9; 32])].concat();
    let nothing = || string("");
    let names = [&serial[..], &of_users, &nothing(), &nothing(), &from, &until].concat();
    [head, names, nothing(), nothing(), nothing(), string(authority), string(signature)].concat()
}

/// Offers it as often as the gateway takes an answer, all at once, and says how often that was.
fn offers(site: &Site, request: &[u8]) -> Result<usize, End> {
    let mut peer: Peer = site.dial_from(Ipv4Addr::new(127, 0, 9, 5));
    peer.hello(format!("{}\r\n", words::HELLO).as_bytes())?;
    peer.exchange(Lies::default())?;
    peer.send(&words::service("ssh-userauth"))?;
    let all: Vec<u8> = (0..40).flat_map(|_| peer.sealed(request)).collect();
    peer.raw(&all)?;
    let mut times = 0;
    while peer.until(&[words::AUTH_FAILURE]).is_ok() {
        times += 1;
    }
    Ok(times)
}

#[test]
fn certificates_are_checked_in_turns_and_clones_go_on() {
    let site = Site::start();
    let request = words::certificate("git", &certificate());
    let rsa = site.gateway.keygen("rsa", &["rsa", "-b", "4096"]);
    let public = rsa.with_extension("pub");
    site.gateway.pullgate(["key", "add", "acme", "rsa", "--key", public.to_str().unwrap(), "--grant", "acme/app"]).ok();
    let (strangers, time) = if is_long() { (100, 20) } else { (20, 2) };
    let end = Instant::now() + Duration::from_secs(time);
    let mut slowest = Duration::ZERO;
    let offered: usize = std::thread::scope(|scope| {
        let stranger = || {
            let mut offered = 0;
            while Instant::now() < end {
                offered += offers(&site, &request).unwrap_or(0);
            }
            offered
        };
        let crowd: Vec<_> = (0..strangers).map(|_| scope.spawn(stranger)).collect();
        wait_until("they wait for each other", || site.hits("group_exchanges") >= 20.0);
        while slowest.is_zero() || Instant::now() < end {
            let start = Instant::now();
            site.clone_now("meanwhile");
            slowest = slowest.max(start.elapsed());
        }
        // Whose own request is long takes turns with those of its network alone.
        let listed = run(site.gateway.git_command(&rsa).args(["ls-remote", &site.gateway.url("acme/app")]));
        assert!(listed.out.contains("refs/heads/main"), "{listed:?}");
        crowd.into_iter().map(|stranger| stranger.join().unwrap()).sum()
    });
    eprintln!("\n{offered} certificates of {strangers} strangers; the slowest clone meanwhile took {slowest:?}");
    assert!(offered >= strangers, "each is answered, in its turn");
    site.calm();
}
