//! The gateway that is lied to, the people who clone from it meanwhile, and what it costs itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use russh::keys::PrivateKey;

use super::wire::{End, Lies, Peer};
use super::words;
use crate::harness::{Gateway, PATIENCE, plain_git, run, wait_until};
use crate::leaks::{descriptors, memory};
use crate::tree::{gits, waits_for, workers};
use crate::watcher::{Numbers, watched};

/// The clocks of this gateway, in seconds: short, so that those who wait for them take no minutes.
pub(crate) const BANNER: u64 = 2;
pub(crate) const LOGIN: u64 = 3;

pub(crate) struct Site {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) metrics: SocketAddr,
    /// Registered and granted; registered; and not registered.
    pub(crate) ci: PrivateKey,
    pub(crate) other: PrivateKey,
    pub(crate) stranger: PrivateKey,
    honest: PathBuf,
    before: Vitals,
    next: AtomicU8,
}

/// What a gateway costs at one moment.
#[derive(Debug, Clone, Copy)]
struct Vitals {
    kib: u64,
    descriptors: usize,
    workers: usize,
}

pub(crate) fn load(path: &std::path::Path) -> PrivateKey {
    PrivateKey::from_openssh(std::fs::read(path).unwrap()).unwrap()
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::start_with(|config| config)
    }

    pub(crate) fn start_with(edit: impl FnOnce(String) -> String) -> Self {
        let (gateway, metrics) = watched(|config| {
            let clocks = [("banner_seconds = 10", BANNER), ("login_seconds = 30", LOGIN)];
            edit(clocks.iter().fold(config, |config, (line, seconds)| {
                assert!(config.contains(line), "{config}");
                config.replace(line, &format!("{} = {seconds}", line.split(' ').next().unwrap()))
            }))
        });
        gateway.repo("acme/app");
        let honest = gateway.key("honest", &["acme/app"]);
        let ci = load(&gateway.key("ci", &["acme/app"]));
        let other = load(&gateway.key("other", &[]));
        let stranger = load(&gateway.keygen("stranger", &["ed25519"]));
        let gateway = Arc::new(gateway);
        // What is made at the first need is there before anything is measured.
        (0..3).for_each(|n| clone(&gateway, &honest, &format!("warm{n}")));
        let before = Vitals::of(&gateway);
        Self { gateway, metrics, ci, other, stranger, honest, before, next: AtomicU8::new(1) }
    }

    /// Somebody who just connected, from one of the addresses of those who lie.
    pub(crate) fn dial(&self) -> Peer {
        let last = self.next.fetch_add(1, Ordering::Relaxed);
        self.dial_from(Ipv4Addr::new(127, 0, 1, last))
    }

    pub(crate) fn dial_from(&self, from: Ipv4Addr) -> Peer {
        Peer::dial(from, self.gateway.port())
    }

    /// Likewise, with both identification strings said.
    pub(crate) fn greeted(&self) -> Peer {
        let mut peer = self.dial();
        peer.hello(format!("{}\r\n", words::HELLO).as_bytes()).unwrap();
        peer
    }

    /// Likewise, with keys exchanged.
    pub(crate) fn keyed(&self) -> Peer {
        let mut peer = self.greeted();
        peer.exchange(Lies::default()).unwrap();
        peer
    }

    /// Likewise, where a login may begin.
    pub(crate) fn served(&self) -> Peer {
        let mut peer = self.keyed();
        peer.serve();
        peer
    }

    /// Likewise, logged in.
    pub(crate) fn inside(&self) -> Peer {
        let mut peer = self.served();
        assert!(peer.login(&self.ci));
        peer
    }

    /// The tip of the repository.
    pub(crate) fn tip(&self) -> String {
        self.gateway.refs(&self.gateway.path("repositories/acme/app.git"))[..40].to_owned()
    }

    /// How often a bound or a clock was met.
    pub(crate) fn hits(&self, limit: &str) -> f64 {
        Numbers::of(self.metrics).get(&format!("pullgate_ssh_limit_hits_total{{limit=\"{limit}\"}}"))
    }

    /// Runs this, and returns what was written to the audit meanwhile.
    pub(crate) fn audited(&self, what: impl FnOnce()) -> String {
        let before = self.gateway.audit().len();
        what();
        self.gateway.audit()[before..].to_owned()
    }

    /// Does this, and waits until the audit has a record with all of these words.
    pub(crate) fn recorded(&self, words: &[&str], what: impl FnOnce()) {
        let before = self.gateway.audit().len();
        what();
        wait_until("a record", || {
            let audit = self.gateway.audit();
            audit[before..].lines().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }

    /// Clones all the time, until it is told to end.
    pub(crate) fn clones_meanwhile(&self) -> Honest {
        let (stop, gateway, key) = (Arc::new(AtomicBool::new(false)), Arc::clone(&self.gateway), self.honest.clone());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            while !stopped.load(Ordering::Relaxed) || took.is_empty() {
                let start = Instant::now();
                clone(&gateway, &key, &format!("meanwhile{}", took.len()));
                took.push(start.elapsed());
                std::thread::sleep(Duration::from_millis(100));
            }
            took
        });
        Honest { stop, thread: Some(thread) }
    }

    /// One clone by somebody honest.
    pub(crate) fn clone_now(&self, name: &str) {
        clone(&self.gateway, &self.honest, name);
    }

    /// Everybody is gone: a clone works, and the gateway is what it was at the start. Memory may be more by the answers that are
    /// kept for the clones, and by what the allocator gives back later; workers may be as many as gits may run at once, with
    /// their descriptors.
    pub(crate) fn calm(&self) {
        self.clone_now("after");
        let start = Instant::now();
        loop {
            let open = Numbers::of(self.metrics).get("pullgate_ssh_connections_open");
            let gits = gits(&self.gateway);
            if open == 0.0 && gits.is_empty() {
                break;
            }
            let waits = || gits.iter().map(|id| waits_for(*id)).collect::<Vec<_>>();
            assert!(
                start.elapsed() < PATIENCE,
                "after {PATIENCE:?} there are {open} connections, and gits: {:?}",
                waits()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut after = Vitals::of(&self.gateway);
        let patience = Instant::now() + GIVEN_BACK;
        while after.kib >= self.before.kib + MORE_KIB && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(200));
            after = Vitals::of(&self.gateway);
        }
        let before = self.before;
        eprintln!("\nthe daemon at the start: {before:?}\nand at the end:          {after:?}");
        assert!(after.kib < before.kib + MORE_KIB, "{before:?} {after:?}");
        assert!(after.workers <= before.workers + 4, "{before:?} {after:?}");
        assert!(after.descriptors <= before.descriptors + 10, "{before:?} {after:?}");
    }

    /// What the daemon has used of the processor, without its children (proc(5): in hundredths of a second).
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.gateway.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        Duration::from_millis((fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10)
    }

    /// Memory of the daemon that is its own, in KiB more than at the start.
    pub(crate) fn more_kib(&self) -> u64 {
        memory(&self.gateway).saturating_sub(self.before.kib)
    }
}

/// What may be left of the busiest moment, in KiB; the forty stalled channels alone held 57 MiB.
const MORE_KIB: u64 = 16 << 10;
/// How long the allocator may take to give memory back.
const GIVEN_BACK: Duration = Duration::from_secs(10);

impl Vitals {
    fn of(gateway: &Gateway) -> Self {
        Self { kib: memory(gateway), descriptors: descriptors(gateway), workers: workers(gateway) }
    }
}

fn clone(gateway: &Gateway, key: &std::path::Path, name: &str) {
    let mut git = plain_git(&gateway.path(""));
    git.env("GIT_SSH_COMMAND", gateway.ssh_line(key)).args(["clone", "-q", &gateway.url("acme/app"), name]);
    run(&mut git).ok();
    assert!(gateway.path(name).join("file3").exists());
    std::fs::remove_dir_all(gateway.path(name)).unwrap();
}

/// Somebody who clones all the time.
pub(crate) struct Honest {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Duration>>>,
}

impl Honest {
    /// Waits for the last clone; all of them were good.
    pub(crate) fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let took = self.thread.take().unwrap().join().expect("a clone failed meanwhile");
        eprintln!("\n{} clones meanwhile, all good; the slowest took {:?}", took.len(), took.iter().max().unwrap());
    }
}

impl Drop for Honest {
    /// Whatever became of the test: as long as somebody clones, the gateway is kept.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Peer {
    /// Asks for the service of logins.
    pub(crate) fn serve(&mut self) {
        self.send(&words::service("ssh-userauth")).unwrap();
        self.until(&[words::SERVICE_ACCEPT]).unwrap();
    }

    /// Logs in with this key, or does not.
    pub(crate) fn login(&mut self, key: &PrivateKey) -> bool {
        let request = words::signed("git", &self.session, key, key);
        self.send(&request).is_ok() && self.is_in() == Ok(true)
    }

    /// What becomes of a request to log in.
    pub(crate) fn is_in(&mut self) -> Result<bool, End> {
        Ok(self.until(&[words::AUTH_SUCCESS, words::AUTH_FAILURE])?[0] == words::AUTH_SUCCESS)
    }

    /// Opens a session and says what number the gateway has for it; `None` when it refuses.
    pub(crate) fn open(&mut self, window: u32) -> Result<Option<u32>, End> {
        self.send(&words::open(0, "session", window, 1 << 15))?;
        let answer = self.until(&[words::CHANNEL_CONFIRMATION, words::CHANNEL_OPEN_FAILURE])?;
        let number = u32::from_be_bytes(answer[5..9].try_into().unwrap());
        Ok((answer[0] == words::CHANNEL_CONFIRMATION).then_some(number))
    }

    /// Whether a request on a channel was granted.
    pub(crate) fn granted(&mut self) -> Result<bool, End> {
        Ok(self.until(&[words::CHANNEL_SUCCESS, words::CHANNEL_FAILURE])?[0] == words::CHANNEL_SUCCESS)
    }

    /// Who the gateway takes this connection for, from its greeting.
    pub(crate) fn name(&mut self) -> String {
        let channel = self.open(1 << 20).unwrap().unwrap();
        self.send(&words::request(channel, "shell", true, &[])).unwrap();
        assert!(self.granted().unwrap());
        // Extended data (RFC 4254 §5.2).
        let said = self.until(&[95]).unwrap();
        let text = String::from_utf8(words::take(&said[9..]).0.to_vec()).unwrap();
        text.split("Hello acme/").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    }
}
