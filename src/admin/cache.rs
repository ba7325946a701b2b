//! What the gateway keeps of answers, as operators see it. It is no part of the registry: nothing here is durable.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, Kind};
use super::operator::Operator;
use super::{Admin, Done, Faults, counted};

/// How often an answer came from where, since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TallyView {
    /// All of it was kept.
    pub hit: u64,
    /// From work that another fetch had begun.
    pub joined: u64,
    /// From work that others could join.
    pub miss: u64,
    /// From a git of its own.
    pub bypass: u64,
    /// Bytes to clients in all.
    pub bytes: u64,
    /// Bytes to clients, of hits and of what was joined.
    pub bytes_saved: u64,
}

/// The cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheView {
    /// Whether anything is kept.
    pub enabled: bool,
    /// Answers in memory and on disk.
    pub entries: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// How many of these bytes are in memory.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Answers to polls in memory.
    pub poll_entries: usize,
    /// Bytes of these.
    pub poll_bytes: u64,
    /// Gits that may make packs at a time.
    pub slots: usize,
    /// Gits that do.
    pub running: usize,
    /// Fetches that wait for that.
    pub waiting: usize,
    /// Sessions that asked for refs only.
    pub polls: TallyView,
    /// Sessions that asked for a pack.
    pub packs: TallyView,
    /// Why sessions had a git of their own.
    pub bypasses: BTreeMap<String, u64>,
}

/// Who keeps answers.
pub trait Keeper: Debug + Send + Sync {
    /// What there is.
    fn show(&self) -> CacheView;
    /// Forgets everything; says how many answers that were.
    fn clear(&self) -> usize;
}

impl Admin {
    /// What is kept, and how often it was of use.
    ///
    /// # Errors
    /// No daemon runs, so nothing is kept.
    pub fn cache_show(&self, _by: &Operator) -> Result<CacheView, Faults> {
        Ok(self.keeper()?.show())
    }

    /// Forgets everything that is kept. Fetches that are under way are not disturbed.
    ///
    /// # Errors
    /// No daemon runs, so nothing is kept.
    pub fn cache_clear(&self, by: &Operator) -> Result<Done, Faults> {
        let gone = self.keeper()?.clear();
        tracing::info!(by = by.name(), answers = gone, "the cache was cleared");
        let message =
            if gone == 0 { "nothing was kept".to_owned() } else { format!("forgot {}", counted(gone, "answer")) };
        Ok(Done { message, changed: gone > 0, warnings: Vec::new(), notes: Vec::new() })
    }

    fn keeper(&self) -> Result<&dyn Keeper, Fault> {
        self.keeper.as_deref().ok_or_else(|| {
            Fault::new(Kind::Unavailable, "no daemon runs, and nothing is kept without one")
                .hint("start it with `pullgate serve`; what was kept is gone with the daemon that kept it")
        })
    }
}
