//! What it costs a network to offer keys that nobody registered.
//!
//! An agent that holds a dozen keys offers all of them until one is taken, and must not wait for that. Somebody who offers ten
//! thousand wants to hear which keys there are. So a network may offer some unknown keys at once and then one a second:
//!
//! - who logs in gets back what they offered on the way, so that stray keys never add up, however many agents have them;
//! - a network from which somebody logged in lately is slowed and never turned away: behind one address may be a build farm, in
//!   which one agent has a wrong key, and a registered key that is offered first does not wait for that either;
//! - any other network that offered too many is turned away at the door until its time has passed.
//!
//! OpenSSH's `PerSourcePenalties` is the model. It grows, and turns everybody away who shares the address; this one needs no
//! growth, since whoever goes on gets one key a second for as long as they like, and no more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::places::network_of;

/// How long it takes until one unknown key is forgotten.
const EACH: Duration = Duration::from_secs(1);
/// How long a login speaks for its network.
const FRIENDS: Duration = Duration::from_secs(24 * 3600);
/// Networks that are remembered at the most: some 100 bytes each. Somebody who has more networks than this is bounded by the
/// number of connections alone.
const NETWORKS: usize = 16 * 1024;
/// How long the answer to a key takes that is one too many, where nobody is turned away.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// How a network stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may offer another unknown key.
    Free,
    /// It has offered too many, and somebody of it is known.
    Slowed,
    /// It has offered too many, and nobody of it is known.
    Barred,
}

/// What is known of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Network {
    /// Until when somebody's login speaks for it.
    friends: Option<Instant>,
    /// When its last unknown key is forgotten; those before it are forgotten one by one until then.
    free: Instant,
}

/// The unknown keys of all networks. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Guesses {
    most: usize,
    exempt: Vec<IpNet>,
    networks: Arc<Mutex<HashMap<IpAddr, Network>>>,
}

impl Guesses {
    /// `most`: how many unknown keys a network may offer at once. 0: nobody counts.
    pub(super) fn new(most: usize) -> Self {
        Self { most, exempt: Vec::new(), networks: Arc::default() }
    }

    /// The same networks by another rule.
    pub(super) fn again(&self, most: usize) -> Self {
        Self { most, ..self.clone() }
    }

    /// Nothing is counted of these.
    pub(super) fn exempt(&mut self, networks: Vec<IpNet>) {
        self.exempt = networks;
    }

    fn counts(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.most > 0 && !self.exempt.iter().any(|network| network.contains(&client))
    }

    /// Somebody offered an unknown key: whether it is one too many.
    pub(super) fn guessed(&self, client: IpAddr, now: Instant) -> Standing {
        if !self.counts(client) {
            return Standing::Free;
        }
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.len() >= NETWORKS {
            forget(&mut networks, now);
        }
        let network = networks.entry(network_of(client)).or_insert(Network { friends: None, free: now });
        let standing = self.standing_of(network, now);
        if standing == Standing::Free {
            // What is refused is not counted: when guessing stops, so does the penalty, a moment later.
            network.free = network.free.max(now) + EACH;
        }
        standing
    }

    /// How the network of this client stands.
    pub(super) fn standing(&self, client: IpAddr, now: Instant) -> Standing {
        if !self.counts(client) {
            return Standing::Free;
        }
        let networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        networks.get(&network_of(client)).map_or(Standing::Free, |network| self.standing_of(network, now))
    }

    /// Somebody logged in who offered so many unknown keys before.
    pub(super) fn logged_in(&self, client: IpAddr, guesses: u32, now: Instant) {
        if !self.counts(client) {
            return;
        }
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.len() >= NETWORKS {
            forget(&mut networks, now);
        }
        let network = networks.entry(network_of(client)).or_insert(Network { friends: None, free: now });
        network.free = network.free.checked_sub(EACH * guesses).unwrap_or(now);
        network.friends = Some(now + FRIENDS);
    }

    fn span(&self) -> Duration {
        EACH.saturating_mul(u32::try_from(self.most).unwrap_or(u32::MAX))
    }

    fn standing_of(&self, network: &Network, now: Instant) -> Standing {
        if network.free.saturating_duration_since(now) + EACH <= self.span() {
            Standing::Free
        } else if network.friends.is_some_and(|until| until > now) {
            Standing::Slowed
        } else {
            Standing::Barred
        }
    }
}

/// Makes room: first of networks of which there is nothing to know, then of the half, or more, of which there is least. Done once for many
/// that come, since it looks at all of them.
fn forget(networks: &mut HashMap<IpAddr, Network>, now: Instant) {
    networks.retain(|_, network| network.free > now || network.friends.is_some_and(|until| until > now));
    if networks.len() > NETWORKS / 2 {
        let mut all: Vec<Network> = networks.values().copied().collect();
        let (_, middle, _) = all.select_nth_unstable(networks.len() / 2);
        let middle = *middle;
        networks.retain(|_, network| *network > middle);
    }
}

#[cfg(test)]
mod tests;
