//! Opening: the lock, the journal, and then an index that fits it, or a new one.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use super::catch_up::catch_up;
use super::index::{Index, LOCKED_FILE};
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
    /// The journal is gone though other files of the registry are there.
    #[error(
        "the registry's journal is gone, and what else there is of it shows that it had changes: restore a backup; or, to \
         begin with an empty registry, move the whole folder out of the way"
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
    Ok((Lookup(Arc::clone(&reading)), Amend(Arc::new(Queue::new(send, thread, reading)))))
}

/// What look-ups are answered from at first.
enum Found {
    /// An index that has all of the journal and nothing else.
    Index(Box<Index>),
    /// What the journal comes to.
    State(Box<State>),
}

fn read(dir: &Path) -> Result<(Journal, Found), OpenError> {
    let marked = mark::exists(dir)?;
    if !marked && !dir.join(mark::INDEX).join(LOCKED_FILE).is_file() {
        let (journal, state) = Journal::open_and_replay(dir)?;
        return Ok((journal, Found::State(Box::new(state))));
    }
    // Both read large files, and neither needs the other.
    let (journal, index) = std::thread::scope(|scope| {
        let index = scope.spawn(|| read_index(dir, marked));
        (Journal::open(dir), index.join())
    });
    let (journal, places) = journal?;
    let index = index.map_err(|_| io::Error::other("the look at the index ended in a panic"))??;
    let fits = index.and_then(|index| catch_up(&index, &journal, &places).map(|entries| (index, entries)));
    match fits {
        Ok((index, entries)) => {
            if !marked {
                tracing::info!(
                    entries,
                    "the index was not closed well: it was compared, and has all of the journal now"
                );
            }
            Ok((journal, Found::Index(Box::new(index))))
        }
        Err(why) => {
            tracing::warn!(why, marked, "the index is built again");
            let state = journal.replay()?;
            Ok((journal, Found::State(Box::new(state))))
        }
    }
}

/// Opens the index and reads all of it; or says in words why it is of no use.
fn read_index(dir: &Path, marked: bool) -> io::Result<Result<Index, String>> {
    if marked {
        let fits = mark::look(dir)?.is_some();
        // Whether it fits or not, and whatever becomes of the journal: from here on its files change.
        mark::take(dir)?;
        if !fits {
            return Ok(Err("its files were changed".to_owned()));
        }
    }
    Ok(Index::open(&dir.join(mark::INDEX)).map_err(|error| error.to_string()))
}
