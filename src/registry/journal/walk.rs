//! Reading a journal from its start: which entries are in it, and how it ends.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::entry::{Hash, Link};
use super::frame::{self, FRAME_HEAD, HEADER, Header, MARK};

/// How much is read at a time while the rest of a file is searched, in bytes.
const WINDOW: usize = 1024 * 1024;

/// Why a journal is not read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The disk did not say what is in the file.
    #[error("the journal cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is of a newer version.
    #[error("the journal has version {0}, this program reads version {known}: start a newer pullgate", known = frame::VERSION)]
    Newer(u32),
    /// It is damaged in a way that no torn write explains.
    #[error("the journal is damaged at byte {offset}, after entry {seq}: {what}; restore the registry from a backup")]
    Damaged {
        /// Where, in bytes from the start.
        offset: u64,
        /// The last entry before it that is good.
        seq: u64,
        /// What is wrong.
        what: String,
    },
}

/// An entry on the way past: its place in the chain is checked, what it says is not.
pub(crate) struct Passing<'a> {
    /// Where its frame starts, in bytes.
    pub(crate) offset: u64,
    pub(crate) seq: u64,
    /// The JSON.
    pub(crate) line: &'a [u8],
}

impl Passing<'_> {
    /// A fault of this entry.
    pub(crate) fn damaged(&self, what: impl Into<String>) -> Fault {
        Fault::Damaged { offset: self.offset, seq: self.seq.saturating_sub(1), what: what.into() }
    }
}

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// The last entry; 0 when there is none.
    pub(crate) seq: u64,
    /// Its hash.
    pub(crate) hash: Hash,
    /// The byte after the last good frame.
    pub(crate) offset: u64,
    /// The file's length, in bytes.
    pub(crate) length: u64,
    /// Whether anything but zeros follows the last good frame: a write that was not finished.
    pub(crate) torn: bool,
}

/// Walks over the whole journal: every frame, every checksum, the whole chain.
///
/// Zeros at the end are space that was set aside. An invalid frame with nothing valid behind it is a torn write, and the
/// walk ends before it. An invalid one with a valid one behind it is damage: the writer never starts a frame before the one
/// before it is synced.
pub(crate) fn walk<R: Read + Seek>(
    source: R,
    mut visit: impl FnMut(&Passing<'_>) -> Result<(), Fault>,
) -> Result<End, Fault> {
    let mut source = BufReader::with_capacity(WINDOW, source);
    let length = source.seek(SeekFrom::End(0))?;
    source.rewind()?;
    check_header(&mut source, length)?;
    let mut end = End { seq: 0, hash: Hash::default(), offset: HEADER as u64, length, torn: false };
    let mut payload = Vec::new();
    while frame_at(&mut source, end.offset, length, &mut payload)? {
        for line in payload.split(|byte| *byte == b'\n') {
            let damaged = |what: String| Fault::Damaged { offset: end.offset, seq: end.seq, what };
            let link: Link = serde_json::from_slice(line).map_err(|error| damaged(format!("no entry: {error}")))?;
            let next = end.seq + 1;
            if link.seq != next {
                return Err(damaged(format!("entry {next} should follow, entry {} does", link.seq)));
            }
            if link.prev != end.hash {
                return Err(damaged(format!(
                    "entry {next} does not follow from entry {}: the chain is broken",
                    end.seq
                )));
            }
            visit(&Passing { offset: end.offset, seq: next, line })?;
            end.seq = next;
            end.hash = Hash::of(line);
        }
        end.offset += (FRAME_HEAD + payload.len()) as u64;
    }
    let rest = survey(&mut source, end.offset, length, &mut payload)?;
    if let Some(offset) = rest.frame {
        let what = format!("these bytes are no entry, but an entry follows at byte {offset}, so they were one");
        return Err(Fault::Damaged { offset: end.offset, seq: end.seq, what });
    }
    end.torn = rest.written;
    Ok(end)
}

fn check_header<R: Read>(source: &mut R, length: u64) -> Result<(), Fault> {
    let mut bytes = [0; HEADER];
    let damaged = || Fault::Damaged { offset: 0, seq: 0, what: "the file does not start as a journal does".to_owned() };
    if length < HEADER as u64 {
        return Err(damaged());
    }
    source.read_exact(&mut bytes)?;
    match frame::read_header(&bytes) {
        Header::Version(frame::OLDEST..=frame::VERSION) => Ok(()),
        Header::Version(found) if found > frame::VERSION => Err(Fault::Newer(found)),
        Header::Version(_) | Header::Damaged => Err(damaged()),
    }
}

/// Reads the frame at the source's position, which is `offset`. `false` when there is no valid one.
fn frame_at<R: Read>(source: &mut R, offset: u64, length: u64, payload: &mut Vec<u8>) -> io::Result<bool> {
    let mut head = [0; FRAME_HEAD];
    let room = length.saturating_sub(offset).saturating_sub(FRAME_HEAD as u64);
    if room == 0 {
        return Ok(false);
    }
    source.read_exact(&mut head)?;
    let Some((size, crc)) = frame::read_head(&head) else { return Ok(false) };
    // Looked at before memory is taken: the length may be anything.
    if size as u64 > room {
        return Ok(false);
    }
    payload.resize(size, 0);
    source.read_exact(payload)?;
    Ok(frame::payload_checksum(payload) == Some(crc))
}

/// What lies behind the last good frame.
#[derive(Default)]
struct Rest {
    /// Anything but zeros.
    written: bool,
    /// The first valid frame.
    frame: Option<u64>,
}

fn survey<R: Read + Seek>(source: &mut R, from: u64, length: u64, payload: &mut Vec<u8>) -> io::Result<Rest> {
    let mut rest = Rest::default();
    let mut at = from;
    let mut window = Vec::new();
    while at < length {
        source.seek(SeekFrom::Start(at))?;
        window.clear();
        source.by_ref().take(WINDOW as u64).read_to_end(&mut window)?;
        rest.written |= window.iter().any(|byte| *byte != 0);
        let marks = window.windows(MARK.len()).enumerate().filter(|(_, bytes)| **bytes == MARK);
        for (place, _) in marks {
            let offset = at + place as u64;
            source.seek(SeekFrom::Start(offset))?;
            if frame_at(source, offset, length, payload)? {
                rest.frame = Some(offset);
                return Ok(rest);
            }
        }
        // A mark may lie across the border of two windows.
        at += window.len().saturating_sub(MARK.len() - 1).max(1) as u64;
    }
    Ok(rest)
}
