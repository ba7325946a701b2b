//! The bytes of the journal: a header, then frames.
//!
//! ```text
//! header   magic "pgjrnl\r\n", or "pgsnap\r\n" when it starts with a snapshot | version u32 | crc32c of both u32
//! frame    mark f5 c0 9e ff | length of the payload u32 | crc32c of length and payload u32 | payload
//! ```
//!
//! Numbers are little-endian. A payload is UTF-8, in which the bytes of the mark never occur: what a person wrote into a
//! note cannot look like a frame.
//!
//! One frame is what one fdatasync makes durable, that is a whole batch of commits. A power cut may keep the later pages of
//! what was being written and lose the earlier ones; with a frame per commit that would look like corruption in the middle.

/// The header's length, in bytes.
pub(crate) const HEADER: usize = 16;
/// The length of what stands before a payload, in bytes.
pub(crate) const FRAME_HEAD: usize = 12;
/// What every frame starts with.
pub(crate) const MARK: [u8; 4] = [0xf5, 0xc0, 0x9e, 0xff];
/// The version of the format that this program writes. A new kind of change, or a new field in one, is a new version:
/// a program that ignored it would do something else than was asked for.
///
/// 1: entries. 2: more kinds of changes; may start with a snapshot. 3: transactions of several entries. Journals of all
/// versions up to this one are read; a file gets the newest version's header when it is opened, before anything is appended.
pub(crate) const VERSION: u32 = 3;
/// The oldest version that it reads.
pub(crate) const OLDEST: u32 = 1;
/// The longest payload, in bytes. The bound on what a reader holds in memory at a time.
pub(crate) const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

const PLAIN: [u8; 8] = *b"pgjrnl\r\n";
const SNAPSHOT: [u8; 8] = *b"pgsnap\r\n";

/// What the frames behind the header start with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// The first entry.
    Entries,
    /// What all entries up to some one came to.
    Snapshot,
}

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// A journal of this version.
    Version(u32, Start),
    /// Not a journal, or a damaged header.
    Damaged,
}

/// The header of a new journal.
pub(crate) fn header(start: Start) -> [u8; HEADER] {
    header_of(VERSION, start)
}

/// The header of a journal of some version.
pub(crate) fn header_of(version: u32, start: Start) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let magic = match start {
        Start::Entries => PLAIN,
        Start::Snapshot => SNAPSHOT,
    };
    let version = version.to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&magic), &version).to_le_bytes();
    let all = magic.iter().chain(&version).chain(&crc);
    bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
    bytes
}

/// Reads a header.
pub(crate) fn read_header(bytes: &[u8; HEADER]) -> Header {
    let (covered, crc) = bytes.split_at(HEADER - 4);
    if number(crc) != Some(crc32c::crc32c(covered)) {
        return Header::Damaged;
    }
    let (magic, version) = covered.split_at(PLAIN.len());
    let start = match (magic == PLAIN, magic == SNAPSHOT) {
        (true, _) => Start::Entries,
        (_, true) => Start::Snapshot,
        (false, false) => return Header::Damaged,
    };
    number(version).map_or(Header::Damaged, |version| Header::Version(version, start))
}

/// A frame around a payload; `None` when the payload is empty or longer than [`MAX_PAYLOAD`].
pub(crate) fn frame(payload: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok().filter(|_| fits(payload.len()))?.to_le_bytes();
    let mut bytes = Vec::with_capacity(FRAME_HEAD + payload.len());
    bytes.extend_from_slice(&MARK);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&checksum(length, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    Some(bytes)
}

/// The length and the checksum that a frame's head promises; `None` when it is no head.
pub(crate) fn read_head(head: &[u8; FRAME_HEAD]) -> Option<(usize, u32)> {
    let rest = head.strip_prefix(&MARK)?;
    let (length, crc) = rest.split_at_checked(4)?;
    let length = usize::try_from(number(length)?).ok().filter(|length| fits(*length))?;
    Some((length, number(crc)?))
}

/// The checksum over a payload and its length.
pub(crate) fn payload_checksum(payload: &[u8]) -> Option<u32> {
    Some(checksum(u32::try_from(payload.len()).ok()?.to_le_bytes(), payload))
}

fn fits(length: usize) -> bool {
    (1..=MAX_PAYLOAD).contains(&length)
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
