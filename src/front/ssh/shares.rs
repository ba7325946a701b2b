//! How many connections one key may have at once, so that those of one agent whose script went wild, or of somebody who found
//! its key, do not take the places of all; and, for the same reason, one part of the bytes that may wait unread.
//!
//! Who is one too many is logged in and told so when it asks for something; until then it counts as one that is not logged in,
//! with that one's clock and place, so that those who are told cannot take the places of all either. It asks again for each
//! command: by then another may have left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::quiet::Quiet;
use crate::audit::Subject;
use crate::git::inbound::{Party, Pool};
use crate::model::fingerprint::Fingerprint;

/// The connections of all keys, by the key itself: one that was rotated, or registered anew, counts apart from the other. Cheap
/// to clone.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    most: usize,
    keys: Keys,
    unread: Pool,
    /// Those who are only told something.
    told: Party,
    quiet: Arc<Quiet>,
}

type Keys = Arc<Mutex<HashMap<Fingerprint, Held>>>;

/// What a key has here.
#[derive(Debug)]
struct Held {
    connections: usize,
    unread: Party,
}

/// A connection's place among those of its key, until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    keys: Keys,
    key: Fingerprint,
    unread: Party,
}

fn lock(keys: &Keys) -> MutexGuard<'_, HashMap<Fingerprint, Held>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shares {
    /// `most`: how many connections a key may have. 0: any number. `unread`: how many bytes all together may have unread.
    pub(super) fn new(most: usize, unread: usize) -> Self {
        let unread = Pool::new(unread);
        Self { most, keys: Arc::default(), told: unread.party(), unread, quiet: Arc::default() }
    }

    /// The same connections by other rules. What may be unread is another number for those who are here too.
    pub(super) fn again(&self, most: usize, unread: usize) -> Self {
        self.unread.resize(unread);
        Self { most, ..self.clone() }
    }

    /// A place for one more connection of this key, if there is one. Those that no bound holds are counted too: there may be
    /// one after a reload.
    pub(super) fn take(&self, key: Fingerprint) -> Option<Share> {
        let mut keys = lock(&self.keys);
        let new = || Held { connections: 0, unread: self.unread.party() };
        let held = keys.entry(key).or_insert_with(new);
        // Whoever is one too many finds others there: nothing was put there for it.
        if self.most > 0 && held.connections >= self.most {
            return None;
        }
        held.connections += 1;
        Some(Share { keys: Arc::clone(&self.keys), key, unread: held.unread.clone() })
    }

    /// Whose part of what may wait unread is taken by those who have no place, and are only told so.
    pub(super) fn told(&self) -> &Party {
        &self.told
    }

    /// Says that somebody was one too many, or counts it until there is room in the log.
    pub(super) fn tell(&self, who: &Subject) {
        if let Some(untold) = self.quiet.may_say(Instant::now()) {
            let key = who.key.as_ref().map_or_else(String::new, ToString::to_string);
            let most = self.most;
            tracing::warn!(
                key,
                most,
                untold,
                "a key has too many connections; `connections_per_key` under [limits] says how many"
            );
        }
    }
}

impl Share {
    /// Whose part of what may wait unread its connection takes.
    pub(super) fn unread(&self) -> &Party {
        &self.unread
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut keys = lock(&self.keys);
        if let Some(held) = keys.get_mut(&self.key) {
            held.connections = held.connections.saturating_sub(1);
            if held.connections == 0 {
                keys.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Fingerprint {
        Fingerprint::of_blob(&[number])
    }

    #[test]
    fn each_key_has_its_own_places_and_gets_them_back() {
        let shares = Shares::new(2, 0);
        let (first, _second) = (shares.take(key(1)).unwrap(), shares.take(key(1)).unwrap());
        assert!(shares.take(key(1)).is_none());
        let _other = shares.take(key(2)).unwrap();
        drop(first);
        let _third = shares.take(key(1)).unwrap();
        assert!(shares.clone().take(key(1)).is_none(), "who shares the door shares the places");
    }

    #[test]
    fn a_key_whose_connections_have_ended_is_forgotten() {
        let shares = Shares::new(2, 0);
        for number in 0..=255 {
            let both = (shares.take(key(number)), shares.take(key(number)), shares.take(key(number)));
            assert_eq!(lock(&shares.keys).len(), 1);
            drop(both);
        }
        assert!(lock(&shares.keys).is_empty());
    }

    #[test]
    fn a_reload_changes_the_bound_and_not_who_is_there() {
        let unbounded = Shares::new(0, 0);
        let many: Vec<Share> = (0..100).map(|_| unbounded.take(key(1)).unwrap()).collect();
        let bounded = unbounded.again(100, 0);
        assert!(bounded.take(key(1)).is_none());
        drop(many);
        assert!(bounded.take(key(1)).is_some());
    }
}
