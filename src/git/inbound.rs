//! What a client sends, on its way to git: bounded in what may wait unread and in all.
//!
//! The session loop of the SSH library must never wait for a consumer (it would stop reading the messages that let our own
//! answers out), and it reopens the client's window on receipt. So bytes are taken in without waiting, and a client that
//! sends more than a negotiation can need is cut off instead. What all of them have unread is bounded too, by a [`Pool`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

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

/// What all clients together may have unread, beyond a share that each channel has to itself. Nobody may have more of it than is
/// left for the others: one alone half, two a third each, so that one who takes all that may be had does not have others cut. Cheap
/// to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Below zero for a moment, when what is taken out is counted before what came in.
    taken: Arc<AtomicIsize>,
    most: usize,
}

impl Pool {
    /// A pool of so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }
}

impl Default for Pool {
    /// As much as one client may have, and as much again for the others.
    fn default() -> Self {
        Self::new(2 * Budget::default().unread)
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

#[derive(Debug)]
struct Shared {
    unread: AtomicUsize,
    flooded: AtomicBool,
    pool: Pool,
}

impl Shared {
    /// Counts more; what is unread then, here and in the pool. Each step of `unread` has its step in the pool, so that these
    /// add up in whatever order they are made; in between the pool may look emptier than empty.
    fn add(&self, bytes: usize) -> (usize, isize) {
        let before = self.unread.fetch_add(bytes, Ordering::AcqRel);
        let unread = before.saturating_add(bytes);
        let more = signed(pooled(unread).saturating_sub(pooled(before)));
        (unread, self.pool.taken.fetch_add(more, Ordering::AcqRel).saturating_add(more))
    }

    fn take(&self, bytes: usize) {
        let before = self.unread.fetch_sub(bytes, Ordering::AcqRel);
        let less = pooled(before).saturating_sub(pooled(before.saturating_sub(bytes)));
        self.pool.taken.fetch_sub(signed(less), Ordering::AcqRel);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.pool.taken.fetch_sub(signed(pooled(*self.unread.get_mut())), Ordering::AcqRel);
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

/// A bounded way in, of those that share a pool.
#[must_use]
pub fn channel(budget: Budget, pool: &Pool) -> (Feed, Inbound) {
    let (sender, receiver) = mpsc::channel((budget.unread / PIECE).max(16));
    let pool = pool.clone();
    let shared = Arc::new(Shared { unread: AtomicUsize::new(0), flooded: AtomicBool::new(false), pool });
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
        let (unread, taken) = self.shared.add(cost(bytes));
        let left = signed(self.shared.pool.most).saturating_sub(taken);
        let crowded = unread > SHARE && signed(pooled(unread)) > left;
        let full = if unread > self.budget.unread || self.total > self.budget.total || crowded {
            true
        } else {
            match self.sender.try_send(Bytes::copy_from_slice(bytes)) {
                Ok(()) => false,
                Err(mpsc::error::TrySendError::Full(_)) => true,
                Err(mpsc::error::TrySendError::Closed(bytes)) => {
                    self.shared.take(cost(&bytes));
                    false
                }
            }
        };
        if full {
            // It is not kept.
            self.shared.take(cost(bytes));
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
        let (mut feed, mut inbound) = channel(SMALL, &Pool::default());
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
        let (mut feed, inbound) = channel(SMALL, &Pool::default());
        feed.push(&[0; 8192]).unwrap();
        assert_eq!(feed.push(&[0]), Err(Flooded));
        assert!(inbound.flooded());
    }

    #[tokio::test]
    async fn tiny_pieces_are_bounded_in_number() {
        let (mut feed, _inbound) = channel(SMALL, &Pool::default());
        let taken = (0..10_000).take_while(|_| feed.push(&[0]).is_ok()).count();
        assert_eq!(taken, SMALL.unread / PIECE);
    }

    #[tokio::test]
    async fn the_total_is_bounded_however_fast_git_reads() {
        let (mut feed, mut inbound) = channel(SMALL, &Pool::default());
        for _ in 0..20 {
            feed.push(&[0; 1000]).unwrap();
            inbound.next().await.unwrap();
        }
        assert_eq!(feed.push(&[0]), Err(Flooded));
    }

    /// Those who have much unread are cut when all have too much; who has little is not, and what was read or given up is free.
    #[tokio::test]
    async fn what_all_have_unread_is_bounded() {
        let (large, pool) = (Budget::default(), Pool::new(1 << 20));
        let piece = [0; 32 << 10];
        let mut ways: Vec<_> = (0..8).map(|_| channel(large, &pool)).collect();
        let mut cut = 0;
        for _ in 0..32 {
            for (feed, inbound) in &mut ways {
                if !inbound.flooded() && feed.push(&piece).is_err() {
                    cut += 1;
                }
            }
        }
        assert_eq!(cut, 8, "8 MiB do not go into one");
        assert!(pool.taken.load(Ordering::Acquire) <= signed((1 << 20) + 8 * piece.len()));
        let (mut feed, mut inbound) = channel(large, &pool);
        let took = (0..32).take_while(|_| feed.push(&piece).is_ok()).count();
        assert!((2..8).contains(&took), "{took} pieces: its share, and what little is left");
        while inbound.receiver.try_recv().is_ok() {}
        drop((feed, inbound, ways));
        assert_eq!(pool.taken.load(Ordering::Acquire), 0);
        let (mut feed, mut inbound) = channel(large, &pool);
        for _ in 0..100 {
            feed.push(&piece).unwrap();
            feed.push(&piece).unwrap();
            feed.push(&piece).unwrap();
            for _ in 0..3 {
                inbound.next().await.unwrap();
            }
        }
        assert_eq!(pool.taken.load(Ordering::Acquire), 0);
    }

    /// As OpenSSH sends them. None is read before the last is here, which is what a git on a slow disk comes to.
    #[tokio::test]
    async fn the_wants_of_a_large_mirror_fit() {
        let (mut feed, _inbound) = channel(Budget::default(), &Pool::default());
        let wants = format!("0032want {:040}\n", 0).repeat(600_000);
        assert!(wants.as_bytes().chunks(32 << 10).all(|piece| feed.push(piece).is_ok()));
    }

    #[tokio::test]
    async fn who_takes_all_that_there_is_leaves_half_of_it() {
        let (greedy, pool) = (Budget { unread: usize::MAX >> 20, total: usize::MAX }, Pool::new(1 << 20));
        let (mut feed, inbound) = channel(greedy, &pool);
        let took = (0..64).take_while(|_| feed.push(&[0; 32 << 10]).is_ok()).count();
        assert!((15..=18).contains(&took) && inbound.flooded(), "{took} pieces, half a MiB and a share");
        let (mut other, _inbound) = channel(greedy, &pool);
        for _ in 0..6 {
            assert_eq!(other.push(&[0; 32 << 10]), Ok(()), "what others have done is not its fault");
        }
    }

    /// The other end stays for as long as the connection.
    #[tokio::test]
    async fn what_is_thrown_away_counts_for_nobody() {
        let pool = Pool::new(1 << 20);
        let (mut feed, mut inbound) = channel(Budget::default(), &pool);
        for _ in 0..16 {
            feed.push(&[7; 32 * 1024]).unwrap();
        }
        inbound.next().await.unwrap();
        assert!(pool.taken.load(Ordering::Acquire) > 0);
        drop(inbound);
        assert_eq!(pool.taken.load(Ordering::Acquire), 0);
        feed.push(&[7; 128 * 1024]).unwrap();
        assert_eq!(pool.taken.load(Ordering::Acquire), 0);
    }

    /// Two threads count in two steps each: in between the pool may look emptier than empty, and nobody is cut for that.
    #[test]
    fn who_takes_while_another_gives_cuts_nobody() {
        let pool = Pool::new(1 << 20);
        let (mut feed, mut inbound) = channel(Budget { unread: 1 << 20, total: usize::MAX }, &pool);
        let git = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { while inbound.next().await.is_some() {} });
        });
        for n in 0..300_000 {
            // Around the share, where each step counts in the pool.
            while feed.shared.unread.load(Ordering::Acquire) > 2 * SHARE {
                std::thread::yield_now();
            }
            assert_eq!(feed.push(&[7; 4096]), Ok(()), "piece {n}");
        }
        drop(feed);
        git.join().unwrap();
        assert_eq!(pool.taken.load(Ordering::Acquire), 0);
    }

    #[test]
    fn after_the_end_bytes_are_dropped() {
        let (mut feed, inbound) = channel(SMALL, &Pool::default());
        drop(inbound);
        for _ in 0..10 {
            assert_eq!(feed.push(&[0; 8192]), Ok(()), "nobody counts what nobody reads");
        }
    }
}
