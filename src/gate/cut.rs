//! Whether the gateway itself ends what still runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audit::Ended;

/// From a fetch, a client that leaves looks the same as a line that the gateway cuts. Whoever cuts says so here before. Cheap to
/// clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Cut(Arc<AtomicBool>);

impl Cut {
    /// What ends from now on without its client having all of it is cut.
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// How a fetch ended, in truth.
    pub(super) fn truly(&self, outcome: Ended) -> Ended {
        if outcome == Ended::ClientGone && self.0.load(Ordering::SeqCst) { Ended::Cut } else { outcome }
    }
}
