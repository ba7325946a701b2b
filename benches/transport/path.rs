//! A path of 50 ms between two network namespaces on this machine. Both live as long as this process and those in them, so
//! that nothing of it is left behind, however the bench ends; and neither has a way out of the machine.
//!
//! Where the kernel has netem, a veth pair with netem at both ends is the path. Elsewhere each namespace has a TUN device, and
//! a relay here carries each packet from one to the other: it holds it for half the path's time, keeps the order, and drops
//! what its queue has no room for, as a router does.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::Runtime;
use tokio_tun::Tun;

use super::client::Fault;
use super::servers::said;

/// In each direction.
pub(crate) const DELAY: Duration = Duration::from_millis(25);
/// Large, so that the path costs the two cores of a small machine little: it is they that are compared across it.
const MTU: usize = 9000;
/// How often the relay looks, in place of being woken for each packet: one is held for longer by as much twice, at most.
const TICK: Duration = Duration::from_micros(200);
/// What may be on its way in one direction: room for 320 MB/s.
const ROOM: usize = 8 << 20;
/// netem counts packets, not bytes; its own limit of 1,000 would be the narrowest place of the path.
const PACKETS: &str = "10000";
/// A packet that left so much later than it should have: the relay was kept from the processor.
const LATE: Duration = Duration::from_millis(2);
/// Of the block that is set aside for such benches (RFC 2544); only these namespaces know them.
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const DEVICE: &str = "far0";
const CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// A network namespace of its own.
pub(crate) struct Place(File);

impl Place {
    fn new() -> Result<Self, Fault> {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| format!("a network namespace: {e}"))?;
            let own = File::open("/proc/thread-self/ns/net").map_err(|e| format!("a network namespace: {e}"))?;
            said(Command::new("ip").args(["link", "set", "lo", "up"]))?;
            // Else the kernel remembers for a connection what the one before it, to another server, has met.
            fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")
                .map_err(|e| format!("tcp_no_metrics_save: {e}"))?;
            Ok(Self(own))
        });
        made.join().expect("a thread that does not panic")
    }

    /// Runs something here, on a thread of its own; what it starts lives here too.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("a namespace that this process made");
                work()
            });
            thread.join().expect("work that does not panic")
        })
    }

    /// How TCP decides here how much it sends.
    pub(crate) fn control(&self) -> Result<String, Fault> {
        let read = self.within(|| fs::read_to_string(CONTROL));
        read.map(|name| name.trim().to_owned()).map_err(|e| format!("{CONTROL}: {e}"))
    }

    /// Has it decided otherwise.
    pub(crate) fn set_control(&self, name: &str) -> Result<(), Fault> {
        // The kernel gives a namespace only what the machine allows to anybody.
        let hint = "sysctl net.ipv4.tcp_allowed_congestion_control lists what may be taken";
        self.within(|| fs::write(CONTROL, name)).map_err(|e| format!("congestion control {name}: {e}; {hint}"))
    }

    /// What the device here has dropped in both directions.
    fn dropped(&self) -> u64 {
        let text = self.within(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default());
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(DEVICE)?.strip_prefix(':'));
        let fields: Vec<u64> =
            line.unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // Behind bytes, packets and errors: received, and eight fields on sent (net/core/net-procfs.c).
        fields.get(3).zip(fields.get(11)).map_or(0, |(received, sent)| received + sent)
    }

    /// What netem here has dropped.
    fn queue_dropped(&self) -> u64 {
        let shown = self.within(|| said(Command::new("tc").args(["-s", "qdisc", "show", "dev", DEVICE])));
        let shown = shown.unwrap_or_default();
        let words = shown.split_once("dropped ").map(|(_, behind)| behind);
        words.and_then(|text| text.split([',', ' ']).next()?.parse().ok()).unwrap_or(0)
    }
}

/// Two places and what is between them.
pub(crate) struct Link {
    pub(crate) server: Place,
    pub(crate) client: Place,
    relay: Option<Relay>,
    how: String,
}

impl Link {
    pub(crate) fn new() -> Result<Self, Fault> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs network namespaces, which only root may make".to_owned());
        }
        let (server, client) = (Place::new()?, Place::new()?);
        match netem(&server, &client) {
            Ok(()) => Ok(Self { server, client, relay: None, how: format!("netem, MTU {MTU}") }),
            Err(why) => {
                // Taken away with its other end.
                server.within(|| said(Command::new("ip").args(["link", "delete", DEVICE]))).ok();
                let relay = Some(Relay::new(&server, &client)?);
                let how = format!(
                    "two TUN devices, MTU {MTU}, and a relay of the bench's own that holds at most {} MiB in each direction; \
                     no netem here: {}",
                    ROOM >> 20,
                    why.rsplit(": ").next().unwrap_or_default().trim_end_matches('.')
                );
                Ok(Self { server, client, relay, how })
            }
        }
    }

    /// What the path is made of, for the reader.
    pub(crate) fn how(&self) -> &str {
        &self.how
    }

    /// What the path carried and lost until now, for the reader.
    pub(crate) fn losses(&self) -> String {
        let devices = self.server.dropped() + self.client.dropped();
        match &self.relay {
            None => {
                let queues = self.server.queue_dropped() + self.client.queue_dropped();
                format!("netem dropped {queues} packets, the devices {devices}")
            }
            Some(relay) => {
                let sum = |of: fn(&Way) -> &AtomicU64| {
                    relay.ways.iter().map(|way| of(way).load(Ordering::Relaxed)).sum::<u64>()
                };
                format!(
                    "The relay carried {} packets, dropped {}, and let {} go more than {} ms late; the devices dropped {devices}",
                    sum(|way| &way.carried),
                    sum(|way| &way.dropped),
                    sum(|way| &way.late),
                    LATE.as_millis()
                )
            }
        }
    }
}

/// A veth pair, with netem at both ends.
fn netem(server: &Place, client: &Place) -> Result<(), Fault> {
    let delay = format!("{}ms", DELAY.as_millis());
    let run = |program: &str, words: &[&str]| said(Command::new(program).args(words)).map(drop);
    let dress = |own: Ipv4Addr| {
        run("ip", &["address", "add", &format!("{own}/30"), "dev", DEVICE])?;
        run("ip", &["link", "set", DEVICE, "mtu", &MTU.to_string(), "up"])?;
        run("tc", &["qdisc", "add", "dev", DEVICE, "root", "netem", "delay", &delay, "limit", PACKETS])
    };
    let (peer, other) = (rustix::process::getpid(), std::os::fd::AsRawFd::as_raw_fd(&client.0));
    let other = format!("/proc/{}/fd/{other}", peer.as_raw_nonzero());
    server.within(|| {
        run("ip", &["link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", &other])?;
        dress(NEAR)
    })?;
    client.within(|| dress(FAR))
}

/// One direction.
#[derive(Default)]
struct Way {
    carried: AtomicU64,
    dropped: AtomicU64,
    late: AtomicU64,
}

impl Way {
    /// Takes packets from a device as they come, and gives each to the other one when it is due.
    fn carry(&self, from: &Tun, to: &Tun, end: &AtomicBool) {
        // A path does not grow longer because servers are busy: this thread goes before all others. Zero is the calling thread
        // (setpriority(2), of Linux). If it may not, late packets are counted.
        rustix::process::setpriority_process(None, -20).ok();
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let (mut queue, mut held, mut packet) = (VecDeque::<(Instant, Vec<u8>)>::new(), 0, vec![0; MTU]);
        while !end.load(Ordering::Relaxed) {
            while let Ok(length) = from.try_recv(&mut packet) {
                if held + length > ROOM {
                    add(&self.dropped);
                } else {
                    held += length;
                    queue.push_back((Instant::now() + DELAY, packet[..length].to_vec()));
                }
            }
            let now = Instant::now();
            while let Some((due, packet)) = queue.pop_front_if(|(due, _)| *due <= now) {
                if now - due > LATE {
                    add(&self.late);
                }
                add(if to.try_send(&packet).is_ok() { &self.carried } else { &self.dropped });
                held -= packet.len();
            }
            std::thread::sleep(TICK);
        }
    }
}

/// Carries packets for as long as it lives. Its devices go when it does.
struct Relay {
    ways: [Arc<Way>; 2],
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// The devices want one; nothing here waits for it.
    _runtime: Runtime,
}

impl Relay {
    fn new(server: &Place, client: &Place) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|e| e.to_string())?;
        let device = |place: &Place, own: Ipv4Addr, other: Ipv4Addr| {
            let made = place.within(|| {
                let _entered = runtime.enter();
                let tun = Tun::builder().name(DEVICE).mtu(MTU as i32).address(own).destination(other).up();
                tun.build().map_err(|e| e.to_string())
            });
            let made = made.and_then(|mut queues| queues.pop().ok_or_else(|| "none".to_owned()));
            made.map(Arc::new).map_err(|e| format!("a TUN device: {e}"))
        };
        let (near, far) = (device(server, NEAR, FAR)?, device(client, FAR, NEAR)?);
        let (ways, end) = ([Arc::<Way>::default(), Arc::<Way>::default()], Arc::<AtomicBool>::default());
        let ends = [(Arc::clone(&near), Arc::clone(&far)), (far, near)];
        let threads = ways.iter().zip(ends).map(|(way, (from, to))| {
            let (way, end) = (Arc::clone(way), Arc::clone(&end));
            std::thread::spawn(move || way.carry(&from, &to, &end))
        });
        let threads = threads.collect();
        Ok(Self { ways, end, threads, _runtime: runtime })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}
