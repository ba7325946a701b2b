//! Lines of a file of any size, forwards and backwards, with bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt as _;

/// The longest line that is read, in bytes; the rest of a longer one is left out, and what is left is no record.
pub const MAX_LINE: usize = 1024 * 1024;
/// How much is read at a time, in bytes.
const BLOCK: usize = 64 * 1024;

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// 1 for the first.
    pub number: u64,
    /// The byte after it, its end included, counted from where reading began.
    pub end: u64,
    /// What it says, of at most [`MAX_LINE`] bytes.
    pub bytes: &'a [u8],
    /// Whether it has its end: the last one may just be written.
    pub whole: bool,
}

/// Lines from the first to the last.
#[derive(Debug)]
pub struct Forward<R> {
    source: BufReader<R>,
    line: Vec<u8>,
    number: u64,
    end: u64,
}

impl<R: Read> Forward<R> {
    /// Over a source at its position.
    pub fn new(source: R) -> Self {
        Self { source: BufReader::with_capacity(BLOCK, source), line: Vec::new(), number: 0, end: 0 }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut read = 0u64;
        let whole = loop {
            let piece = match self.source.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if piece.is_empty() {
                break false;
            }
            let (text, whole) = match memchr::memchr(b'\n', piece) {
                Some(at) => (piece.get(..at).unwrap_or_default(), true),
                None => (piece, false),
            };
            let room = MAX_LINE.saturating_sub(self.line.len()).min(text.len());
            self.line.extend_from_slice(text.get(..room).unwrap_or_default());
            let used = text.len() + usize::from(whole);
            read += used as u64;
            self.source.consume(used);
            if whole {
                break true;
            }
        };
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.end += read;
        Ok(Some(Line { number: self.number, end: self.end, bytes: &self.line, whole }))
    }
}

/// Lines from the last to the first of a file, up to a length that it had.
#[derive(Debug)]
pub struct Backward {
    file: File,
    /// What is not read yet lies before this byte.
    at: u64,
    /// What was read and not given out, from `at` on.
    held: Vec<u8>,
    /// Whether everything was given out.
    done: bool,
    /// Whether the next line is the last of the file, which may have no end.
    first: bool,
}

impl Backward {
    /// Over the first `length` bytes of a file.
    #[must_use]
    pub fn new(file: File, length: u64) -> Self {
        Self { file, at: length, held: Vec::new(), done: length == 0, first: true }
    }

    /// The line before those that were given out, without its end; `None` before the first. What follows the last end of a
    /// line is a line as well, if there is anything.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.done {
                return Ok(None);
            }
            if let Some(end) = memchr::memrchr(b'\n', &self.held) {
                let line = self.held.split_off(end + 1);
                self.held.truncate(end);
                let nothing_after_the_last_end = std::mem::take(&mut self.first) && line.is_empty();
                if nothing_after_the_last_end {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.at == 0 {
                self.done = true;
                return Ok(Some(std::mem::take(&mut self.held)));
            }
            let size = usize::try_from(self.at).unwrap_or(usize::MAX).min(BLOCK);
            let mut block = vec![0; size];
            self.at -= size as u64;
            self.file.read_exact_at(&mut block, self.at)?;
            // Of a line that is too long its beginning is kept, which is no record.
            let room = MAX_LINE.saturating_sub(block.len());
            self.held.truncate(room);
            block.extend_from_slice(&self.held);
            self.held = block;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn forward(text: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Forward::new(text);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            assert_eq!(line.number, all.len() as u64 + 1);
            all.push((line.bytes.to_vec(), line.whole));
        }
        all
    }

    fn backward(text: &[u8]) -> Vec<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let mut lines = Backward::new(file, text.len() as u64);
        std::iter::from_fn(|| lines.next_line().unwrap()).collect()
    }

    #[test]
    fn lines_longer_than_the_bound_are_cut_and_the_next_is_whole() {
        let mut text = vec![b'x'; 3 * MAX_LINE];
        text.extend_from_slice(b"\nnext\n");
        let lines = forward(&text);
        assert_eq!((lines[0].0.len(), lines[1].0.as_slice()), (MAX_LINE, b"next".as_slice()));
        let lines = backward(&text);
        assert_eq!(lines[0], b"next");
        assert!(lines.len() == 2 && lines[1].len() <= MAX_LINE);
    }

    proptest! {
        #[test]
        fn both_ways_say_what_split_says(text in "[a\n]{0,40}", blocks in 0usize..3) {
            let mut long = vec![b'b'; blocks * BLOCK];
            long.extend_from_slice(text.as_bytes());
            let mut expected: Vec<Vec<u8>> = long.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            let ends = long.iter().filter(|byte| **byte == b'\n').count();
            let there = forward(&long);
            prop_assert_eq!(there.iter().filter(|line| line.1).count(), ends);
            prop_assert_eq!(there.into_iter().map(|line| line.0).collect::<Vec<_>>(), expected.clone());
            expected.reverse();
            prop_assert_eq!(backward(&long), expected);
        }
    }
}
