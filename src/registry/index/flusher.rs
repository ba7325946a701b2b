//! Bringing what changed in the index to the disk, by a thread that sleeps while nothing does.
//!
//! Left to itself sled syncs its file twice a second, changed or not, and no disk would ever come to rest. Nothing that was
//! promised depends on it: the journal is the truth. What the disk lacks after a kill or a power cut is added from the
//! journal at the next start, or the index is built again; so that this stays rare and short, the disk gets to know soon.

use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::Unavailable;

/// How long after a change everything is brought to the disk, together with what changed meanwhile.
const AFTER: Duration = Duration::from_millis(500);
/// The thread's name, of at most 15 bytes: Linux shows no more.
pub(super) const NAME: &str = "index-flush";

/// The way to wake the thread, which ends when this value does.
pub(super) struct Flusher(SyncSender<()>);

impl Flusher {
    /// Starts the thread. It calls `flush` some time after it was woken, and never otherwise.
    pub(super) fn start(flush: impl Fn() -> Result<(), Unavailable> + Send + 'static) -> Result<Self, Unavailable> {
        let (wake, woken) = mpsc::sync_channel(1);
        let work = move || {
            while woken.recv().is_ok() {
                let end = Instant::now() + AFTER;
                loop {
                    match woken.recv_timeout(end.saturating_duration_since(Instant::now())) {
                        Ok(()) => {}
                        Err(RecvTimeoutError::Timeout) => break,
                        // Whoever closes the index brings everything to the disk.
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
                if let Err(error) = flush() {
                    tracing::warn!(%error, "the index is not brought to the disk; after a crash it may be built again");
                }
            }
        };
        std::thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(work)
            .map_err(|error| Unavailable { reason: format!("no thread to flush the index: {error}") })?;
        Ok(Self(wake))
    }

    /// Something changed.
    pub(super) fn wake(&self) {
        // When it was woken already, it comes by; when it is gone, the trees are broken, and whoever changes them finds out.
        self.0.try_send(()).ok();
    }
}
