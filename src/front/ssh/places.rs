//! How many may stand at the door at once: in all, not logged in yet, and from one network; and how many may have a large group
//! computed with.
//!
//! Who is not logged in yet costs little but is anybody. So one network cannot take all of these places, and when they grow
//! scarce some are turned away by chance before all are: whoever fills them with connections that say nothing is turned away
//! as often as everybody else, and a client that tries again gets in. OpenSSH's `MaxStartups` does the same.
//!
//! An exchange of keys in a group of 3,072 bits takes a thread of the runtime for 80 ms, and a client that does not compute itself
//! gets one for nothing (docs/transport.md); likewise 5 ms for a certificate. So they take turns, by network first, and one thread is
//! always left for the others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Settings;
use super::meter::{Limit, Meter};

/// How often the log says that somebody was turned away, at most: strangers must not be able to fill a disk.
const TELL: Duration = Duration::from_secs(10);

/// The places of a door.
#[derive(Debug)]
pub(super) struct Places {
    startups: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    /// Turns.
    turns: Arc<Semaphore>,
    /// How many of them one network has for each purpose. To count the cores takes reading files, so it is done once.
    of_network: usize,
    settings: Settings,
    networks: Mutex<HashMap<IpAddr, Network>>,
    turned_away: Mutex<TurnedAway>,
}

/// Who is here of one network.
#[derive(Debug)]
struct Network {
    /// Places of those who are not logged in.
    taken: usize,
    /// Connections that may want a turn, logged in or not.
    lines: usize,
    queues: Queues,
}

/// What somebody may want a turn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The answer to a large group.
    Exchange,
    /// A long request to log in.
    Login,
}

/// Where those of one network wait: what takes 5 ms does not stand behind a hundred times 80.
#[derive(Debug, Clone)]
struct Queues {
    exchanges: Arc<Semaphore>,
    logins: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct TurnedAway {
    told: Option<Instant>,
    since: u64,
}

/// A place for a connection, and one among those who are not logged in yet.
pub(super) struct Entry {
    pub(super) connection: OwnedSemaphorePermit,
    pub(super) startup: OwnedSemaphorePermit,
}

/// A place among those of one network who are not logged in yet.
#[derive(Debug)]
pub(super) struct NetworkPlace {
    places: Arc<Places>,
    network: IpAddr,
    queues: Queues,
}

/// Where a connection of one network waits for its turns.
#[derive(Debug)]
pub(super) struct Turns {
    places: Arc<Places>,
    network: IpAddr,
    queues: Queues,
    meter: Meter,
}

/// Somebody's turn to have something computed.
#[derive(Debug)]
pub(super) struct Turn {
    _of_network: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(settings: &Settings) -> Self {
        let exchanges = settings.exchanges();
        Self {
            startups: Arc::new(Semaphore::new(settings.startups)),
            connections: Arc::new(Semaphore::new(settings.connections)),
            turns: Arc::new(Semaphore::new(exchanges)),
            of_network: (exchanges / 2).max(1),
            settings: *settings,
            networks: Mutex::default(),
            turned_away: Mutex::default(),
        }
    }

    /// A place for somebody who just came, if there is one, and chance wills it; else the bound that stands against it.
    pub(super) fn enter(&self) -> Result<Entry, Limit> {
        let connection = Arc::clone(&self.connections).try_acquire_owned().map_err(|_| Limit::Connections)?;
        let startup = Arc::clone(&self.startups).try_acquire_owned().map_err(|_| Limit::Startups)?;
        let taken = self.settings.startups.saturating_sub(self.startups.available_permits());
        match is_unlucky(taken, self.settings.startups, dice()) {
            true => Err(Limit::Startups),
            false => Ok(Entry { connection, startup }),
        }
    }

    /// A place among those of this client's network, if there is one.
    pub(super) fn network(self: &Arc<Self>, client: IpAddr) -> Option<NetworkPlace> {
        let network = network_of(client);
        let mut networks = self.lock();
        let here = networks.entry(network).or_insert_with(|| {
            let queue = || Arc::new(Semaphore::new(self.of_network));
            Network { taken: 0, lines: 0, queues: Queues { exchanges: queue(), logins: queue() } }
        });
        if here.taken >= self.settings.startups_per_network {
            return None;
        }
        here.taken += 1;
        Some(NetworkPlace { places: Arc::clone(self), network, queues: here.queues.clone() })
    }

    /// Says that somebody was turned away by this bound, or counts it until it is time to say something again.
    pub(super) fn tell(self: &Arc<Self>, client: IpAddr, limit: Limit) {
        let mut turned_away = self.turned_away();
        turned_away.since += 1;
        let rest = turned_away.told.map_or(Duration::ZERO, |told| TELL.saturating_sub(told.elapsed()));
        let is_first = turned_away.since == 1;
        drop(turned_away);
        if rest.is_zero() {
            self.say(client, limit);
        } else if is_first {
            // The last of a storm are told of too, when nobody comes any more.
            let places = Arc::clone(self);
            drop(tokio::spawn(async move {
                tokio::time::sleep(rest).await;
                places.say(client, limit);
            }));
        }
    }

    /// Says it of all that were not told of yet.
    fn say(&self, client: IpAddr, limit: Limit) {
        let mut turned_away = self.turned_away();
        let count = std::mem::take(&mut turned_away.since);
        if count == 0 {
            return;
        }
        turned_away.told = Some(Instant::now());
        drop(turned_away);
        let limit = limit.word();
        tracing::warn!(%client, limit, count, "connections are turned away: that bound under [limits] was met, by this client or the first of them");
    }

    fn turned_away(&self) -> MutexGuard<'_, TurnedAway> {
        self.turned_away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One fewer of these; a network of which nobody is here is forgotten.
    fn leave(&self, network: IpAddr, of: impl FnOnce(&mut Network) -> &mut usize) {
        let mut networks = self.lock();
        if let Some(here) = networks.get_mut(&network) {
            let count = of(here);
            *count = count.saturating_sub(1);
            if here.taken == 0 && here.lines == 0 {
                networks.remove(&network);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Network>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NetworkPlace {
    /// Where this client waits for its turns, also after it is logged in.
    pub(super) fn turns(&self, meter: &Meter) -> Turns {
        if let Some(here) = self.places.lock().get_mut(&self.network) {
            here.lines += 1;
        }
        let (places, queues) = (Arc::clone(&self.places), self.queues.clone());
        Turns { places, network: self.network, queues, meter: meter.clone() }
    }
}

impl Turns {
    /// Waits for a turn: in the order in which they come, first among those of the network who want the same and then among those who are
    /// next in theirs. Who has to wait is counted. `None`: there are no turns any more, which nobody ever says.
    pub(super) fn next(&self, what: What) -> impl Future<Output = Option<Turn>> + Send + use<> {
        let queue = match what {
            What::Exchange => &self.queues.exchanges,
            What::Login => &self.queues.logins,
        };
        let (network, all, meter) = (Arc::clone(queue), Arc::clone(&self.places.turns), self.meter.clone());
        async move {
            if network.available_permits() == 0 || all.available_permits() == 0 {
                meter.met(Limit::GroupExchanges);
            }
            let of_network = network.acquire_owned().await.ok()?;
            Some(Turn { _of_network: of_network, _of_all: all.acquire_owned().await.ok()? })
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.places.leave(self.network, |here| &mut here.lines);
    }
}

impl Drop for NetworkPlace {
    fn drop(&mut self) {
        self.places.leave(self.network, |here| &mut here.taken);
    }
}

/// What counts as one network: an IPv4 address, or the /64 that one host with IPv6 usually has to itself.
pub(super) fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Whether the one who came last is turned away: never with up to three quarters of the places taken, then more and more
/// often, and with all of them taken always. `dice` is any number, each as likely as the others.
fn is_unlucky(taken: usize, most: usize, dice: u16) -> bool {
    let start = most - most / 4;
    let over = taken.saturating_sub(start);
    // The one who takes the last place may: with few places there is no quarter to play with.
    over > 0 && usize::from(dice) * (most - start + 1) < over * (usize::from(u16::MAX) + 1)
}

fn dice() -> u16 {
    let mut bytes = [0; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u16::from_ne_bytes(bytes),
        // Without chance the bound alone decides.
        Err(_) => u16::MAX,
    }
}

#[cfg(test)]
mod tests;
