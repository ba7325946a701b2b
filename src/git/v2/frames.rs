//! Where pkt-lines end: in what a client sends, and in what git answers. Pure; what is not a pkt-line is git's to judge.

use bytes::{Bytes, BytesMut};

use crate::git::pkt_line;

/// What four digits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
    /// A line of this many bytes, its head counted.
    Line(usize),
}

/// The head of a pkt-line; `None` when it is none that either side may send.
fn head(digits: [u8; 4]) -> Option<Head> {
    match pkt_line::length(&digits)? {
        0 => Some(Head::Flush),
        1 => Some(Head::Delimiter),
        length => Some(Head::Line(length)),
    }
}

fn head_at(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

/// The longest request that is looked at as a whole, in bytes. A longer one (tens of thousands of haves) goes to git as it
/// comes.
pub const LONGEST_REQUEST: usize = 256 * 1024;

/// A part of what a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// One whole request, its flush included.
    Request(Bytes),
    /// For git, whatever it is; with the number of requests that end in it.
    Pass(Bytes, u64),
}

/// Cuts what a client sends into requests. Every byte comes out again, in its order.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: BytesMut,
    /// How far the buffer is known to be whole lines of one request.
    scanned: usize,
    /// The request is too long to be looked at.
    long: bool,
    /// What comes are not pkt-lines.
    broken: bool,
}

impl Splitter {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece that is complete.
    pub fn next_piece(&mut self) -> Option<Piece> {
        while !self.broken {
            let Some(digits) = head_at(&self.buffer, self.scanned) else { break };
            match head(digits) {
                None => self.broken = true,
                Some(Head::Flush) => {
                    let empty = self.scanned == 0 && !self.long;
                    let bytes = self.buffer.split_to(self.scanned + 4).freeze();
                    self.scanned = 0;
                    return Some(match (std::mem::take(&mut self.long), empty) {
                        // A flush alone is the client's farewell, which has no answer.
                        (_, true) => Piece::Pass(bytes, 0),
                        (true, false) => Piece::Pass(bytes, 1),
                        (false, false) => Piece::Request(bytes),
                    });
                }
                Some(Head::Delimiter) => self.scanned += 4,
                Some(Head::Line(length)) if self.scanned + length <= self.buffer.len() => self.scanned += length,
                Some(Head::Line(_)) => break,
            }
            self.long |= self.scanned > LONGEST_REQUEST;
        }
        if self.broken {
            return self.rest();
        }
        if self.long && self.scanned > 0 {
            let bytes = self.buffer.split_to(std::mem::take(&mut self.scanned)).freeze();
            return Some(Piece::Pass(bytes, 0));
        }
        None
    }

    /// Whether a part of a request went out already whose end is still to come.
    pub fn is_within(&self) -> bool {
        self.long
    }

    /// What is left when no more comes.
    pub fn rest(&mut self) -> Option<Piece> {
        self.scanned = 0;
        (!self.buffer.is_empty()).then(|| Piece::Pass(self.buffer.split().freeze(), 0))
    }
}

/// Counts the flushes in git's answers, each of which ends one.
#[derive(Debug, Default)]
pub(super) struct Answers {
    digits: Vec<u8>,
    skip: usize,
    ended: u64,
    broken: bool,
}

impl Answers {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.broken {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(4 - self.digits.len()));
            self.digits.extend_from_slice(taken);
            bytes = rest;
            if let Some(digits) = head_at(&self.digits, 0) {
                self.digits.clear();
                match head(digits) {
                    Some(Head::Flush) => self.ended += 1,
                    Some(Head::Delimiter) => {}
                    Some(Head::Line(length)) => self.skip = length - 4,
                    None => self.broken = true,
                }
            }
        }
    }

    /// Whether what git says are not pkt-lines, so that nobody knows where its answers end.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// How many answers have ended; `None` when this is not known.
    pub(super) fn ended(&self) -> Option<u64> {
        (!self.broken && self.skip == 0 && self.digits.is_empty()).then_some(self.ended)
    }
}

/// One answer on its way from git: whole lines, with the last flush held back.
#[derive(Debug, Default)]
pub(super) struct OneAnswer {
    buffer: BytesMut,
    flushed: bool,
    broke_off: bool,
}

/// The first byte of a line that says why a pack breaks off (gitprotocol-pack, side band 3).
const BROKE_OFF: u8 = 3;

/// What came from git is not one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotAnAnswer;

impl OneAnswer {
    /// Where git's bytes are to be put.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The whole lines that have come, without the flush that ends the answer. Where git itself says that its pack breaks off,
    /// that is the end: another answer may take this one's place, and if none does, clients are told in words of ours.
    pub(super) fn lines(&mut self) -> Result<Bytes, NotAnAnswer> {
        if self.broke_off {
            self.buffer.clear();
        }
        let mut end = 0;
        while let Some(digits) = head_at(&self.buffer, end) {
            if self.flushed {
                return Err(NotAnAnswer);
            }
            match head(digits).ok_or(NotAnAnswer)? {
                Head::Flush => {
                    self.flushed = true;
                    let lines = self.buffer.split_to(end).freeze();
                    let more = self.buffer.len() > 4;
                    self.buffer.clear();
                    return if more { Err(NotAnAnswer) } else { Ok(lines) };
                }
                Head::Delimiter => end += 4,
                Head::Line(length) if end + length <= self.buffer.len() => {
                    if self.buffer.get(end + 4) == Some(&BROKE_OFF) {
                        self.broke_off = true;
                        let lines = self.buffer.split_to(end).freeze();
                        self.buffer.clear();
                        return Ok(lines);
                    }
                    end += length;
                }
                Head::Line(_) => break,
            }
        }
        Ok(self.buffer.split_to(end).freeze())
    }

    /// Whether the answer has come to its end, and to nothing after it.
    pub(super) fn is_whole(&self) -> bool {
        self.flushed && !self.broke_off && self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &[u8]) -> Vec<u8> {
        let mut line = format!("{:04x}", text.len() + 4).into_bytes();
        line.extend_from_slice(text);
        line
    }

    fn pieces(stream: &[u8], cuts: &[usize]) -> Vec<Piece> {
        let (mut splitter, mut rest, mut cuts) = (Splitter::default(), stream, cuts.iter().cycle());
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (some, more) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            splitter.push(some);
            pieces.extend(std::iter::from_fn(|| splitter.next_piece()));
            rest = more;
        }
        pieces.extend(splitter.rest());
        pieces
    }

    fn bytes(pieces: &[Piece]) -> Vec<u8> {
        pieces
            .iter()
            .flat_map(|piece| match piece {
                Piece::Request(b) | Piece::Pass(b, _) => b.to_vec(),
            })
            .collect()
    }

    #[test]
    fn requests_and_the_farewell_are_told_apart() {
        let request = [line(b"command=ls-refs\n"), b"0001".to_vec(), line(b"peel\n"), b"0000".to_vec()].concat();
        let stream = [request.as_slice(), request.as_slice(), b"0000"].concat();
        let expected = vec![
            Piece::Request(request.clone().into()),
            Piece::Request(request.into()),
            Piece::Pass(Bytes::from_static(b"0000"), 0),
        ];
        assert_eq!(pieces(&stream, &[1]), expected);
        assert_eq!(pieces(&stream, &[1000]), expected);
    }

    #[test]
    fn a_long_request_goes_on_as_it_comes() {
        let mut stream = Vec::new();
        for _ in 0..10_000 {
            stream.extend(line(b"have 0123456789012345678901234567890123456789\n"));
        }
        stream.extend(b"0000");
        stream.extend(line(b"command=fetch"));
        stream.extend(b"0000");
        let pieces = pieces(&stream, &[4096]);
        assert_eq!(bytes(&pieces), stream);
        assert_eq!(pieces.iter().filter(|piece| matches!(piece, Piece::Pass(_, 1))).count(), 1);
        assert!(matches!(pieces.last(), Some(Piece::Request(last)) if last.len() == 21), "{:?}", pieces.last());
        assert!(matches!(&pieces[0], Piece::Pass(first, 0) if first.len() > LONGEST_REQUEST));
    }

    #[test]
    fn what_is_no_line_goes_to_git() {
        for bad in [&b"0003"[..], b"0002", b"zzzz", b"fff1", b"GET / HTTP/1.0\r\n", b"00"] {
            assert_eq!(pieces(bad, &[1000]), [Piece::Pass(Bytes::copy_from_slice(bad), 0)]);
        }
    }

    #[test]
    fn what_git_says_of_its_own_end_is_not_passed_on() {
        let (before, last) = (line(b"\x01PACK"), line(b"\x03aborting"));
        for after in [&b""[..], b"0000", b"0000zzzz"] {
            let stream = [before.as_slice(), &last, after].concat();
            for cut in [1, 3, 1000] {
                let (mut answer, mut came) = (OneAnswer::default(), Vec::new());
                for piece in stream.chunks(cut) {
                    answer.buffer().extend_from_slice(piece);
                    came.extend_from_slice(&answer.lines().unwrap());
                }
                assert!(came == before && !answer.is_whole());
            }
        }
    }

    proptest! {
        #[test]
        fn every_byte_comes_out_in_order(
            stream in prop::collection::vec(prop_oneof![
                Just(b"0000".to_vec()), Just(b"0001".to_vec()), prop::collection::vec(any::<u8>(), 0..20),
                prop::collection::vec(any::<u8>(), 0..60).prop_map(|text| line(&text)),
            ], 0..20),
            cuts in prop::collection::vec(1usize..40, 1..10),
        ) {
            let stream = stream.concat();
            prop_assert_eq!(bytes(&pieces(&stream, &cuts)), stream);
        }

        #[test]
        fn answers_are_counted_however_they_are_cut(
            lines in prop::collection::vec(prop_oneof![
                Just(b"0000".to_vec()), Just(b"0001".to_vec()), prop::collection::vec(any::<u8>(), 0..60).prop_map(|text| line(&text)),
            ], 0..20),
            cuts in prop::collection::vec(1usize..40, 1..10),
        ) {
            let flushes = lines.iter().filter(|line| line.as_slice() == b"0000").count();
            let (stream, mut answers, mut cuts) = (lines.concat(), Answers::default(), cuts.iter().cycle());
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let (some, more) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                answers.feed(some);
                rest = more;
            }
            prop_assert_eq!(answers.ended(), Some(flushes as u64));
        }

        #[test]
        fn an_answer_is_whole_with_its_flush_and_nothing_after(
            text in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..9), cut in 1usize..30,
            after in prop::collection::vec(any::<u8>(), 0..6),
        ) {
            // What begins like a last word is none of these.
            let text = text.iter().filter(|text| text.first() != Some(&BROKE_OFF));
            let lines: Vec<u8> = text.flat_map(|text| line(text)).collect();
            let stream = [lines.as_slice(), b"0000", &after].concat();
            let (mut answer, mut came, mut fault) = (OneAnswer::default(), Vec::new(), false);
            for piece in stream.chunks(cut) {
                answer.buffer().extend_from_slice(piece);
                match answer.lines() {
                    Ok(bytes) => came.extend_from_slice(&bytes),
                    Err(NotAnAnswer) => { fault = true; break }
                }
            }
            prop_assert_eq!(!fault && answer.is_whole(), after.is_empty());
            prop_assert!(!after.is_empty() || came == lines);
        }
    }
}
