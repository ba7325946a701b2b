//! Whether the gateway serves as it should.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tokio_util::sync::CancellationToken;

use super::places::Place;
use crate::registry::{Ails, Lookup};

/// What decides it.
#[derive(Debug, Clone)]
pub(super) struct Health {
    pub(super) lookup: Lookup,
    pub(super) place: Place,
    /// The daemon was told to stop.
    pub(super) stopping: CancellationToken,
}

impl Health {
    /// What stands against it, in one line.
    pub(super) fn ails(&self) -> Option<Ailment> {
        use Ailment::{Serves, ServesNobody};
        if self.stopping.is_cancelled() {
            return Some(ServesNobody("stopping: nobody new is let in, what runs may finish"));
        }
        if self.place.is_gone() {
            return Some(ServesNobody(
                "the store is not there, or does not answer: nobody is served; mount it, its root is `root` under [store]",
            ));
        }
        self.lookup.ails().map(|ails| match ails {
            Ails::Silent => {
                ServesNobody("the registry cannot be read: nobody is let in; restart the gateway, its log says why")
            }
            Ails::Full => {
                Serves("the registry takes no changes: there is no room for its journal to grow; fetches are served")
            }
            Ails::Building => {
                Serves("the index of the registry is being built: fetches are served from memory meanwhile")
            }
        })
    }
}

/// What is not as it should be. Whoever sends clients elsewhere for the first would cut off those who are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ailment {
    /// Fetches are served all the same.
    Serves(&'static str),
    /// Nobody who comes now is served.
    ServesNobody(&'static str),
}

impl Collector for Health {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ready = ConstGauge::new(u64::from(self.ails().is_none()));
        let help = "Whether all is as it should be; if not, /readyz says what is the matter: 1, or 0";
        ready.encode(encoder.encode_descriptor("pullgate_ready", help, None, ready.metric_type())?)
    }
}
