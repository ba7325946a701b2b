//! The door for those who watch: plain HTTP on a loopback address, with nothing to ask but how the gateway fares.
//!
//! - `/metrics`: numbers, in the text format of Prometheus; `docs/metrics.md` says what each means
//! - `/healthz`: the process answers
//! - `/readyz`: whether it serves, and if not, why, in one line
//!
//! Nobody logs in here, so it listens on loopback alone, and nothing that it says has the name of a key, a repository, an
//! account or an address. What a peer can do is bounded: [`PEERS`] at a time, [`HEAD`] bytes of a request, and [`PATIENCE`] for
//! the whole of it.

mod answer;
mod census;
mod health;
mod listener;
mod page;
mod places;
mod process;

use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::registry::Lookup;
use crate::store::Store;
use census::Census;
use health::Health;
pub use listener::run;
use places::Place;
use process::Process;

/// How many peers are answered at a time; more wait in the kernel's queue.
pub const PEERS: usize = 32;
/// The most that a request may be, without a body, in bytes: hyper's least.
pub const HEAD: usize = 8 * 1024;
/// How long a peer may take to ask, and then, from its first byte on, until it has its answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is told, and to whom it may be told.
#[derive(Debug)]
pub struct Door {
    numbers: Registry,
    health: Health,
    census: Census,
}

impl Door {
    /// Tells these numbers, and its own of the process and of the keys; and that it is not ready, once it is `stopping`, or
    /// when nothing of the registry or of the store can be read.
    #[must_use]
    pub fn new(mut numbers: Registry, lookup: Lookup, store: Store, stopping: CancellationToken) -> Self {
        let (health, census) = (Health { lookup, place: Place::new(store), stopping }, Census::default());
        numbers.register_collector(Box::new(health.clone()));
        census.register(&mut numbers);
        numbers.register_collector(Box::new(Process));
        Self { numbers, health, census }
    }
}
