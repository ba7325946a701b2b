//! What is told of git's work: who works and who waits, what is kept and of what use that was, which bounds were met.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::counts::Tally;
use super::{Git, Kept};

/// A bound or a clock of `[limits]` that a fetch met, by its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Negotiation,
    Idle,
    Total,
    Queue,
    Wait,
}

impl Limit {
    const ALL: [Self; 5] = [Self::Negotiation, Self::Idle, Self::Total, Self::Queue, Self::Wait];

    fn word(self) -> &'static str {
        match self {
            Self::Negotiation => "negotiation_seconds",
            Self::Idle => "fetch_idle_seconds",
            Self::Total => "fetch_seconds",
            Self::Queue => "slot_queue",
            Self::Wait => "slot_wait_seconds",
        }
    }
}

/// How often which bound was met. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    limits: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Default for Meter {
    fn default() -> Self {
        let meter = Self { limits: Family::default() };
        Limit::ALL.iter().for_each(|limit| drop(meter.limits.get_or_create(&[("limit", limit.word())])));
        meter
    }
}

impl Meter {
    /// A fetch met a bound or a clock.
    pub(super) fn met(&self, limit: Limit) {
        tracing::info!(limit = limit.word(), "a bound of [limits] ended a fetch");
        self.limits.get_or_create(&[("limit", limit.word())]).inc();
    }
}

#[cfg(test)]
impl Meter {
    pub(super) fn count(&self, limit: Limit) -> u64 {
        self.limits.get_or_create(&[("limit", limit.word())]).get()
    }
}

impl Git {
    /// Names what is counted for who collects it.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "pullgate_fetch_limit_hits",
            "How often a bound or a clock of [limits] ended a fetch, by its name there",
            self.meter.limits.clone(),
        );
        registry.register_collector(Box::new(Looked(self.clone())));
    }
}

/// What is looked at when somebody asks.
#[derive(Debug)]
struct Looked(Git);

impl Collector for Looked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Kept { enabled, entries, bytes, memory_bytes, polls, poll_bytes, slots, running, waiting, counted } =
            self.0.kept();
        let queue = self.0.settings.slots.queue;
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        gauge("pullgate_slots", "How many gits may make packs at a time", many(slots))?;
        gauge("pullgate_slots_in_use", "Gits that make packs, or answer for one client alone", many(running))?;
        gauge("pullgate_slot_queue", "Fetches that wait for a slot, or for a git that needs none", many(waiting))?;
        let (rooms, _) = self.0.rooms.counts();
        gauge("pullgate_gits_without_slot", "Gits that are there for one client each and have no slot", many(rooms))?;
        let most = "How many such gits there may be; half of them for one key";
        gauge("pullgate_gits_without_slot_limit", most, many(self.0.rooms.all()))?;
        gauge("pullgate_slot_queue_limit", "How many fetches may wait for a slot", many(queue))?;
        gauge("pullgate_cache_enabled", "Whether answers are kept: 1, or 0", u64::from(enabled))?;
        gauge("pullgate_cache_entries", "Answers that are kept, in memory or on disk", many(entries))?;
        gauge("pullgate_cache_bytes", "Bytes of these, and of those that are only read to their end", bytes)?;
        gauge(
            "pullgate_cache_memory_bytes",
            "How many of these bytes are in memory; the others are on disk",
            memory_bytes,
        )?;
        gauge("pullgate_cache_polls", "Answers to polls that are kept in memory", many(polls))?;
        gauge("pullgate_cache_polls_bytes", "Bytes of these", poll_bytes)?;
        let made = self.0.pool.tally();
        gauge(
            "pullgate_cell_memory_peak_bytes",
            "The most memory that one process in a cell had in use, of those that came to their end",
            made.peak_bytes,
        )?;
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
        };
        counter("pullgate_cell_children", "Gits that were started", made.children)?;
        counter("pullgate_cell_children_not_run", "Gits that could not be confined or executed", made.not_run)?;
        counter("pullgate_cell_workers", "Processes that make cells, that were started", made.workers)?;
        counter(
            "pullgate_cell_workers_lost",
            "Processes that make cells, that were ended by somebody else or for want of memory",
            made.workers_lost,
        )?;
        let cpu = ConstCounter::new(made.cpu.as_secs_f64());
        let help = "Processor time of gits in cells, of those that came to their end";
        cpu.encode(encoder.encode_descriptor("pullgate_cell_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?)?;

        let mut tallies = |name: &str, help: &str, values: &[([(&str, &str); 2], u64)]| {
            let mut family = encoder.encode_descriptor(name, help, None, ConstCounter::new(0u64).metric_type())?;
            for (labels, value) in values {
                let counter = ConstCounter::new(*value);
                counter.encode(family.encode_family(labels)?)?;
            }
            Ok::<_, fmt::Error>(())
        };
        let kinds = [("poll", counted.polls), ("pack", counted.packs)];
        let results = |tally: Tally| {
            let Tally { hit, joined, miss, bypass, bytes_saved: _, bytes: _ } = tally;
            [("hit", hit), ("joined", joined), ("miss", miss), ("bypass", bypass)]
        };
        let answers: Vec<_> = kinds
            .iter()
            .flat_map(|(kind, tally)| {
                results(*tally).map(|(result, count)| ([("kind", *kind), ("result", result)], count))
            })
            .collect();
        tallies(
            "pullgate_cache_answers",
            "Sessions that asked the cache, by what they asked for and where it came from",
            &answers,
        )?;
        let bytes: Vec<_> = kinds
            .iter()
            .flat_map(|(kind, tally)| {
                let made = tally.bytes.saturating_sub(tally.bytes_saved);
                [("kept", tally.bytes_saved), ("made", made)]
                    .map(|(from, bytes)| ([("kind", *kind), ("from", from)], bytes))
            })
            .collect();
        tallies(
            "pullgate_cache_answer_bytes",
            "Bytes of these to clients: kept or joined, or made by a git for them",
            &bytes,
        )?;

        // The reasons are words of this program, and few.
        let mut family = encoder.encode_descriptor(
            "pullgate_cache_bypasses",
            "Sessions that were answered by a git of their own, by the reason",
            None,
            ConstCounter::new(0u64).metric_type(),
        )?;
        for (why, count) in counted.bypasses {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", why)])?)?;
        }
        let lost = self.0.cache.given_up();
        let mut family = encoder.encode_descriptor(
            "pullgate_cache_given_up",
            "Answers that could have been kept longer, by what there was no room for: the whole (total_mib, entries), or what stays free on the disk (free_mib)",
            None,
            ConstCounter::new(0u64).metric_type(),
        )?;
        for (limit, count) in [("total_mib", lost.total), ("entries", lost.entries), ("free_mib", lost.free)] {
            ConstCounter::new(count).encode(family.encode_family(&[("limit", limit)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An operator finds the bound in the config file by the label.
    #[test]
    fn every_limit_has_the_name_that_the_example_has() {
        let example = include_str!("../../config.example.toml");
        let limits = Limit::ALL.map(Limit::word);
        for word in limits.into_iter().chain(["total_mib", "entries", "free_mib"]) {
            assert!(example.contains(&format!("\n{word} = ")), "{word}");
        }
    }
}
