//! What a client sends, on its way to git: bounded in what may wait unread and in all.
//!
//! The session loop of the SSH library must never wait for a consumer (it would stop reading the messages that let our own
//! answers out), and it reopens the client's window on receipt. So bytes are taken in without waiting, and a client that
//! sends more than a negotiation can need is cut off instead. What all of them have unread is bounded too, by a [`Pool`].

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How much a client may send on one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes received and not yet taken by git. A client says all that it wants at once, 50 bytes for each ref that has a commit
    /// of its own, and git takes them more slowly than they come: it looks each of them up. So this has room for the mirror of a
    /// repository with 600,000.
    pub unread: usize,
    /// Bytes in all.
    pub total: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { unread: 32 << 20, total: 256 << 20 }
    }
}

/// What all clients together may have unread, beyond a share that each channel has to itself. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool(Arc<All>);

#[derive(Debug)]
struct All {
    taken: Taken,
    most: AtomicUsize,
}

/// One of those who share a pool, on any number of channels. None may have more of it than is left for the others: one alone half,
/// two a third each, so that one who takes all that may be had does not have others cut. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Party {
    taken: Arc<Taken>,
    pool: Pool,
}

/// Bytes of a pool. Below zero for a moment, when what is taken out is counted before what came in.
#[derive(Debug, Default)]
struct Taken(AtomicIsize);

impl Taken {
    /// Counts so many more, or fewer; how many there are then.
    fn add(&self, more: isize) -> isize {
        self.0.fetch_add(more, Ordering::AcqRel).saturating_add(more)
    }
}

impl Pool {
    /// As much as one alone may have in the pool that there is by default: two mirrors with 600,000 refs.
    pub const DEFAULT: usize = 128 << 20;

    /// A pool of so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(All { taken: Taken::default(), most: AtomicUsize::new(most) }))
    }

    /// The same bytes have another bound from now on.
    pub fn resize(&self, most: usize) {
        self.0.most.store(most, Ordering::Release);
    }

    /// One more who shares it.
    #[must_use]
    pub fn party(&self) -> Party {
        Party { taken: Arc::default(), pool: self.clone() }
    }
}

impl Party {
    /// Counts so many more, or fewer; whether it has more then than is left for others.
    fn add(&self, more: isize) -> bool {
        let All { taken, most } = &*self.pool.0;
        let own = self.taken.add(more);
        own > signed(most.load(Ordering::Acquire)).saturating_sub(taken.add(more))
    }
}

/// What is not counted in the pool, in bytes: a channel that has no more unread is never cut for what others do. A
/// negotiation that is not a flood has this much unread at a time (git's own rounds are below 64 KiB).
const SHARE: usize = 64 << 10;

/// The part of what a channel has unread that is the pool's.
fn pooled(unread: usize) -> usize {
    unread.saturating_sub(SHARE)
}

/// What a piece counts for. A tiny one takes as much memory as a small one.
fn cost(bytes: &[u8]) -> usize {
    bytes.len().max(PIECE)
}

/// The client sent more than it may: which bound it met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flooded {
    /// That of one channel, of what was sent in all.
    Sent,
    /// That of one channel, of what is unread.
    Unread,
    /// That of the pool.
    Crowded,
}

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

#[derive(Debug)]
struct Shared {
    unread: AtomicUsize,
    cut: CancellationToken,
    party: Party,
}

impl Shared {
    /// Counts more; what is unread then, and whether others have too little left for that. Each step of `unread` has its step in
    /// the pool, so that these add up in whatever order they are made; in between the pool may look emptier than empty.
    fn add(&self, bytes: usize) -> (usize, bool) {
        let before = self.unread.fetch_add(bytes, Ordering::AcqRel);
        let unread = before.saturating_add(bytes);
        (unread, self.party.add(signed(pooled(unread).saturating_sub(pooled(before)))))
    }

    fn take(&self, bytes: usize) {
        let before = self.unread.fetch_sub(bytes, Ordering::AcqRel);
        let less = pooled(before).saturating_sub(pooled(before.saturating_sub(bytes)));
        self.party.add(-signed(less));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.party.add(-signed(pooled(*self.unread.get_mut())));
    }
}

/// No memory holds more bytes than that.
fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

/// The end where git takes them.
#[derive(Debug)]
pub struct Inbound {
    receiver: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
}

/// A bounded way in, one of a party's.
#[must_use]
pub fn channel(budget: Budget, party: &Party) -> (Feed, Inbound) {
    let (sender, receiver) = mpsc::channel((budget.unread / PIECE).max(16));
    let party = party.clone();
    let shared = Arc::new(Shared { unread: AtomicUsize::new(0), cut: CancellationToken::new(), party });
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
        let (unread, crowded) = self.shared.add(cost(bytes));
        let met = if self.total > self.budget.total {
            Some(Flooded::Sent)
        } else if unread > self.budget.unread {
            Some(Flooded::Unread)
        } else if unread > SHARE && crowded {
            Some(Flooded::Crowded)
        } else {
            match self.sender.try_send(Bytes::copy_from_slice(bytes)) {
                Ok(()) => None,
                Err(mpsc::error::TrySendError::Full(_)) => Some(Flooded::Unread),
                Err(mpsc::error::TrySendError::Closed(bytes)) => {
                    self.shared.take(cost(&bytes));
                    None
                }
            }
        };
        let Some(met) = met else { return Ok(()) };
        // It is not kept.
        self.shared.take(cost(bytes));
        self.shared.cut.cancel();
        Err(met)
    }
}

/// Tells whether the client was cut off, to one who does not take its bytes.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// Whether the client was cut off for sending too much.
    #[must_use]
    pub fn flooded(&self) -> bool {
        self.0.cut.is_cancelled()
    }

    /// Waits until it is.
    pub async fn cut(&self) {
        self.0.cut.cancelled().await;
    }
}

/// What nobody takes any more is thrown away, and counts for nobody: the other end may be there for as long as the connection.
impl Drop for Inbound {
    fn drop(&mut self) {
        self.receiver.close();
        while let Ok(bytes) = self.receiver.try_recv() {
            self.shared.take(cost(&bytes));
        }
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
        self.shared.take(cost(&bytes));
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
