//! A key exchange in a large group: whose turn it is, and until when.
//!
//! The library says when it needs the group, and then computes when it hears from the client, on the thread on which it is. The
//! answer to that is all that can be seen from outside; so a turn lasts until it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{AcquireError, Notify};
use tokio_util::sync::CancellationToken;

use super::Door;
use super::meter::Limit;
use super::places::NetworkPlace;

/// How many bytes were sent on a line. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    bytes: AtomicU64,
    more: Notify,
}

impl Sent {
    /// So many more.
    pub(super) fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.0.more.notify_one();
    }

    fn now(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Waits until there are so many in all. For one at a time.
    async fn reached(&self, bytes: u64) {
        while self.now() < bytes {
            self.0.more.notified().await;
        }
    }
}

/// The line of a connection, as far as its exchanges are concerned.
pub(super) struct Exchanges {
    pub(super) sent: Sent,
    /// Cuts the line.
    pub(super) cut: CancellationToken,
}

impl Exchanges {
    /// Waits for a turn at an exchange with a prime of so many bytes. `stranger`: the place of somebody who is not logged in; their line
    /// is cut when they take too long for it. Who is logged in only loses the turn then: the prime may have to wait behind what is on its
    /// way to them, over a line as slow as they like.
    pub(super) async fn turn(
        &self,
        door: &Door,
        stranger: Option<&NetworkPlace>,
        prime: usize,
    ) -> Result<(), AcquireError> {
        let turn = door.places.turn(stranger, &door.meter).await?;
        // The prime is sent, and then the answer, which has a number of the same length and the host key in it: twice the prime is
        // more than the first of them and less than both.
        let both = self.sent.now() + 2 * u64::try_from(prime).unwrap_or(u64::MAX / 4);
        let (sent, cut, meter) = (self.sent.clone(), self.cut.clone(), door.meter.clone());
        let (patience, is_stranger) = (door.settings.group_exchange, stranger.is_some());
        tokio::spawn(async move {
            tokio::select! {
                () = sent.reached(both) => {}
                () = cut.cancelled() => {}
                () = tokio::time::sleep(patience) => {
                    meter.met(Limit::GroupExchange);
                    if is_stranger {
                        cut.cancel();
                    }
                }
            }
            drop(turn);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_seen_whenever_it_was() {
        let sent = Sent::default();
        sent.add(3);
        sent.reached(3).await;
        let waits = tokio::spawn({
            let sent = sent.clone();
            async move { sent.reached(10).await }
        });
        for _ in 0..7 {
            assert!(!waits.is_finished());
            tokio::task::yield_now().await;
            sent.add(1);
        }
        waits.await.unwrap();
    }
}
