//! Logins that do not get on, at every stage of one: each ends by its clock, costs little, and keeps nobody else out.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::client::{self, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg};
use russh::{SendError, Signer};

use crate::harness::{Gateway, Said, plain_git, run, wait_until};
use crate::hostile_clients::{Trusting, connect, key};

/// The login clock of these tests, in seconds; without it these connections would last for the 30 seconds of the default.
const LOGIN: u64 = 6;
/// When the last of them has to be gone, also on a slow machine.
const LATEST: Duration = Duration::from_secs(25);

/// Somebody who is asked to sign and does not.
struct Never {
    asked: bool,
}

impl Signer for Never {
    type Error = SendError;

    async fn auth_sign(&mut self, _: &AgentIdentity, _: Option<HashAlg>, _: Vec<u8>) -> Result<Vec<u8>, Self::Error> {
        self.asked = true;
        std::future::pending().await
    }
}

/// How long it took until the gateway ended a connection on which these words were said, and then a byte now and then.
fn ended(gateway: &Gateway, words: &[u8], drip: Option<u8>) -> Duration {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
    let start = Instant::now();
    stream.write_all(words).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 4096];
    while start.elapsed() < LATEST {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        if drip.is_some_and(|byte| stream.write_all(&[byte]).is_err()) {
            break;
        }
    }
    start.elapsed()
}

/// The same of one that has exchanged keys.
async fn closed(handle: &Handle<Trusting>, start: Instant) -> Duration {
    while !handle.is_closed() && start.elapsed() < LATEST {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_stalls_at_any_stage_ends_by_its_clock() {
    let gateway = Gateway::start_with(|config| {
        assert!(config.contains("login_seconds = 30"), "{config}");
        config.replace("login_seconds = 30", &format!("login_seconds = {LOGIN}"))
    });
    let (known, stray) = (key(&gateway, "known"), key(&gateway, "stray"));
    gateway.pullgate(["key", "remove", "acme/stray"]).ok();
    // Who is inside is not meant by that clock.
    let mut inside = connect(&gateway).await;
    let login = PrivateKeyWithHashAlg::new(known.clone().into(), None);
    assert!(inside.authenticate_publickey("git", login).await.unwrap().success());

    let raw = std::thread::scope(|scope| {
        let hello = b"SSH-2.0-raw\r\n".as_slice();
        // The head of a packet of 256 bytes, of which the rest never comes, or comes byte by byte.
        let half = [hello, &[0, 0, 1, 0, 10, 20]].concat();
        let cases = [("hello", hello.to_vec(), None), ("half a packet", half.clone(), None), ("drips", half, Some(0))];
        let threads = cases.map(|(what, words, drip)| {
            let gateway = &gateway;
            (what, scope.spawn(move || ended(gateway, &words, drip)))
        });
        threads.map(|(what, thread)| (what, thread.join().unwrap()))
    });
    let mut took = raw.to_vec();
    let start = Instant::now();
    let (silent, mut tries) = (connect(&gateway).await, connect(&gateway).await);
    let offer = async {
        // The library waits for the signature and for nothing else: the end is seen beside it.
        let socket = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
        socket.set_nonblocking(true).unwrap();
        let seen = tokio::net::TcpStream::from_std(socket.try_clone().unwrap()).unwrap();
        let socket = tokio::net::TcpStream::from_std(socket).unwrap();
        let mut handle = client::connect_stream(Arc::default(), socket, Trusting).await.unwrap();
        let mut never = Never { asked: false };
        let over = async {
            while !matches!(seen.peek(&mut [0]).await, Ok(0) | Err(_)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            _ = handle.authenticate_publickey_with("git", known.public_key().clone(), None, &mut never) => {}
            _ = tokio::time::timeout(LATEST, over) => {}
        }
        assert!(never.asked);
        start.elapsed()
    };
    // Each a new beginning, and all of them under the same clock.
    let again = async {
        while !tries.is_closed() && start.elapsed() < LATEST {
            let login = PrivateKeyWithHashAlg::new(stray.clone().into(), None);
            tries.authenticate_publickey("git", login).await.ok();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        start.elapsed()
    };
    let (silent, offer, again) = tokio::join!(closed(&silent, start), offer, again);
    took.extend([("keys exchanged", silent), ("offers and does not sign", offer), ("tries another key", again)]);
    // Not at once either: it was the clock, and no complaint of what they said.
    let by_clock = |took: &Duration| *took >= Duration::from_secs(LOGIN - 1) && *took < LATEST;
    assert!(took.iter().all(|(_, took)| by_clock(took)), "{took:?}");
    assert!(!inside.is_closed());
    inside.channel_open_session().await.unwrap();
}

fn count_of(path: &str) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// A real clone by somebody of another network.
fn clone(gateway: &Gateway, key: &Path, name: &str) -> Said {
    let line = format!("{} -b 127.0.0.2", gateway.ssh_line(key));
    run(plain_git(&gateway.path("")).env("GIT_SSH_COMMAND", line).args(["clone", "-q", &gateway.url("acme/app"), name]))
}

/// `PULLGATE_IDLE=5000` does this with so many. Half of them say what they are and hear our half of the key exchange.
#[test]
fn connections_that_stall_cost_little_and_clones_go_on_beside_them() {
    let gateway = Gateway::start_with(|config| {
        assert!(config.contains("banner_seconds = 10") && config.contains("login_seconds = 30"), "{config}");
        config
            .replace("banner_seconds = 10", "banner_seconds = 600")
            .replace("login_seconds = 30", "login_seconds = 600")
    });
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    clone(&gateway, &key, "before").ok();
    let count: usize = std::env::var("PULLGATE_IDLE").map_or(300, |count| count.parse().unwrap());
    // What one network may have of the places.
    let held = count.min(600);
    let descriptors = format!("/proc/{}/fd", gateway.pid());
    let (before, open) = (memory(&gateway), count_of(&descriptors));
    let mut more = Vec::new();
    for wave in 0..3 {
        let stalled: Vec<_> = (0..count)
            .map(|n| {
                let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
                if n % 2 == 0 {
                    // One that is turned away may be closed already.
                    stream.write_all(b"SSH-2.0-raw\r\n").ok();
                }
                stream
            })
            .collect();
        wait_until("all places are taken that may be", || count_of(&descriptors) >= open + held);
        clone(&gateway, &key, &format!("beside{wave}")).ok();
        assert!(count_of(&descriptors) >= open + held, "they were there all the time");
        more.push(memory(&gateway).saturating_sub(before));
        // Those who are turned away are not kept, and the clone may have left a worker.
        wait_until("nobody else is kept", || count_of(&descriptors) <= open + held + 20);
        drop(stalled);
        wait_until("they are forgotten", || count_of(&descriptors) <= open + 20);
    }
    eprintln!("{count} connections that stall: {more:?} KiB more");
    // In KiB, with room for what the clones themselves leave behind; and the third time no more than the first.
    assert!(more.iter().all(|more| *more < u64::try_from(held * 64).unwrap() + (16 << 10)), "{more:?}");
    assert!(more[2] < more[0] + (16 << 10), "{more:?}");
}

/// Who types a passphrase, or touches a token, takes his time: within the login clock nothing of ours may disturb that.
#[test]
fn a_person_who_signs_late_gets_in() {
    let gateway = Gateway::start();
    let key = gateway.key("person", &[]);
    run(Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "secret", "-f"]).arg(&key)).ok();
    let types = gateway.path("types");
    std::fs::write(&types, "#!/bin/sh\nsleep 18\necho secret\n").unwrap();
    std::fs::set_permissions(&types, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let line = gateway.ssh_line(&key);
    let mut ssh = Command::new("ssh");
    ssh.args(line.split(' ').skip(1)).args(["-T", "-p", &gateway.port().to_string(), "git@localhost"]);
    let said = run(ssh.env("SSH_ASKPASS", types).env("SSH_ASKPASS_REQUIRE", "force"));
    assert!(said.err.contains("Hello acme/person"), "{said:?}");
}
