//! Who waits for a pack that takes long is kept alive: by git's own signs of life, also where another began the work, and by
//! SSH's where git may not work yet. No clock of ours runs against them, and nothing in between takes them for dead.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::ChannelMsg;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg};
use rustix::process::{Signal, kill_process};

use crate::faults::{site, slow_packs};
use crate::harness::{Gateway, plain_git, run, wait_until};
use crate::hostile_clients::connect;
use crate::raw::Wish;
use crate::storms::holds_a_slot;
use crate::tree::{self, gits};

/// How long nobody makes any pack. git says something every five seconds.
const STILL: Duration = Duration::from_secs(18);
/// The longest silence that is none, on a slow machine.
const SILENCE: Duration = Duration::from_secs(12);
/// The clocks of these tests, in seconds: as long as that.
const CLOCK: u64 = 13;

/// What came, and when.
struct Heard {
    at: Vec<Instant>,
    bytes: Vec<u8>,
    status: Option<u32>,
}

impl Heard {
    /// The longest silence after the question.
    fn silence(&self) -> Duration {
        self.at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }

    /// The pack, and how many signs of life came without a byte of it.
    fn pack(&self) -> (Vec<u8>, usize) {
        let (mut rest, mut pack, mut signs) = (self.bytes.as_slice(), Vec::new(), 0);
        let mut begun = false;
        while let Some((head, more)) = rest.split_at_checked(4) {
            let length = usize::from_str_radix(std::str::from_utf8(head).unwrap(), 16).unwrap();
            let (line, more) = more.split_at(length.saturating_sub(4));
            match line.split_first() {
                Some((1, [])) if begun => signs += 1,
                Some((1, bytes)) if begun => pack.extend_from_slice(bytes),
                _ => begun |= line.starts_with(b"packfile"),
            }
            rest = more;
        }
        (pack, signs)
    }
}

/// Asks for this, and for nothing more.
async fn fetch(gateway: &Gateway, key: &PrivateKey, mut request: Vec<u8>) -> Heard {
    let mut connection = connect(gateway).await;
    let login = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
    assert!(connection.authenticate_publickey("git", login).await.unwrap().success());
    let mut channel = connection.channel_open_session().await.unwrap();
    channel.set_env(false, "GIT_PROTOCOL", "version=2").await.unwrap();
    channel.exec(false, "git-upload-pack 'acme/app'").await.unwrap();
    request.extend_from_slice(b"0000");
    channel.data_bytes(request).await.unwrap();
    let mut heard = Heard { at: vec![Instant::now()], bytes: Vec::new(), status: None };
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::Data { data } = message {
            heard.at.push(Instant::now());
            heard.bytes.extend_from_slice(&data);
        } else if let ChannelMsg::ExitStatus { exit_status } = message {
            heard.status = Some(exit_status);
        }
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_waits_for_a_pack_hears_that_somebody_is_at_it() {
    let (gateway, bare, key) = site(None, |config| {
        slow_packs(config)
            .replace("negotiation_seconds = 300", &format!("negotiation_seconds = {CLOCK}"))
            .replace("fetch_idle_seconds = 600", &format!("fetch_idle_seconds = {CLOCK}"))
    });
    // Whatever the repository's own configuration says.
    run(plain_git(&bare).args(["config", "uploadpack.keepAlive", "0"])).ok();
    let (gateway, tip) = (Arc::new(gateway), run(plain_git(&bare).args(["rev-parse", "main"])).ok().trim().to_owned());
    let key = PrivateKey::from_openssh(std::fs::read(key).unwrap()).unwrap();
    let request = Wish { wants: vec![tip], haves: Vec::new(), depth: Some(1), include_tag: false }.v2();
    let ask = || {
        let (gateway, key, request) = (Arc::clone(&gateway), key.clone(), request.clone());
        tokio::spawn(async move { fetch(&gateway, &key, request).await })
    };
    let first = ask();
    let stopped = tokio::task::spawn_blocking({
        let gateway = Arc::clone(&gateway);
        move || {
            let mut packers = Vec::new();
            wait_until("a git makes a pack", || {
                packers = tree::packers(&gateway);
                !packers.is_empty()
            });
            packers.iter().for_each(|pid| kill_process(*pid, Signal::STOP).unwrap());
            packers
        }
    });
    let stopped = stopped.await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = ask();
    tokio::time::sleep(STILL).await;
    stopped.iter().for_each(|pid| kill_process(*pid, Signal::CONT).unwrap());
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    for (who, heard) in [("who asked first", &first), ("who joined", &second)] {
        let (pack, signs) = heard.pack();
        eprintln!(
            "{who}: {signs} signs of life, {:.1} s the longest silence, {} bytes of pack",
            heard.silence().as_secs_f64(),
            pack.len()
        );
        assert!(signs >= 2 && heard.silence() < SILENCE, "{who}");
        assert_eq!((heard.status, &pack[..4]), (Some(0), b"PACK".as_slice()), "{who}");
    }
    assert_eq!(first.pack().0, second.pack().0);
    let records = || {
        let audit = gateway.audit();
        ["miss", "joined"].map(|word| audit.matches(&format!(r#""cache":"{word}""#)).count())
    };
    wait_until("their records", || records().iter().sum::<usize>() == 2);
    assert_eq!(records(), [1, 1]);
}

/// A clone that has to wait for its slot, with these options; what it said.
fn waits(gateway: &Gateway, key: &Path, version: &str, options: &[&str], copy: &str) -> String {
    let line = format!("{} -v", gateway.ssh_line(key));
    let mut git = plain_git(&gateway.path(""));
    git.env("GIT_SSH_COMMAND", line).args(["-c", version, "clone"]).args(options);
    run(git.args(["--depth=1", &gateway.url("acme/app"), copy])).failed()
}

/// Nothing of a pack is open yet, so there is no place in it for a sign of life: who wants to hear something hears where it
/// stands, and what is in between sees SSH's own signs.
#[test]
fn who_waits_for_a_slot_is_not_taken_for_dead() {
    let gateway = Gateway::start_with(|config| {
        config
            .replace("slots = 0", "slots = 1")
            .replace("slot_wait_seconds = 600", "slot_wait_seconds = 18")
            // With this SSH's signs come every 15 seconds, and with the default every 31.
            .replace("login_seconds = 30", "login_seconds = 10")
            .replace("keepalive_seconds = 31", "keepalive_seconds = 15")
    });
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    std::thread::sleep(Duration::from_millis(60));
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let mut holder = holds_a_slot(&gateway, &key, tip.trim());
    wait_until("its git runs", || !gits(&gateway).is_empty());
    std::thread::scope(|scope| {
        let clients = [("0", "-q"), ("2", "-q"), ("0", "--progress"), ("2", "--progress")].map(|(version, option)| {
            let (gateway, key) = (&gateway, &key);
            let thread = scope.spawn(move || {
                let (words, copy) = (format!("protocol.version={version}"), format!("copy{version}{option}"));
                waits(gateway, key, &words, &[option], &copy)
            });
            (version, option, thread)
        });
        for (version, option, thread) in clients {
            let said = thread.join().unwrap();
            let signs = said.matches("keepalive@openssh.com").count();
            let lines = said.lines().filter(|line| line.contains("waiting for a free slot")).count();
            eprintln!("version {version} {option}: {lines} lines, {signs} signs of SSH");
            assert!(said.contains("[busy]") && signs >= 1, "{said}");
            assert!(if option == "-q" { lines == 0 } else { lines >= 2 }, "{said}");
        }
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
}
