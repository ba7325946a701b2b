//! How often the cache was of use since the daemon started.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::Source;

/// How often an answer came from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of it was kept.
    pub hit: u64,
    /// From work that another had begun.
    pub joined: u64,
    /// From work that others could join.
    pub miss: u64,
    /// From a git of its own.
    pub bypass: u64,
    /// Bytes to clients, of hits and of what was joined.
    pub bytes_saved: u64,
    /// Bytes to clients in all.
    pub bytes: u64,
}

/// Everything that is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Sessions that asked for refs only.
    pub polls: Tally,
    /// Sessions that asked for a pack.
    pub packs: Tally,
    /// Why what was not answered from the cache went to a git of its own.
    pub bypasses: BTreeMap<String, u64>,
}

/// Counts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    counted: Arc<Mutex<Counted>>,
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One session came to its end. The reasons are words of ours and few.
    pub(super) fn add(&self, source: &Source, pack: bool, bytes: u64) {
        let mut counted = self.lock();
        if let Source::Bypass(why) = source {
            *counted.bypasses.entry(why.clone()).or_default() += 1;
        }
        let tally = if pack { &mut counted.packs } else { &mut counted.polls };
        let (count, saved) = match source {
            Source::Hit => (&mut tally.hit, bytes),
            Source::Joined => (&mut tally.joined, bytes),
            Source::Miss => (&mut tally.miss, 0),
            Source::Bypass(_) => (&mut tally.bypass, 0),
        };
        *count += 1;
        tally.bytes_saved += saved;
        tally.bytes += bytes;
    }

    pub(super) fn now(&self) -> Counted {
        self.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_counts_once() {
        let counts = Counts::default();
        counts.add(&Source::Hit, true, 10);
        counts.add(&Source::Joined, true, 5);
        counts.add(&Source::Miss, true, 3);
        counts.add(&Source::Hit, false, 1);
        counts.add(&Source::Bypass("odd".to_owned()), false, 2);
        let packs = Tally { hit: 1, joined: 1, miss: 1, bypass: 0, bytes_saved: 15, bytes: 18 };
        let polls = Tally { hit: 1, joined: 0, miss: 0, bypass: 1, bytes_saved: 1, bytes: 3 };
        assert_eq!(counts.now(), Counted { polls, packs, bypasses: BTreeMap::from([("odd".to_owned(), 1)]) });
    }
}
