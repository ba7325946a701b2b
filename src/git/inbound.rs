//! What a client sends, on its way to git: bounded in what may wait unread and in all.
//!
//! The session loop of the SSH library must never wait for a consumer (it would stop reading the messages that let our own
//! answers out), and it reopens the client's window on receipt. So bytes are taken in without waiting, and a client that
//! sends more than a negotiation can need is cut off instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// How much a client may send on one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes received and not yet taken by git. A million `want` lines are 50 MB, but git takes them as they come.
    pub unread: usize,
    /// Bytes in all.
    pub total: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { unread: 8 << 20, total: 256 << 20 }
    }
}

/// The client sent more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flooded;

/// Pieces are small at the worst one byte; so their number is bounded as well, at about this many bytes each.
const PIECE: usize = 256;

/// The end where bytes come in. Dropping it is the client's end of file.
#[derive(Debug)]
pub struct Feed {
    sender: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
    budget: Budget,
    total: usize,
}

#[derive(Debug, Default)]
struct Shared {
    unread: AtomicUsize,
    flooded: AtomicBool,
}

/// The end where git takes them.
#[derive(Debug)]
pub struct Inbound {
    receiver: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
}

/// A bounded way in.
#[must_use]
pub fn channel(budget: Budget) -> (Feed, Inbound) {
    let (sender, receiver) = mpsc::channel((budget.unread / PIECE).max(16));
    let shared = Arc::new(Shared::default());
    (Feed { sender, shared: Arc::clone(&shared), budget, total: 0 }, Inbound { receiver, shared })
}

impl Feed {
    /// Takes bytes in, without waiting. When git has ended they are dropped, which is no fault of the client.
    ///
    /// # Errors
    /// [`Flooded`] when a bound is passed; the other end sees it too, and nothing more is taken in.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Flooded> {
        if self.sender.is_closed() {
            return Ok(());
        }
        self.total = self.total.saturating_add(bytes.len());
        let unread = self.shared.unread.fetch_add(bytes.len(), Ordering::AcqRel).saturating_add(bytes.len());
        let full = if unread > self.budget.unread || self.total > self.budget.total {
            true
        } else {
            matches!(self.sender.try_send(Bytes::copy_from_slice(bytes)), Err(mpsc::error::TrySendError::Full(_)))
        };
        if full {
            self.shared.flooded.store(true, Ordering::Release);
            return Err(Flooded);
        }
        Ok(())
    }
}

/// Tells whether the client was cut off, to one who does not take its bytes.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// Whether the client was cut off for sending too much.
    #[must_use]
    pub fn flooded(&self) -> bool {
        self.0.flooded.load(Ordering::Acquire)
    }
}

impl Inbound {
    /// A look at it from aside.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.shared))
    }

    /// The next bytes; `None` at the client's end of file, or when it was cut off.
    pub async fn next(&mut self) -> Option<Bytes> {
        let bytes = self.receiver.recv().await?;
        self.shared.unread.fetch_sub(bytes.len(), Ordering::AcqRel);
        Some(bytes)
    }

    /// Whether the client was cut off for sending too much.
    #[must_use]
    pub fn flooded(&self) -> bool {
        self.shared.flooded.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Budget = Budget { unread: 8192, total: 20_000 };

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in() {
        let (mut feed, mut inbound) = channel(SMALL);
        feed.push(b"one").unwrap();
        feed.push(b"two").unwrap();
        drop(feed);
        assert_eq!(inbound.next().await.as_deref(), Some(b"one".as_slice()));
        assert_eq!(inbound.next().await.as_deref(), Some(b"two".as_slice()));
        assert_eq!(inbound.next().await, None);
        assert!(!inbound.flooded());
    }

    #[tokio::test]
    async fn unread_bytes_are_bounded() {
        let (mut feed, inbound) = channel(SMALL);
        feed.push(&[0; 8192]).unwrap();
        assert_eq!(feed.push(&[0]), Err(Flooded));
        assert!(inbound.flooded());
    }

    #[tokio::test]
    async fn tiny_pieces_are_bounded_in_number() {
        let (mut feed, _inbound) = channel(SMALL);
        let taken = (0..10_000).take_while(|_| feed.push(&[0]).is_ok()).count();
        assert_eq!(taken, SMALL.unread / PIECE);
    }

    #[tokio::test]
    async fn the_total_is_bounded_however_fast_git_reads() {
        let (mut feed, mut inbound) = channel(SMALL);
        for _ in 0..20 {
            feed.push(&[0; 1000]).unwrap();
            inbound.next().await.unwrap();
        }
        assert_eq!(feed.push(&[0]), Err(Flooded));
    }

    #[test]
    fn after_the_end_bytes_are_dropped() {
        let (mut feed, inbound) = channel(SMALL);
        drop(inbound);
        for _ in 0..10 {
            assert_eq!(feed.push(&[0; 8192]), Ok(()), "nobody counts what nobody reads");
        }
    }
}
