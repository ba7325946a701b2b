//! Making the journal short again: a snapshot of what its entries came to takes their place.
//!
//! A thread reads the journal up to where it was when the thread started, writes a new one with the snapshot, and reads that
//! back. Meanwhile commits go on. Then the writer copies what came since, and the new file takes the old one's name. The old
//! one stays, as `journal.FIRST-LAST`: it says who changed what, and is an operator's to keep or delete.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};

use super::super::files;
use super::super::snapshot::{self, Piece};
use super::super::state::State;
use super::bounded::Bounded;
use super::entry::{Base, BaseLine, Digester, Hash};
use super::frame::{self, HEADER, Start};
use super::replay::replay;
use super::walk::End;
use super::{Journal, NAME, NEW};

/// How many bytes of a snapshot go into one frame, about.
const FRAME: usize = 1024 * 1024;
/// How much is copied at a time, in bytes.
const COPY: usize = 256 * 1024;

/// A compaction on its way.
#[derive(Debug)]
pub(in super::super) struct Compaction {
    /// How far into the old journal the new one goes.
    from: End,
    made: Receiver<io::Result<Made>>,
}

/// A journal that waits for its name.
#[derive(Debug)]
struct Made {
    file: File,
    length: u64,
}

impl Compaction {
    /// Starts one, beside the registry.
    pub(in super::super) fn start(journal: &Journal) -> io::Result<Self> {
        let (send, made) = mpsc::sync_channel(1);
        let (dir, from) = (journal.dir.clone(), journal.end);
        let make = move || {
            // When nobody takes the result, the registry is closing.
            drop(send.send(make(&dir, &from)));
        };
        std::thread::Builder::new().name("registry-compact".to_owned()).spawn(make)?;
        Ok(Self { from, made })
    }

    /// Whether there is an outcome to be taken.
    fn outcome(&self, wait: bool) -> Option<io::Result<Made>> {
        let gone = || Some(Err(io::Error::other("the compaction ended in a panic")));
        if wait {
            return self.made.recv().map_or_else(|_| gone(), Some);
        }
        match self.made.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => gone(),
        }
    }

    /// Puts the new journal in the old one's place, if it is made. `None`: not yet.
    ///
    /// An error leaves the old one in its place, and nothing of the new one.
    pub(in super::super) fn finish(&self, journal: &mut Journal, wait: bool) -> Option<io::Result<()>> {
        let outcome = self.outcome(wait)?.and_then(|made| self.switch(journal, made));
        if outcome.is_err()
            && let Err(error) = std::fs::remove_file(journal.dir.join(NEW))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a journal that was not finished cannot be deleted");
        }
        Some(outcome)
    }

    fn switch(&self, journal: &mut Journal, made: Made) -> io::Result<()> {
        let Made { file, length } = made;
        let mut at = self.from.offset;
        let mut to = length;
        let mut buffer = vec![0; COPY];
        while at < journal.end.offset {
            let size = usize::try_from(journal.end.offset - at).unwrap_or(usize::MAX).min(COPY);
            let piece = buffer.get_mut(..size).unwrap_or_default();
            journal.file.read_exact_at(piece, at)?;
            file.write_all_at(piece, to)?;
            at += size as u64;
            to += size as u64;
        }
        file.sync_all()?;
        let old = journal.dir.join(NAME);
        let archive = journal.dir.join(archive_name(&journal.end));
        if archive.try_exists()? {
            std::fs::remove_file(&archive)?;
        }
        std::fs::hard_link(&old, &archive)?;
        std::fs::rename(journal.dir.join(NEW), &old)?;
        // From here on the new file is the journal. Whether the name is durable has to be known before the next commit.
        if let Err(error) = files::sync_dir(&journal.dir) {
            files::end_process(&error, "the new journal's name cannot be synced");
        }
        journal.trim();
        journal.file = file;
        journal.end = End {
            offset: to,
            length: to,
            version: frame::VERSION,
            start: Start::Snapshot,
            base: self.from.seq,
            base_end: length,
            ..journal.end
        };
        Ok(())
    }
}

/// `journal.1-5000`: the entries in it.
fn archive_name(end: &End) -> String {
    format!("{NAME}.{}-{}", end.base + 1, end.seq)
}

fn make(dir: &Path, end: &End) -> io::Result<Made> {
    let fault = |fault: super::walk::Fault| io::Error::other(fault.to_string());
    let prefix = |file: File, length| Bounded::new(file, length);
    let (state, _) = replay(prefix(File::open(dir.join(NAME))?, end.offset)).map_err(fault)?;
    let path: PathBuf = dir.join(NEW);
    let (file, length) = write(&path, &state, end)?;
    let written = digest(&state)?;
    // Two of them at a time would be the most memory that the registry ever needs.
    drop(state);
    let (back, read) = replay(prefix(File::open(&path)?, length)).map_err(fault)?;
    if digest(&back)? != written || read.seq != end.seq || read.hash != end.hash || read.torn {
        return Err(io::Error::other("the snapshot does not hold what the journal does"));
    }
    Ok(Made { file, length })
}

/// The hash of all that a state holds: of its debug form, in which the compiler forgets no field.
fn digest(state: &State) -> io::Result<Hash> {
    struct Sink(Digester, Vec<u8>);
    impl fmt::Write for Sink {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.1.extend_from_slice(text.as_bytes());
            if self.1.len() >= FRAME {
                self.0.line(&self.1);
                self.1.clear();
            }
            Ok(())
        }
    }
    let mut sink = Sink(Digester::default(), Vec::with_capacity(FRAME * 2));
    fmt::write(&mut sink, format_args!("{state:?}")).map_err(io::Error::other)?;
    let Sink(mut digester, rest) = sink;
    digester.line(&rest);
    Ok(digester.digest())
}

/// Writes a journal that is a snapshot and nothing else, and syncs it.
pub(super) fn write(path: &Path, state: &State, end: &End) -> io::Result<(File, u64)> {
    let other = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let mut file = files::private().create(true).truncate(true).open(path)?;
    file.write_all(&frame::header(Start::Snapshot))?;
    let mut length = HEADER as u64;
    let mut put = |lines: &mut Vec<u8>| -> io::Result<()> {
        // Without the last line's end.
        lines.pop();
        let frame = frame::frame(lines).ok_or_else(|| io::Error::other("a frame of the snapshot is too long"))?;
        file.write_all(&frame)?;
        length += frame.len() as u64;
        lines.clear();
        Ok(())
    };
    let mut digester = Digester::default();
    let mut lines = Vec::with_capacity(FRAME * 2);
    for piece in snapshot::pieces(state).map_err(|error| other(&error))? {
        let piece: Piece = piece.map_err(|error| other(&error))?;
        let line = serde_json::to_vec(&piece)?;
        digester.line(&line);
        lines.extend(line);
        lines.push(b'\n');
        if lines.len() >= FRAME {
            put(&mut lines)?;
        }
    }
    let base = Base { seq: end.seq, hash: end.hash, pieces: digester.pieces, digest: digester.digest() };
    lines.extend(serde_json::to_vec(&BaseLine { base })?);
    lines.push(b'\n');
    put(&mut lines)?;
    file.sync_all()?;
    Ok((file, length))
}

/// Tidies up after a process that ended in the middle: a new journal without a name, and an archive that is the journal
/// itself because its new one never got the name.
pub(super) fn tidy(dir: &Path) -> io::Result<()> {
    let journal = std::fs::metadata(dir.join(NAME))?;
    for item in std::fs::read_dir(dir)? {
        let item = item?;
        let name = item.file_name();
        let archive = name.to_str().and_then(|name| name.strip_prefix(NAME)?.strip_prefix('.'));
        let is_journal = archive.is_some_and(|rest| rest != "new") && {
            let found = item.metadata()?;
            found.ino() == journal.ino() && found.dev() == journal.dev()
        };
        if is_journal || archive == Some("new") {
            std::fs::remove_file(item.path())?;
        }
    }
    Ok(())
}
