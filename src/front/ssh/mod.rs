//! The SSH door: RFC 4251 to 4254 as far as a fetch needs them, and nothing else of them.

mod ahead;
mod algorithms;
mod answer;
mod channel;
mod connection;
mod exchange;
pub mod exec_line;
mod greeting;
mod guesses;
mod handler;
pub mod host_keys;
mod line;
pub mod listener;
mod meter;
mod places;
mod prompt;
pub mod proxy;
mod quiet;
mod shares;
mod stay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use russh::keys::{Algorithm, PrivateKey};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::gate::Gate;
use crate::git::Git;
use crate::git::inbound::{Budget, Pool};
use guesses::Guesses;
pub use meter::Meter;
use places::Places;
use quiet::Quiet;
use shares::Shares;

/// The bounds and clocks of the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a peer may take to send its identification string.
    pub banner: Duration,
    /// How long a peer may take from its first byte until it is let in.
    pub login: Duration,
    /// How long a connection may be silent, its answers to our keepalives included.
    pub idle: Duration,
    /// Connections that are not logged in yet, in all.
    pub startups: usize,
    /// The same, from one IPv4 address or one /64 of IPv6.
    pub startups_per_network: usize,
    /// Exchanges of keys in large groups, and long requests to log in, that are computed at a time; half as many, and one of each kind at
    /// least, for one network. 0: one less than there are cores, and one at least.
    pub group_exchanges: usize,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one key at the same time. 0: any number.
    pub connections_per_key: usize,
    /// Channels of one connection at the same time.
    pub channels: usize,
    /// Keys that a peer may offer on one connection.
    pub key_probes: usize,
    /// Keys that are not registered which one network may offer at once; then it may offer one a second. 0: any number.
    pub guesses: usize,
    /// What a client may send on one channel.
    pub inbound: Budget,
    /// What all clients together may have sent that nobody has read, in bytes, and one key as much as is left for the others.
    pub unread: usize,
    /// After how many bytes, sent or received, and after how long keys are exchanged again.
    pub rekey: Rekey,
    /// How long a client may be silent until it is asked whether it is there, and again; a second longer than `login` at least.
    pub keepalive: Duration,
    /// How long before its end a key is warned of it, in every build log. Zero: never.
    pub expiry_warning: Duration,
}

/// When keys are exchanged again (RFC 4253 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rekey {
    /// Bytes in one direction.
    pub bytes: usize,
    /// Or so long after the last exchange.
    pub after: Duration,
}

impl Default for Rekey {
    fn default() -> Self {
        // As RFC 4253 §9 advises: a gigabyte or an hour.
        Self { bytes: 1 << 30, after: Duration::from_secs(3600) }
    }
}

impl Settings {
    fn same_places(&self, other: &Self) -> bool {
        let of = |settings: &Self| {
            (settings.startups, settings.startups_per_network, settings.connections, settings.group_exchanges)
        };
        of(self) == of(other)
    }

    /// Exchanges in large groups at a time, as a number.
    fn exchanges(&self) -> usize {
        match self.group_exchanges {
            // The runtime has a thread for each core. One of them has to be free, and then looks who else has said something.
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1).max(1),
            exchanges => exchanges,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            banner: Duration::from_secs(10),
            login: Duration::from_secs(30),
            idle: Duration::from_secs(600),
            // Five hundred agents behind one address may start at once; each that is not logged in yet costs some 30 KiB.
            startups: 1000,
            startups_per_network: 600,
            // All of the runtime's threads but one at the worst, and half as many for one network.
            group_exchanges: 0,
            connections: 4096,
            // A thousand agents may share a key and come twice; the other half of the places is for other keys.
            connections_per_key: 2048,
            // Clients that share a connection open one channel for each fetch; OpenSSH's own server allows ten.
            channels: 10,
            // An agent may hold many keys, and the right one may be the last.
            key_probes: 32,
            // Fifty agents with a dozen keys each may start at once in a place from which nobody was seen yet; ten thousand guesses
            // take two hours and a half.
            guesses: 600,
            inbound: Budget::default(),
            unread: Pool::DEFAULT,
            rekey: Rekey::default(),
            // Not before the login clock has run out. Four that are not answered end the connection: two minutes, in which a network
            // comes back and after which a dead agent does not hold its place any more.
            keepalive: Duration::from_secs(31),
            expiry_warning: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

/// What every connection shares.
#[derive(Debug, Clone)]
pub struct Door {
    gate: Gate,
    git: Git,
    settings: Settings,
    public_address: String,
    config: Arc<russh::server::Config>,
    /// The answers that run, so that a daemon that stops can wait for their records.
    answers: TaskTracker,
    /// Those who are on their way to a decision: connections from their start until it is decided what their first command
    /// comes to, and later commands. Who is not among them needs no registry any more, or has to come again.
    undecided: TaskTracker,
    /// Who may say in front of a connection whose it is.
    balancers: Vec<IpNet>,
    places: Arc<Places>,
    shares: Shares,
    guesses: Guesses,
    /// For those who have nothing in common with us.
    odd: Arc<Quiet>,
    meter: Meter,
}

impl Door {
    /// A door with these host keys, in front of this gate. `public_address` (`host:port`) is what hints print.
    #[must_use]
    pub fn new(gate: Gate, git: Git, host_keys: Vec<PrivateKey>, settings: Settings, public_address: String) -> Self {
        let config = Arc::new(algorithms::config(host_keys, &settings));
        Self {
            gate,
            git,
            settings,
            public_address,
            config,
            answers: TaskTracker::new(),
            undecided: TaskTracker::new(),
            balancers: Vec::new(),
            places: Arc::new(Places::new(&settings)),
            shares: Shares::new(settings.connections_per_key, settings.unread),
            guesses: Guesses::new(settings.guesses),
            odd: Arc::default(),
            meter: Meter::default(),
        }
    }

    /// The same door with other keys and settings, for those who come from now on; those who are inside keep what they came
    /// in by. Where the number of places changes, the new ones are all free at first.
    #[must_use]
    pub fn again(&self, host_keys: Vec<PrivateKey>, settings: Settings, public_address: String) -> Self {
        let config = Arc::new(algorithms::config(host_keys, &settings));
        let places = match self.settings.same_places(&settings) {
            true => Arc::clone(&self.places),
            false => Arc::new(Places::new(&settings)),
        };
        let shares = self.shares.again(settings.connections_per_key, settings.unread);
        let guesses = self.guesses.again(settings.guesses);
        Self { settings, public_address, config, places, shares, guesses, ..self.clone() }
    }

    /// The same door in front of another gate, for those who come from now on.
    #[must_use]
    pub fn behind(&self, gate: Gate) -> Self {
        Self { gate, ..self.clone() }
    }

    /// Believes a PROXY header from these networks, and demands one from them.
    #[must_use]
    pub fn with_balancers(mut self, balancers: Vec<IpNet>) -> Self {
        self.balancers = balancers;
        self
    }

    /// Counts no unknown keys of these networks.
    #[must_use]
    pub fn with_exempt(mut self, networks: Vec<IpNet>) -> Self {
        self.guesses.exempt(networks);
        self
    }

    /// The kinds of key that it shows itself with.
    #[must_use]
    pub fn host_keys(&self) -> Vec<Algorithm> {
        self.config.keys.iter().map(PrivateKey::algorithm).collect()
    }

    /// What is counted at the door.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Whose a connection is that comes from `peer`.
    async fn client(&self, socket: &mut TcpStream, peer: SocketAddr) -> Result<SocketAddr, proxy::ProxyError> {
        let from = peer.ip().to_canonical();
        match self.balancers.iter().any(|network| network.contains(&from)) {
            true => Ok(proxy::header(socket).await?.unwrap_or(peer)),
            false => Ok(peer),
        }
    }

    /// Waits until nobody who is inside is on the way to a decision, for which the registry is needed. For a connection that
    /// never asks for anything that may be as long as it is there.
    pub async fn decided(&self) {
        self.undecided.close();
        self.undecided.wait().await;
        self.undecided.reopen();
    }

    /// Waits until every answer came to its end.
    pub async fn answered(&self) {
        self.answers.close();
        self.answers.wait().await;
    }
}
