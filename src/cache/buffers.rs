//! Buffers that are read into again and again. A new one would have to be filled with zeros first, which under a clone storm
//! costs as much as reading what is kept.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Pieces of so many bytes and fewer are given as copies.
const FEW: usize = SIZE / 8;
/// The size of each, in bytes.
pub(super) const SIZE: usize = 256 * 1024;
/// How many are kept while nobody uses them: enough for those who read at the same moment.
const KEPT: usize = 16;

/// Where buffers wait for their next use. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers {
    free: Arc<Mutex<Vec<Box<[u8]>>>>,
}

impl Buffers {
    /// One to read into; what it holds is left over from its last use.
    pub(super) fn take(&self) -> Buffer {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: free.unwrap_or_else(|| vec![0; SIZE].into()), length: 0, home: self.clone() }
    }
}

/// One of them. It comes back when nobody has any of its bytes any more.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    length: usize,
    home: Buffers,
}

impl Buffer {
    /// The room for so many bytes, or all there is.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        let length = length.min(self.bytes.len());
        self.bytes.get_mut(..length).unwrap_or_default()
    }

    /// So many of its bytes, which were just written; the others are never shown. Few are copied, so that a slow reader of a few
    /// does not keep all of it.
    pub(super) fn filled(mut self, length: usize) -> Bytes {
        self.length = length.min(self.bytes.len());
        if self.length <= FEW { Bytes::copy_from_slice(self.as_ref()) } else { Bytes::from_owner(self) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_is_not_shown_again() {
        let buffers = Buffers::default();
        let mut first = buffers.take();
        first.room(6).copy_from_slice(b"secret");
        let shown = first.filled(FEW + 1);
        let part = shown.slice(1..3);
        drop(shown);
        assert_eq!(buffers.free.lock().unwrap().len(), 0, "a part of it is still held");
        assert_eq!(part, b"ec".as_slice());
        drop(part);
        assert_eq!(buffers.free.lock().unwrap().len(), 1);
        let mut second = buffers.take();
        second.room(2).copy_from_slice(b"ab");
        assert_eq!(second.filled(2), b"ab".as_slice());
        assert_eq!(buffers.take().filled(0), b"".as_slice());
        assert_eq!(buffers.free.lock().unwrap().len(), 1, "few bytes are copied");
    }

    #[test]
    fn a_storm_leaves_few_behind() {
        let buffers = Buffers::default();
        let all: Vec<Bytes> = (0..3 * KEPT).map(|_| buffers.take().filled(SIZE)).collect();
        assert!(all.iter().all(|bytes| bytes.len() == SIZE));
        drop(all);
        assert_eq!(buffers.free.lock().unwrap().len(), KEPT);
    }
}
