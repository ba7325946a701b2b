//! What a daemon is told from outside while it serves. Nothing of it is lost while it does something else.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What it was told so far. Cheap to clone; each clone is told the same.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// To come to its end.
    pub stop: CancellationToken,
    /// How often it was told to read its config anew.
    hangups: watch::Sender<u64>,
}

impl Signals {
    /// Tells it to read its config anew.
    pub fn hang_up(&self) {
        self.hangups.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// How often that was said: what changes is news.
    pub(super) fn hangups(&self) -> watch::Receiver<u64> {
        self.hangups.subscribe()
    }
}
