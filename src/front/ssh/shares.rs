//! How many connections one key may have at once, so that those of one agent whose script went wild, or of somebody who found
//! its key, do not take the places of all.
//!
//! Who is one too many is logged in and told so when it asks for something; until then it counts as one that is not logged in,
//! with that one's clock and place, so that those who are told cannot take the places of all either. It asks again for each
//! command: by then another may have left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::quiet::Quiet;
use crate::audit::Subject;
use crate::model::fingerprint::Fingerprint;

/// The connections of all keys, by the key itself: one that was rotated, or registered anew, counts apart from the other. Cheap
/// to clone.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    most: usize,
    keys: Arc<Mutex<HashMap<Fingerprint, usize>>>,
    quiet: Arc<Quiet>,
}

/// A connection's place among those of its key, until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    keys: Arc<Mutex<HashMap<Fingerprint, usize>>>,
    key: Fingerprint,
}

fn lock(keys: &Mutex<HashMap<Fingerprint, usize>>) -> MutexGuard<'_, HashMap<Fingerprint, usize>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shares {
    /// `most`: how many connections a key may have. 0: any number.
    pub(super) fn new(most: usize) -> Self {
        Self { most, keys: Arc::default(), quiet: Arc::default() }
    }

    /// The same connections by another rule.
    pub(super) fn again(&self, most: usize) -> Self {
        Self { most, ..self.clone() }
    }

    /// A place for one more connection of this key, if there is one. Those that no bound holds are counted too: there may be
    /// one after a reload.
    pub(super) fn take(&self, key: Fingerprint) -> Option<Share> {
        let mut keys = lock(&self.keys);
        let taken = keys.get(&key).copied().unwrap_or_default();
        if self.most > 0 && taken >= self.most {
            return None;
        }
        keys.insert(key, taken + 1);
        Some(Share { keys: Arc::clone(&self.keys), key })
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

impl Drop for Share {
    fn drop(&mut self) {
        let mut keys = lock(&self.keys);
        if let Some(taken) = keys.get_mut(&self.key) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
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
        let shares = Shares::new(2);
        let (first, _second) = (shares.take(key(1)).unwrap(), shares.take(key(1)).unwrap());
        assert!(shares.take(key(1)).is_none());
        let _other = shares.take(key(2)).unwrap();
        drop(first);
        let _third = shares.take(key(1)).unwrap();
        assert!(shares.clone().take(key(1)).is_none(), "who shares the door shares the places");
    }

    #[test]
    fn a_key_whose_connections_have_ended_is_forgotten() {
        let shares = Shares::new(2);
        for number in 0..=255 {
            let both = (shares.take(key(number)), shares.take(key(number)), shares.take(key(number)));
            assert_eq!(lock(&shares.keys).len(), 1);
            drop(both);
        }
        assert!(lock(&shares.keys).is_empty());
    }

    #[test]
    fn a_reload_changes_the_bound_and_not_who_is_there() {
        let unbounded = Shares::new(0);
        let many: Vec<Share> = (0..100).map(|_| unbounded.take(key(1)).unwrap()).collect();
        let bounded = unbounded.again(100);
        assert!(bounded.take(key(1)).is_none());
        drop(many);
        assert!(bounded.take(key(1)).is_some());
    }
}
