//! Whether the gateway itself ends what still runs.

use tokio_util::sync::CancellationToken;

use crate::audit::Ended;

/// From a fetch, a client that leaves looks the same as a line that the gateway cuts. Whoever cuts says so here before. Cheap to
/// clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Cut(CancellationToken);

impl Cut {
    /// What ends from now on without its client having all of it is cut.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// One that begins with this one, for a fetch to wait for.
    pub(super) fn of_fetch(&self) -> CancellationToken {
        self.0.child_token()
    }

    /// How a fetch ended, in truth.
    pub(super) fn truly(&self, outcome: Ended) -> Ended {
        if outcome == Ended::ClientGone && self.0.is_cancelled() { Ended::Cut } else { outcome }
    }
}
