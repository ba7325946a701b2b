//! Opening: the lock, the journal, and then an index that fits it, or a new one.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use super::catch_up::catch_up;
use super::index::{Applied, Index, LOCKED_FILE};
use super::journal::walk::Fault;
use super::journal::{Journal, known};
use super::reading::{Reading, Source};
use super::state::State;
use super::writer::Writer;
use super::{Amend, Lookup, Queue, files, mark};

/// How many commits may wait; the next one blocks.
const QUEUE: usize = 1024;
pub(super) const LOCK: &str = "lock";

/// Why the registry cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process has the registry open: administer it through the running gateway, or stop that first")]
    Locked,
    /// The system refuses something.
    #[error("the registry cannot be opened: {0}")]
    Io(#[from] io::Error),
    /// It was written by a newer version of this program.
    #[error("{0}")]
    Newer(String),
    /// The journal is damaged in a way that no interrupted write explains. Says where, and what to do.
    #[error("{0}")]
    Damaged(String),
    /// The journal is gone though its index is there.
    #[error(
        "the registry has an index but no journal: restore the journal from a backup, or delete `{INDEX}` and `index.clean` to start with an empty registry",
        INDEX = mark::INDEX
    )]
    NoJournal,
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io(error) => Self::Io(error),
            Fault::Newer(_) => Self::Newer(fault.to_string()),
            Fault::Damaged { .. } | Fault::Short { .. } => Self::Damaged(fault.to_string()),
        }
    }
}

/// What can be set about the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// After how many bytes of entries the journal is compacted, if that is also more than its last snapshot has.
    pub compact_after: u64,
    /// For how long it has to be so. A command that applies a large file without a daemon is gone before: to compact what
    /// it just wrote would take as long as writing it, and twice the memory.
    pub compact_patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { compact_after: 64 * 1024 * 1024, compact_patience: Duration::from_secs(5) }
    }
}

/// Opens the registry in `dir`, which is made when it is missing.
///
/// Reads the whole journal. Then look-ups work at once: from the index when it fits the journal, which after a kill is found
/// by reading all of it; otherwise from memory, while the index is built again.
///
/// # Errors
/// [`OpenError`]
pub fn open(dir: &Path) -> Result<(Lookup, Amend), OpenError> {
    open_with(dir, Settings::default())
}

/// [`open`], with settings that are not the defaults.
///
/// # Errors
/// [`OpenError`]
pub fn open_with(dir: &Path, settings: Settings) -> Result<(Lookup, Amend), OpenError> {
    files::make_dir(dir)?;
    let lock = files::lock(&dir.join(LOCK))?.ok_or(OpenError::Locked)?;
    if !Journal::exists(dir)? {
        if dir.join(mark::INDEX).try_exists()? || known::read(dir)?.is_some_and(|seq| seq > 0) {
            return Err(OpenError::NoJournal);
        }
        Journal::create(dir)?;
    }
    let (send, requests) = mpsc::sync_channel(QUEUE);
    let start = |source| Arc::new(Reading::new(source, dir.to_owned(), lock));
    let (reading, writer) = match read(dir)? {
        (journal, Found::Index(index)) => {
            let reading = start(Source::Index(index.reader()));
            (Arc::clone(&reading), Writer::over_index(journal, reading, requests, *index, settings))
        }
        (journal, Found::State(state)) => {
            let state = Arc::new(RwLock::new(*state));
            let reading = start(Source::Replayed(Arc::clone(&state)));
            (Arc::clone(&reading), Writer::over_state(journal, reading, requests, state, settings))
        }
    };
    let thread = std::thread::Builder::new().name("registry-writer".to_owned()).spawn(move || writer.run())?;
    Ok((Lookup(reading), Amend(Arc::new(Queue { requests: Some(send), writer: Some(thread) }))))
}

/// What look-ups are answered from at first.
enum Found {
    /// An index that was closed well, and has all of the journal and nothing else.
    Index(Box<Index>),
    /// What the journal comes to.
    State(Box<State>),
}

fn read(dir: &Path) -> Result<(Journal, Found), OpenError> {
    match (mark::exists(dir)?, dir.join(mark::INDEX).join(LOCKED_FILE).is_file()) {
        (true, _) => read_marked(dir),
        (false, true) => read_compared(dir),
        (false, false) => {
            let (journal, state) = Journal::open_and_replay(dir)?;
            Ok((journal, Found::State(Box::new(state))))
        }
    }
}

/// The index was closed well, and its mark says what its files look like.
fn read_marked(dir: &Path) -> Result<(Journal, Found), OpenError> {
    // Both read large files, and neither needs the other.
    let (journal, marked) = std::thread::scope(|scope| {
        let marked = scope.spawn(|| mark::look(dir));
        (Journal::open(dir), marked.join())
    });
    let (journal, _) = journal?;
    let marked = marked.map_err(|_| io::Error::other("the look at the index ended in a panic"))??;
    mark::take(dir)?;
    if let Some(index) = good_index(dir, marked, Applied::new(journal.seq(), journal.hash())) {
        return Ok((journal, Found::Index(Box::new(index))));
    }
    let state = journal.replay()?;
    Ok((journal, Found::State(Box::new(state))))
}

/// The index was not closed well: it may be good all the same, and only be behind.
fn read_compared(dir: &Path) -> Result<(Journal, Found), OpenError> {
    let index = dir.join(mark::INDEX);
    let (journal, index) = std::thread::scope(|scope| {
        let index = scope.spawn(|| Index::open(&index));
        (Journal::open(dir), index.join())
    });
    let (journal, places) = journal?;
    let index = index.map_err(|_| io::Error::other("the look at the index ended in a panic"))?;
    let caught_up = index.map_err(|error| error.to_string()).and_then(|index| {
        let entries = catch_up(&index, &journal, &places)?;
        Ok((index, entries))
    });
    match caught_up {
        Ok((index, entries)) => {
            tracing::info!(
                entries,
                "the index was not closed well: it is compared with the journal, and has all of it now"
            );
            Ok((journal, Found::Index(Box::new(index))))
        }
        Err(why) => {
            tracing::warn!(why, "the index was not closed well: it is built again");
            let state = journal.replay()?;
            Ok((journal, Found::State(Box::new(state))))
        }
    }
}

/// The index, if its mark says what the journal says, and it says so itself.
fn good_index(dir: &Path, marked: Option<Applied>, journal: Applied) -> Option<Index> {
    let broken = |error: &dyn std::fmt::Display| tracing::warn!(%error, "the index is built again");
    if marked != Some(journal) {
        broken(match marked {
            Some(_) => &"it does not fit the journal",
            None => &"its files were changed",
        });
        return None;
    }
    let opened =
        Index::open(&dir.join(mark::INDEX)).and_then(|index| index.reader().applied().map(|applied| (index, applied)));
    match opened {
        Ok((index, Some(applied))) if applied == journal => return Some(index),
        Ok((_, _)) => broken(&"it does not fit its own mark"),
        Err(error) => broken(&error),
    }
    None
}
