//! The journal: the truth about the registry, one entry for every commit, only ever appended to.

pub(super) mod bounded;
pub(super) mod compact;
pub(super) mod entry;
pub(super) mod frame;
pub(super) mod known;
pub(super) mod replay;
pub(super) mod walk;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::change::Unavailable;
use super::files;
use super::state::State;
use entry::{Entry, Hash};
use frame::Start;
use known::Known;
use walk::{End, Fault, Kind, Passing};

/// The journal's name in the registry's directory.
pub(super) const NAME: &str = "journal";
/// A journal that is being made.
pub(super) const NEW: &str = "journal.new";
/// How much space is set aside at a time, in bytes. Written with zeros, so that a commit changes no metadata of the file.
const CHUNK: u64 = 1024 * 1024;

/// Where frames are: the first entry of each, and its offset in bytes.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<(u64, u64)>);

impl Places {
    fn note(&mut self, passing: &Passing<'_>) {
        if self.0.last().is_none_or(|(_, offset)| *offset != passing.offset) {
            self.0.push((passing.seq, passing.offset));
        }
    }

    /// The frame that has an entry; none when it is in no frame.
    pub(super) fn of(&self, seq: u64) -> Option<u64> {
        let behind = self.0.partition_point(|(first, _)| *first <= seq);
        self.0.get(behind.checked_sub(1)?).map(|(_, offset)| *offset)
    }
}

/// The open journal; the only value that writes it.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    end: End,
    known: Known,
    dir: PathBuf,
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
        file.write_all(&frame::header(Start::Entries))?;
        file.sync_all()?;
        std::fs::rename(&new, dir.join(NAME))?;
        files::sync_dir(dir)
    }

    /// Opens the journal, checks all of it, and cuts off a torn write at its end. Says where its frames with entries are.
    pub(super) fn open(dir: &Path) -> Result<(Self, Places), Fault> {
        let file = files::private().open(dir.join(NAME))?;
        let mut places = Places::default();
        let end = walk::walk(&file, |passing| {
            if passing.kind == Kind::Entry {
                places.note(passing);
            }
            Ok(())
        })?;
        Ok((Self::with(file, end, dir)?, places))
    }

    /// The same, and what it comes to.
    pub(super) fn open_and_replay(dir: &Path) -> Result<(Self, State), Fault> {
        let file = files::private().open(dir.join(NAME))?;
        let (state, end) = replay::replay(&file)?;
        Ok((Self::with(file, end, dir)?, state))
    }

    fn with(file: File, mut end: End, dir: &Path) -> Result<Self, Fault> {
        // Looked at before anything is cut: what is left must stay as it was found.
        if let Some(known) = known::read(dir)?.filter(|known| *known > end.seq) {
            return Err(Fault::Short { seq: end.seq, known });
        }
        compact::tidy(dir)?;
        if end.torn {
            tracing::warn!(
                seq = end.seq,
                offset = end.offset,
                "the journal ends in a write that was not finished, and so was never acknowledged: it is cut off"
            );
            file.set_len(end.offset)?;
            end.length = end.offset;
            end.torn = false;
        }
        if end.version < frame::VERSION {
            tracing::info!(from = end.version, to = frame::VERSION, "the journal gets the header of this version");
            // One sector: it is there or it is not.
            file.write_all_at(&frame::header(end.start), 0)?;
            end.version = frame::VERSION;
        }
        // Also without a torn write: a process that was killed between its write and its sync leaves entries that only the
        // page cache has.
        file.sync_all()?;
        Ok(Self { file, end, known: Known::open(dir, end.seq), dir: dir.to_owned() })
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
        self.append_part(lines, seq, hash)?;
        self.known.put(seq);
        Ok(())
    }

    /// The same for an entry behind which more of its transaction follows: nothing is acknowledged yet.
    pub(super) fn append_part(&mut self, line: &[u8], seq: u64, hash: Hash) -> Result<(), Unavailable> {
        let frame = frame::frame(line).ok_or_else(|| Unavailable {
            reason: format!(
                "{} bytes are too many for one entry: at most {} are possible",
                line.len(),
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

    /// Where the journal ends.
    pub(super) fn end(&self) -> End {
        self.end
    }

    /// Takes back the parts of a transaction that cannot be finished.
    pub(super) fn take_back(&mut self, begin: End) {
        if let Err(error) = self.file.set_len(begin.offset).and_then(|()| self.file.sync_all()) {
            files::end_process(&error, "an unfinished transaction cannot be cut off");
        }
        self.end = End { length: begin.offset, ..begin };
    }

    /// The entries from the frame at this offset on, with their hashes.
    pub(super) fn entries(
        &self,
        from: u64,
        mut visit: impl FnMut(Entry, Hash) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        walk::again(&self.file, (from, self.end.offset), |line| {
            let entry = serde_json::from_slice(line).map_err(|error| Fault::Io(io::Error::other(error)))?;
            visit(entry, Hash::of(line))
        })
    }

    /// Sets space aside for what comes next, as a write would that finds none left.
    ///
    /// # Errors
    /// When there is no space.
    pub(super) fn make_room(&mut self) -> io::Result<()> {
        self.reserve((self.end.length + 1).next_multiple_of(CHUNK))
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
        if cfg!(feature = "fault-unsynced-journal") {
            return;
        }
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
        self.known.sync();
    }

    /// Whether the entries behind the snapshot have become more than `most` bytes, and more than the snapshot itself.
    pub(super) fn is_long(&self, most: u64) -> bool {
        self.end.offset - self.end.base_end > most.max(self.end.base_end)
    }

    /// Makes every later write fail.
    #[cfg(test)]
    pub(super) fn break_for_test(&mut self, dir: &Path) {
        self.file = File::open(dir.join(NAME)).unwrap();
    }

    /// Reads everything again and does it again: what the registry holds, in memory.
    pub(super) fn replay(&self) -> Result<State, Fault> {
        replay::replay(&self.file).map(|(state, _)| state)
    }
}

/// Reads bytes as a journal, for tests and fuzzing: the number of entries, or why they are no journal.
///
/// # Errors
/// In words, what is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<u64, String> {
    let mut count = 0;
    walk::walk(io::Cursor::new(bytes), |passing| {
        count += u64::from(passing.kind == walk::Kind::Entry);
        Ok(())
    })
    .map_err(|fault| fault.to_string())?;
    replay::replay(io::Cursor::new(bytes)).map_err(|fault| fault.to_string())?;
    Ok(count)
}
