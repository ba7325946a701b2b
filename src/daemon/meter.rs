//! All numbers of the house in one place, and those that only the house knows: what it is, and how its config was taken over.

use std::fmt;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::house::House;
use crate::sandbox::Mode;

/// How often a config was taken over while the daemon ran.
#[derive(Debug)]
pub(super) struct Reloads {
    results: Family<[(&'static str, &'static str); 1], Counter>,
    last_good: Gauge,
    successful: Gauge,
}

const TAKEN: [(&str, &str); 1] = [("result", "taken")];
const FAILED: [(&str, &str); 1] = [("result", "failed")];

impl Default for Reloads {
    /// The start took a config over; that is the first.
    fn default() -> Self {
        let reloads = Self { results: Family::default(), last_good: Gauge::default(), successful: Gauge::default() };
        drop((reloads.results.get_or_create_owned(&TAKEN), reloads.results.get_or_create_owned(&FAILED)));
        reloads.last_good.set(Timestamp::now().as_second());
        reloads.successful.set(1);
        reloads
    }
}

impl Reloads {
    /// One attempt came to its end.
    pub(super) fn note(&self, taken: bool) {
        self.results.get_or_create(if taken { &TAKEN } else { &FAILED }).inc();
        self.successful.set(i64::from(taken));
        if taken {
            self.last_good.set(Timestamp::now().as_second());
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "pullgate_config_reloads",
            "Attempts to take a changed config over, at SIGHUP",
            self.results.clone(),
        );
        registry.register(
            "pullgate_config_last_reload_successful",
            "Whether the last attempt was good: 1, or 0; 1 from the start on",
            self.successful.clone(),
        );
        registry.register_with_unit(
            "pullgate_config_last_good_timestamp",
            "When a config was last taken over, at the start or at SIGHUP, in seconds since 1970",
            Unit::Seconds,
            self.last_good.clone(),
        );
    }
}

/// What does not change while it runs.
#[derive(Debug)]
struct Build {
    mode: Mode,
    whole: bool,
}

impl Collector for Build {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let one = ConstGauge::new(1u64);
        let mut info = encoder.encode_descriptor(
            "pullgate_build_info",
            "1, with the version of this program",
            None,
            one.metric_type(),
        )?;
        one.encode(info.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?)?;
        let help = "1 for the mode under [sandbox], 0 for the others";
        let mut modes = encoder.encode_descriptor("pullgate_cell_mode", help, None, one.metric_type())?;
        for (mode, word) in [(Mode::Require, "require"), (Mode::Prefer, "prefer"), (Mode::Off, "off")] {
            ConstGauge::new(u64::from(mode == self.mode)).encode(modes.encode_family(&[("mode", word)])?)?;
        }
        let whole = ConstGauge::new(u64::from(self.whole));
        let help = "Whether everything that a cell of git is to enforce is enforced: 1, or 0";
        whole.encode(encoder.encode_descriptor("pullgate_cell_whole", help, None, whole.metric_type())?)
    }
}

/// Everything that is told of a house.
pub(super) fn numbers(house: &House) -> Registry {
    let mut registry = Registry::default();
    let whole = house.git.report().is_some_and(crate::sandbox::Report::whole);
    registry.register_collector(Box::new(Build { mode: house.config.sandbox.mode, whole }));
    house.audit.counters().register(&mut registry);
    house.door.meter().register(&mut registry);
    house.git.register(&mut registry);
    house.lookup.register(&mut registry);
    house.reloader.meter().register(&mut registry);
    registry
}
