//! What the registry tells about itself, for who watches it: how its journal fares, and whether it can be asked and changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Lookup;

/// Upper bounds, in seconds: a sync takes some hundred microseconds on a fast disk, and some ten milliseconds on a slow one.
const LATENCIES: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What the writer's thread notes.
#[derive(Debug)]
pub(super) struct Meter {
    appends: Histogram,
    refused: Counter,
    bytes: Gauge,
    entries: Gauge,
    full: AtomicBool,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            appends: Histogram::new(LATENCIES),
            refused: Counter::default(),
            bytes: Gauge::default(),
            entries: Gauge::default(),
            full: AtomicBool::new(false),
        }
    }
}

/// Why the registry is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ails {
    /// Nothing can be looked up.
    Silent,
    /// Its index is being built; look-ups are answered from memory meanwhile.
    Building,
    /// Its journal takes no changes: there is no room for it to grow. Look-ups are answered.
    Full,
}

impl Meter {
    /// Entries were written and synced, which took so long; or there was no room for them.
    pub(super) fn appended(&self, took: Duration, written: bool) {
        if written {
            self.appends.observe(took.as_secs_f64());
        } else {
            self.refused.inc();
        }
        self.full.store(!written, Ordering::Release);
    }

    /// There was no room, and now there is.
    pub(super) fn has_room(&self) {
        self.full.store(false, Ordering::Release);
    }

    /// Whether there was no room when it was last asked for.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Where the journal ends.
    pub(super) fn ends(&self, seq: u64, bytes: u64) {
        self.entries.set(i64::try_from(seq).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Lookup {
    /// What is wrong with the registry now, the worst first.
    #[must_use]
    pub fn ails(&self) -> Option<Ails> {
        match (self.0.answers(), self.0.indexed(), self.0.meter.is_full()) {
            (false, _, _) => Some(Ails::Silent),
            (true, _, true) => Some(Ails::Full),
            (true, false, false) => Some(Ails::Building),
            (true, true, false) => None,
        }
    }

    /// Names what is counted for who collects it.
    pub fn register(&self, registry: &mut Registry) {
        let Meter { appends, refused, bytes, entries, full: _ } = &self.0.meter;
        registry.register_with_unit(
            "pullgate_journal_append",
            "Time for writing changes to the journal and waiting until the disk has them",
            Unit::Seconds,
            appends.clone(),
        );
        registry.register(
            "pullgate_journal_refused",
            "Writes that the journal did not take, because there was no room for it to grow",
            refused.clone(),
        );
        registry.register_with_unit(
            "pullgate_journal",
            "What the journal has, without the space that is set aside",
            Unit::Bytes,
            bytes.clone(),
        );
        registry.register("pullgate_journal_entries", "The number of the journal's last entry", entries.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_over_with_the_next_that_is_taken() {
        let meter = Meter::default();
        meter.appended(Duration::from_millis(3), false);
        assert!(meter.is_full());
        meter.appended(Duration::from_millis(3), true);
        assert!(!meter.is_full());
        meter.appended(Duration::from_millis(3), false);
        meter.has_room();
        assert!(!meter.is_full());
        assert_eq!(meter.refused.get(), 2);
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register("appends", "", meter.appends.clone());
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("\nappends_count 1\n"), "only what was written has a time: {text}");
    }
}
