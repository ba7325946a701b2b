//! Bytes that are taken from a bound, and come back to it by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes there may be of something.
#[derive(Debug)]
pub(super) struct Bound {
    most: u64,
    taken: Arc<AtomicU64>,
}

impl Bound {
    /// At most so many.
    pub(super) fn new(most: u64) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes so many; `None` when there are not so many left.
    pub(super) fn take(&self, bytes: u64) -> Option<Share> {
        let within = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).ok()?;
        Some(Share { bytes, of: Arc::clone(&self.taken) })
    }

    /// A share of it that others are joined to.
    pub(super) fn nothing(&self) -> Share {
        Share { bytes: 0, of: Arc::clone(&self.taken) }
    }
}

/// So many bytes of a [`Bound`]. They come back when it is dropped, so what was taken for something that then did not happen
/// does not stay away.
#[derive(Debug)]
pub(super) struct Share {
    bytes: u64,
    of: Arc<AtomicU64>,
}

impl Share {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes one of two of the same bound.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_once() {
        let bound = Bound::new(10);
        let mut all = bound.nothing();
        all.join(bound.take(6).unwrap());
        all.join(bound.take(4).unwrap());
        assert_eq!((all.bytes(), bound.taken()), (10, 10));
        assert!(bound.take(1).is_none() && bound.take(u64::MAX).is_none());
        drop(all);
        assert_eq!(bound.taken(), 0);
        assert!(Bound::new(0).take(1).is_none());
    }
}
