//! Opening: the lock, the journal, and then an index that fits it, or a new one.

use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, RwLock};

use super::change::Unavailable;
use super::index::{Applied, IndexWriter};
use super::journal::Journal;
use super::journal::walk::Fault;
use super::reading::{Reading, Source};
use super::writer::{Request, Writer};
use super::{Amend, Lookup, Queue, files, mark};

/// How many commits may wait; the next one blocks.
const QUEUE: usize = 1024;
const LOCK: &str = "lock";

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
            Fault::Damaged { .. } => Self::Damaged(fault.to_string()),
        }
    }
}

/// Opens the registry in `dir`, which is made when it is missing.
///
/// Reads the whole journal. Then look-ups work at once: from the index when it was stopped well and fits the journal,
/// otherwise from memory while the index is built again.
///
/// # Errors
/// [`OpenError`]
pub fn open(dir: &Path) -> Result<(Lookup, Amend), OpenError> {
    files::make_dir(dir)?;
    let lock = files::lock(&dir.join(LOCK))?.ok_or(OpenError::Locked)?;
    if !Journal::exists(dir)? {
        if dir.join(mark::INDEX).try_exists()? {
            return Err(OpenError::NoJournal);
        }
        Journal::create(dir)?;
    }
    let journal = Journal::open(dir)?;
    let index = good_index(dir, Applied::new(journal.seq(), journal.hash()))?;
    let (send, requests) = mpsc::sync_channel(QUEUE);
    let start = |source| Arc::new(Reading::new(source, dir.to_owned(), lock));
    let (reading, writer) = match index {
        Some(index) => {
            let reading = start(Source::Index(index.reader()));
            (Arc::clone(&reading), Writer::over_index(journal, reading, requests, index))
        }
        None => over_state(journal, start, requests)?,
    };
    let thread = std::thread::Builder::new().name("registry-writer".to_owned()).spawn(move || writer.run())?;
    Ok((Lookup(reading), Amend(Arc::new(Queue { requests: Some(send), writer: Some(thread) }))))
}

fn over_state(
    journal: Journal,
    start: impl FnOnce(Source) -> Arc<Reading>,
    requests: Receiver<Request>,
) -> Result<(Arc<Reading>, Writer), OpenError> {
    let state = Arc::new(RwLock::new(journal.replay()?));
    let reading = start(Source::Replayed(Arc::clone(&state)));
    Ok((Arc::clone(&reading), Writer::over_state(journal, reading, requests, state)))
}

/// The index, if it was closed well and has all of the journal and nothing else.
fn good_index(dir: &Path, journal: Applied) -> io::Result<Option<IndexWriter>> {
    let broken = |error: &dyn std::fmt::Display| tracing::warn!(%error, "the index is built again");
    let Some(marked) = mark::take(dir)? else {
        if journal.seq > 0 {
            broken(&"it was not closed well, or its files were changed");
        }
        return Ok(None);
    };
    if marked != journal {
        if marked.seq > journal.seq {
            tracing::error!(
                journal = journal.seq,
                index = marked.seq,
                "the journal lacks entries that the index had: was an older journal put back, or did the disk lose changes?"
            );
        }
        broken(&"it does not fit the journal");
        return Ok(None);
    }
    let opened = IndexWriter::open(&dir.join(mark::INDEX))
        .and_then(|index| index.reader().applied().map(|applied| (index, applied)));
    match opened {
        Ok((index, Some(applied))) if applied == journal => Ok(Some(index)),
        Ok((_, _)) => {
            broken(&Unavailable { reason: "it does not fit its own mark".to_owned() });
            Ok(None)
        }
        Err(error) => {
            broken(&error);
            Ok(None)
        }
    }
}
