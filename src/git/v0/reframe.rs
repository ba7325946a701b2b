//! An answer of version 2 to a clone, in the form that versions 0 and 1 give it. Pure.
//!
//! Version 2: `shallow-info`, shallow commits, delimiter (only where a depth was asked for); `packfile`, the pack in side bands,
//! flush. Versions 0 and 1: shallow commits, flush (only where a depth was asked for); then, after the client's `done`, `NAK`,
//! the pack in side bands, flush. The lines in between are the same (`upload-pack.c` writes them with the same functions).

use bytes::{Bytes, BytesMut};

use crate::git::pkt_line::{self, Line};

/// What a client that has nothing is told before its pack.
const NAK: &[u8] = b"0008NAK\n";

/// A part of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The shallow commits, flush included; the client says `done` before it gets more.
    Shallow(Bytes),
    /// Some of what comes after its `done`.
    Pack(Bytes),
}

/// It is no such answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAnswer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Start,
    Shallow,
    BeforePack,
    Pack,
}

/// Takes an answer of version 2 piece by piece.
#[derive(Debug)]
pub struct Reframer {
    section: Section,
    /// What is not a whole line yet.
    buffer: BytesMut,
    shallow: BytesMut,
}

impl Reframer {
    /// `deepens`: whether a depth was asked for.
    #[must_use]
    pub fn new(deepens: bool) -> Self {
        let section = if deepens { Section::Start } else { Section::BeforePack };
        Self { section, buffer: BytesMut::new(), shallow: BytesMut::new() }
    }

    /// Takes a piece in.
    pub fn push(&mut self, piece: Bytes) -> Option<Part> {
        // The bulk of it goes through untouched.
        if self.section == Section::Pack && self.buffer.is_empty() {
            return (!piece.is_empty()).then_some(Part::Pack(piece));
        }
        self.buffer.extend_from_slice(&piece);
        None
    }

    /// The next part that can be given; `None` when more has to come first.
    ///
    /// # Errors
    /// [`NotAnAnswer`] when it is none, or breaks off.
    pub fn next_part(&mut self) -> Result<Option<Part>, NotAnAnswer> {
        loop {
            if self.section == Section::Pack {
                return Ok((!self.buffer.is_empty()).then(|| Part::Pack(self.buffer.split().freeze())));
            }
            let Some((line, more)) = pkt_line::split(&self.buffer) else {
                let is_none = self.buffer.len() >= 4 && pkt_line::length(&self.buffer).is_none();
                return if is_none { Err(NotAnAnswer) } else { Ok(None) };
            };
            let length = self.buffer.len() - more.len();
            let part = match (self.section, line) {
                (Section::Start, Line::Text(b"shallow-info\n")) => {
                    self.section = Section::Shallow;
                    None
                }
                (Section::Shallow, Line::Text(text)) if text.starts_with(b"shallow ") => {
                    self.shallow.extend_from_slice(self.buffer.get(..length).unwrap_or_default());
                    None
                }
                (Section::Shallow, Line::Delimiter) => {
                    self.section = Section::BeforePack;
                    self.shallow.extend_from_slice(b"0000");
                    Some(Part::Shallow(self.shallow.split().freeze()))
                }
                (Section::BeforePack, Line::Text(b"packfile\n")) => {
                    self.section = Section::Pack;
                    Some(Part::Pack(Bytes::from_static(NAK)))
                }
                _ => return Err(NotAnAnswer),
            };
            drop(self.buffer.split_to(length));
            if part.is_some() {
                return Ok(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0123456789012345678901234567890123456789";

    fn parts(answer: &[u8], deepens: bool, cut: usize) -> Result<(Vec<u8>, Vec<u8>), NotAnAnswer> {
        let mut reframer = Reframer::new(deepens);
        let (mut shallow, mut pack) = (Vec::new(), Vec::new());
        for piece in answer.chunks(cut) {
            let mut part = reframer.push(Bytes::copy_from_slice(piece));
            loop {
                match part {
                    Some(Part::Shallow(bytes)) => shallow.extend_from_slice(&bytes),
                    Some(Part::Pack(bytes)) => pack.extend_from_slice(&bytes),
                    None => {}
                }
                part = reframer.next_part()?;
                if part.is_none() {
                    break;
                }
            }
        }
        Ok((shallow, pack))
    }

    #[test]
    fn a_pack_keeps_its_frames() {
        let answer = b"000dpackfile\n000a\x01PACK\x020000";
        for cut in 1..=answer.len() {
            let (shallow, pack) = parts(answer, false, cut).unwrap();
            assert_eq!(
                (shallow.as_slice(), pack.as_slice()),
                (&b""[..], &b"0008NAK\n000a\x01PACK\x020000"[..]),
                "{cut}"
            );
        }
    }

    #[test]
    fn shallow_commits_come_first() {
        let line = format!("0034shallow {A}");
        for lines in [String::new(), line.clone(), line.repeat(2)] {
            let answer = format!("0011shallow-info\n{lines}0001000dpackfile\n0006\x01P0000");
            for cut in [1, 3, 1000] {
                let (shallow, pack) = parts(answer.as_bytes(), true, cut).unwrap();
                assert_eq!(String::from_utf8(shallow).unwrap(), format!("{lines}0000"));
                assert_eq!(pack, b"0008NAK\n0006\x01P0000");
            }
        }
    }

    #[test]
    fn another_answer_is_none() {
        for (answer, deepens) in [
            (&b"000dpackfile\n"[..], true),
            (b"0011shallow-info\n", false),
            (b"0011shallow-info\n0000", true),
            (b"0011shallow-info\n0006ab", true),
            (b"0014acknowledgments\n", false),
            (b"0008ERR ", false),
            (b"0000", false),
            (b"zzzz", false),
        ] {
            assert_eq!(parts(answer, deepens, 1000), Err(NotAnAnswer), "{:?}", String::from_utf8_lossy(answer));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(answer in prop::collection::vec(any::<u8>(), 0..100), deepens in any::<bool>(), cut in 1usize..40) {
            drop(parts(&answer, deepens, cut));
        }

        #[test]
        fn it_is_the_same_however_it_is_cut(pack in prop::collection::vec(any::<u8>(), 0..100), cut in 1usize..40) {
            let answer = [&b"000dpackfile\n"[..], &pack].concat();
            prop_assert_eq!(parts(&answer, false, cut).unwrap().1, [NAK, &pack].concat());
        }
    }
}
