//! Reading a journal from its start: which entries are in it, and how it ends.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::entry::{BASE_START, BaseLine, Digester, Hash, Link};
use super::frame::{self, FRAME_HEAD, HEADER, Header, MARK, Start};

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
    /// Entries are missing at its end that were acknowledged.
    #[error(
        "the journal ends with entry {seq}, but entry {known} was acknowledged: its end is lost. Restore the registry from a \
         backup with `pullgate restore`; or, to go on without the lost changes, `pullgate restore --force` this journal itself"
    )]
    Short {
        /// The last entry that is there.
        seq: u64,
        /// The last one that was.
        known: u64,
    },
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

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of a snapshot.
    Piece,
    /// An entry.
    Entry,
}

/// A line on the way past: its place in the chain is checked, what it says is not.
pub(crate) struct Passing<'a> {
    pub(crate) kind: Kind,
    /// Where its frame starts, in bytes.
    pub(crate) offset: u64,
    pub(crate) seq: u64,
    /// The JSON.
    pub(crate) line: &'a [u8],
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
    /// The version in the header.
    pub(crate) version: u32,
    /// How it starts.
    pub(crate) start: Start,
    /// The entry up to which all is in a snapshot at the start; 0 when there is none.
    pub(crate) base: u64,
    /// The byte after the snapshot, or after the header.
    pub(crate) base_end: u64,
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
    let (version, start) = read_header(&mut source, length)?;
    let offset = HEADER as u64;
    let mut end =
        End { seq: 0, hash: Hash::default(), offset, length, torn: false, version, start, base: 0, base_end: offset };
    let mut snapshot = (start == Start::Snapshot).then(Digester::default);
    let mut payload = Vec::new();
    // Where a transaction of several entries began that is not whole yet.
    let mut begun: Option<End> = None;
    while frame_at(&mut source, end.offset, length, &mut payload)? {
        let before = end;
        let mut more = false;
        for line in payload.split(|byte| *byte == b'\n') {
            snapshot = match snapshot.take() {
                Some(digester) => piece(line, digester, &mut end, &mut visit)?,
                None if more => return Err(not_alone(&end)),
                None => {
                    more = entry(line, &mut end, &mut visit)?;
                    None
                }
            };
        }
        if more && before.seq + 1 != end.seq {
            return Err(not_alone(&end));
        }
        begun = more.then(|| begun.unwrap_or(before));
        end.offset += (FRAME_HEAD + payload.len()) as u64;
        if snapshot.is_none() && end.seq == end.base {
            end.base_end = end.offset;
        }
    }
    let rest = survey(&mut source, end.offset, length, &mut payload)?;
    if let Some(offset) = rest.frame {
        let what = format!("these bytes are no entry, but an entry follows at byte {offset}, so they were one");
        return Err(Fault::Damaged { offset: end.offset, seq: end.seq, what });
    }
    // A snapshot gets its name only when all of it is there.
    if snapshot.is_some() {
        let what = "the snapshot at the start is not whole".to_owned();
        return Err(Fault::Damaged { offset: end.offset, seq: end.seq, what });
    }
    end.torn = rest.written;
    // What was never finished was never acknowledged: it is left out, as a torn write is.
    Ok(begun.map_or(end, |begun| End { torn: true, ..begun }))
}

/// A part of a transaction has a frame of its own, so that an unfinished one can be cut off between two frames.
fn not_alone(end: &End) -> Fault {
    let what = "a part of a transaction shares its frame".to_owned();
    Fault::Damaged { offset: end.offset, seq: end.seq, what }
}

/// Goes once more over the frames of a journal from one offset to another, of which [`walk`] found that they are good.
pub(crate) fn again<R: Read + Seek>(
    source: R,
    (from, to): (u64, u64),
    mut visit: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut source = BufReader::with_capacity(WINDOW, source);
    source.seek(SeekFrom::Start(from))?;
    let (mut at, mut payload) = (from, Vec::new());
    while at < to {
        if !frame_at(&mut source, at, to, &mut payload)? {
            return Err(Fault::Io(io::Error::other("the journal changed while it was read")));
        }
        payload.split(|byte| *byte == b'\n').try_for_each(&mut visit)?;
        at += (FRAME_HEAD + payload.len()) as u64;
    }
    Ok(())
}

/// A line of a snapshot; `None` comes back when it was the last.
fn piece(
    line: &[u8],
    mut digester: Digester,
    end: &mut End,
    visit: &mut impl FnMut(&Passing<'_>) -> Result<(), Fault>,
) -> Result<Option<Digester>, Fault> {
    if !line.starts_with(BASE_START) {
        visit(&Passing { kind: Kind::Piece, offset: end.offset, seq: 0, line })?;
        digester.line(line);
        return Ok(Some(digester));
    }
    let damaged = |what: String| Fault::Damaged { offset: end.offset, seq: 0, what };
    let BaseLine { base } =
        serde_json::from_slice(line).map_err(|error| damaged(format!("no end of a snapshot: {error}")))?;
    if base.pieces != digester.pieces || base.digest != digester.digest() {
        return Err(damaged("the snapshot at the start is not what was written".to_owned()));
    }
    (end.seq, end.hash, end.base) = (base.seq, base.hash, base.seq);
    Ok(None)
}

/// An entry: the next in the chain. Says whether more of its transaction follows.
fn entry(line: &[u8], end: &mut End, visit: &mut impl FnMut(&Passing<'_>) -> Result<(), Fault>) -> Result<bool, Fault> {
    let damaged = |what: String| Fault::Damaged { offset: end.offset, seq: end.seq, what };
    let link = Link::read(line).map_err(|error| damaged(format!("no entry: {error}")))?;
    let next = end.seq + 1;
    if link.seq != next {
        return Err(damaged(format!("entry {next} should follow, entry {} does", link.seq)));
    }
    if link.prev != end.hash {
        return Err(damaged(format!("entry {next} does not follow from entry {}: the chain is broken", end.seq)));
    }
    visit(&Passing { kind: Kind::Entry, offset: end.offset, seq: next, line })?;
    end.seq = next;
    end.hash = Hash::of(line);
    Ok(link.more)
}

fn read_header<R: Read>(source: &mut R, length: u64) -> Result<(u32, Start), Fault> {
    let mut bytes = [0; HEADER];
    let damaged = || Fault::Damaged { offset: 0, seq: 0, what: "the file does not start as a journal does".to_owned() };
    if length < HEADER as u64 {
        return Err(damaged());
    }
    source.read_exact(&mut bytes)?;
    match frame::read_header(&bytes) {
        Header::Version(found, _) if found > frame::VERSION => Err(Fault::Newer(found)),
        Header::Version(version @ frame::OLDEST..=frame::VERSION, start) => Ok((version, start)),
        Header::Version(_, _) | Header::Damaged => Err(damaged()),
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
