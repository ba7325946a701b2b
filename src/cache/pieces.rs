//! The part of an entry that is in memory.

use bytes::Bytes;

use super::share::Share;

/// Pieces one after the other. What they have taken of the memory is what they are long.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Each with the offset of its first byte.
    list: Vec<(u64, Bytes)>,
    room: Share,
}

impl Pieces {
    /// None yet.
    pub(super) fn new(nothing: Share) -> Self {
        Self { list: Vec::new(), room: nothing }
    }

    /// Bytes of all of them.
    pub(super) fn length(&self) -> u64 {
        self.room.bytes()
    }

    /// Adds one that has at least a byte, for which so much room was taken.
    pub(super) fn push(&mut self, piece: Bytes, room: Share) {
        self.list.push((self.length(), piece));
        self.room.join(room);
    }

    /// What there is from this offset to the end of its piece. Readers take whole pieces and so ask for beginnings; but nothing
    /// rests on that. An entry may have thousands of pieces and as many readers, so nobody walks along them.
    pub(super) fn at(&self, offset: u64) -> Option<Bytes> {
        let (start, piece) = self.list.get(self.list.partition_point(|(start, _)| *start <= offset).checked_sub(1)?)?;
        let rest = piece.get(usize::try_from(offset - start).ok()?..)?;
        (!rest.is_empty()).then(|| piece.slice_ref(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::share::Bound;

    #[test]
    fn every_offset_is_found() {
        let bound = Bound::new(100);
        let mut pieces = Pieces::new(bound.nothing());
        assert_eq!(pieces.at(0), None);
        for piece in ["a", "bcd", "ef"] {
            pieces.push(Bytes::from_static(piece.as_bytes()), bound.take(piece.len() as u64).unwrap());
        }
        let found: Vec<_> = (0..7).map(|offset| pieces.at(offset)).collect();
        let expected = ["a", "bcd", "cd", "d", "ef", "f"].map(|text| Some(Bytes::from_static(text.as_bytes())));
        assert_eq!((&found[..6], &found[6]), (expected.as_slice(), &None));
        assert_eq!((pieces.length(), bound.taken()), (6, 6));
        drop(pieces);
        assert_eq!(bound.taken(), 0);
    }
}
