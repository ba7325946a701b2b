//! Links of the chain that a full disk did not take. Their changes are made; so they are kept and written as soon as there is room,
//! in their order, before anything that comes behind them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::audit::{Event, Record};

/// How many are kept. The next start makes the others of the journal.
const MOST: usize = 10_000;
/// How often to look whether there is room when no other link comes: each look may leave a piece of a line behind.
const RETRY: Duration = Duration::from_secs(10);

/// What is owed to the file.
#[derive(Debug, Default)]
pub(super) struct Owed {
    records: VecDeque<Record>,
    tried: Option<Instant>,
}

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether it is time to look for room.
    pub(super) fn is_due(&self) -> bool {
        !self.is_empty() && self.tried.is_none_or(|tried| tried.elapsed() >= RETRY)
    }

    /// Keeps it for later. A checkpoint is not: another is made when all is written that it would sign.
    pub(super) fn keep(&mut self, record: &Record) {
        self.tried = Some(Instant::now());
        if !matches!(record.event, Event::Checkpoint { .. }) && self.records.len() < MOST {
            self.records.push_back(record.clone());
        }
    }

    /// The first, to be tried now; to be given back where there is no room.
    pub(super) fn next(&mut self) -> Option<Record> {
        self.tried = Some(Instant::now());
        self.records.pop_front()
    }

    pub(super) fn give_back(&mut self, record: Record) {
        self.records.push_front(record);
    }
}
