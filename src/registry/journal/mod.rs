//! The journal: the truth about the registry, one entry for every commit, only ever appended to.

pub(super) mod entry;
pub(super) mod frame;
pub(super) mod walk;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::change::Unavailable;
use super::files;
use super::overlay::Overlay;
use super::rules::Draft;
use super::state::State;
use entry::{Entry, Hash};
use walk::{End, Fault};

/// The journal's name in the registry's directory.
const NAME: &str = "journal";
/// A journal that is being made.
const NEW: &str = "journal.new";
/// How much space is set aside at a time, in bytes. Written with zeros, so that a commit changes no metadata of the file.
const CHUNK: u64 = 1024 * 1024;

/// The open journal; the only value that writes it.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    end: End,
}

impl Journal {
    /// Whether there is a journal in the directory.
    pub(super) fn exists(dir: &Path) -> io::Result<bool> {
        dir.join(NAME).try_exists()
    }

    /// Makes an empty journal. It appears under its name only when it is whole, so that a short one is always damage.
    pub(super) fn create(dir: &Path) -> io::Result<()> {
        let new = dir.join(NEW);
        let mut file = files::private().create(true).truncate(true).open(&new)?;
        file.write_all(&frame::header())?;
        file.sync_all()?;
        std::fs::rename(&new, dir.join(NAME))?;
        files::sync_dir(dir)
    }

    /// Opens the journal, checks all of it, and cuts off a torn write at its end.
    pub(super) fn open(dir: &Path) -> Result<Self, Fault> {
        let file = files::private().open(dir.join(NAME))?;
        let mut end = walk::walk(&file, |_| Ok(()))?;
        if end.torn {
            tracing::warn!(
                seq = end.seq,
                offset = end.offset,
                "the journal ends in a write that was not finished, and so was never acknowledged: it is cut off"
            );
            file.set_len(end.offset)?;
            file.sync_all()?;
            end.length = end.offset;
            end.torn = false;
        } else {
            // A process that was killed between its write and its sync leaves entries that only the page cache has.
            file.sync_all()?;
        }
        let journal = Self { file, end };
        journal.raise_version()?;
        Ok(journal)
    }

    /// Says in the header of an older journal that this program writes to it from now on, before it does: an older program
    /// then says that it is too old, rather than that an entry is damaged. All of it was checked by now, and the sixteen
    /// bytes lie in one sector, which a power cut leaves as it was or as it will be.
    fn raise_version(&self) -> io::Result<()> {
        let mut have = [0; frame::HEADER];
        self.file.read_exact_at(&mut have, 0)?;
        if have != frame::header() {
            self.file.write_all_at(&frame::header(), 0)?;
            self.file.sync_all()?;
        }
        Ok(())
    }

    /// The last entry's number; 0 when there is none.
    pub(super) fn seq(&self) -> u64 {
        self.end.seq
    }

    /// The last entry's hash.
    pub(super) fn hash(&self) -> Hash {
        self.end.hash
    }

    /// Appends entries and makes them durable, all or none. They are lines of JSON without a line end after the last;
    /// `seq` and `hash` are the last one's.
    ///
    /// # Errors
    /// When there is no space to be set aside, or the lines are too long: nothing was written. Any later failure ends the
    /// process.
    pub(super) fn append(&mut self, lines: &[u8], seq: u64, hash: Hash) -> Result<(), Unavailable> {
        let frame = frame::frame(lines).ok_or_else(|| Unavailable {
            reason: format!(
                "a commit of {} bytes is too large: at most {} are possible",
                lines.len(),
                frame::MAX_PAYLOAD
            ),
        })?;
        let end = self.end.offset + frame.len() as u64;
        if end > self.end.length {
            self.reserve(end.next_multiple_of(CHUNK)).map_err(|error| Unavailable {
                reason: format!("there is no space for the journal to grow: {error}"),
            })?;
        }
        if let Err(error) = self.file.write_all_at(&frame, self.end.offset) {
            files::end_process(&error, "the journal cannot be written");
        }
        self.sync();
        self.end = End { seq, hash, offset: end, ..self.end };
        Ok(())
    }

    /// Sets space aside up to `length`: asked for first, so that a full disk says so before anything is written.
    fn reserve(&mut self, length: u64) -> io::Result<()> {
        let have = self.end.length;
        let outcome = match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), have, length - have) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill(have, length),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome {
            // Zeros that stay behind are harmless: they are read as space that was set aside.
            if let Err(error) = self.file.set_len(have) {
                tracing::warn!(%error, "space that was set aside for the journal cannot be given back");
            }
            return Err(error);
        }
        self.sync();
        self.end.length = length;
        Ok(())
    }

    fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = [0; 64 * 1024];
        let mut at = from;
        while at < to {
            let size = usize::try_from(to - at).unwrap_or(usize::MAX).min(zeros.len());
            let piece = zeros.get(..size).unwrap_or(&zeros);
            self.file.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn sync(&self) {
        if let Err(error) = self.file.sync_data() {
            files::end_process(&error, "the journal cannot be synced");
        }
    }

    /// Gives back the space that was set aside. For a clean stop.
    pub(super) fn trim(&mut self) {
        if let Err(error) = self.file.set_len(self.end.offset).and_then(|()| self.file.sync_all()) {
            tracing::warn!(%error, "space that was set aside for the journal cannot be given back");
        }
        self.end.length = self.end.offset;
    }

    /// Makes every later write fail.
    #[cfg(test)]
    pub(super) fn break_for_test(&mut self, dir: &Path) {
        self.file = File::open(dir.join(NAME)).unwrap();
    }

    /// Reads everything again and does it again: what the registry holds, in memory.
    pub(super) fn replay(&self) -> Result<State, Fault> {
        replay(&self.file)
    }
}

/// What a journal comes to.
fn replay<R: io::Read + io::Seek>(source: R) -> Result<State, Fault> {
    let mut state = State::default();
    walk::walk(source, |passing| {
        let entry: Entry = serde_json::from_slice(passing.line).map_err(|error| passing.damaged(error.to_string()))?;
        let over = redo(&state, &entry).map_err(|error| passing.damaged(error.to_string()))?;
        state.apply(&over);
        Ok(())
    })?;
    Ok(state)
}

/// An entry was checked when it was written; that it breaks a rule now says that the journal is not what was written.
fn redo(state: &State, entry: &Entry) -> Result<Overlay, super::change::CommitError> {
    let mut draft = Draft::new(state);
    for change in &entry.changes {
        draft.apply(change, &entry.by, entry.time)?;
    }
    Ok(draft.into_overlay())
}

/// Reads bytes as a journal, for tests and fuzzing: the number of entries, or why they are no journal.
///
/// # Errors
/// In words, what is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<u64, String> {
    let mut count = 0;
    walk::walk(io::Cursor::new(bytes), |_| {
        count += 1;
        Ok(())
    })
    .map_err(|fault| fault.to_string())?;
    replay(io::Cursor::new(bytes)).map_err(|fault| fault.to_string())?;
    Ok(count)
}
