//! The writing end of the chain of changes. Why it is built so: `docs/decisions/0004-audit-chain.md`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use rustix::fs::FlockOperation;

use super::key::{self, KeyError};
use super::link::{Head, seal};
use super::seen::Seen;
use super::{Audit, Event, Record, SCHEMA, new_id};

mod standing;

pub use standing::Place;
use standing::{Standing, catch_up};

/// After how many changes the chain is signed.
pub const CHECKPOINT_CHANGES: u64 = 100;
/// How long a change may go without being signed.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(3600);
/// How long to wait for another process that goes on with the chain: a command that works without a daemon.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look in that time.
const LOOK: Duration = Duration::from_millis(20);

impl Audit {
    /// Has records of changes be links of a chain from now on, which goes on where it ended, and says which changes have one. A
    /// chain that begins takes all changes up to `seq` as made before it. Blocks while it reads.
    ///
    /// # Errors
    /// [`ChainError`]
    pub fn chain(&self, settings: &Settings, seq: Option<u64>) -> Result<Seen, ChainError> {
        let Some(writer) = &self.writer else { return Ok(Seen::up_to(seq.unwrap_or(0))) };
        writer.flush();
        let chain = Chain::open(settings, writer.path(), seq)?;
        let seen = chain.seen().clone();
        if writer.chain(chain) { Ok(seen) } else { Err(ChainError::Gone) }
    }

    /// Has the chain signed up to here, and told what was counted only.
    pub fn checkpoint(&self) {
        if let Some(writer) = &self.writer {
            writer.checkpoint();
        }
    }

    /// Gives the chain back, signed up to here, so that another process can go on with it. Blocks while the disk does. To be
    /// called when nothing of the registry can be changed here any more.
    pub fn unchain(&self) {
        if let Some(writer) = &self.writer {
            writer.unchain();
        }
    }
}

/// Where a chain is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The key that signs; made when it is missing.
    pub key: PathBuf,
    /// The file that remembers how far the chain goes.
    pub state: PathBuf,
}

/// Why a chain cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another process has it.
    #[error("another process goes on with the chain of audit records: the lock of {} is held", .0.display())]
    Locked(PathBuf),
    /// A file of it.
    #[error("{} cannot be used for the chain of audit records: {error}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is nobody to write.
    #[error("the writer of audit records is gone")]
    Gone,
}

/// The end of the chain, which only one process has.
#[derive(Debug)]
pub(super) struct Chain {
    standing: Standing,
    key: SigningKey,
    public: String,
    settings: Settings,
    /// When the last checkpoint was made, or this process began.
    signed: Instant,
    _lock: Lock,
}

/// The key's file, locked (flock(2)) for as long as the value lives.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// A child that was just forked has the file open as well: to unlock ends the lock for it too.
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            tracing::warn!(%error, "the lock of the audit key could not be given back before its file is closed");
        }
    }
}

impl Chain {
    /// Takes the chain up where it ended: where its file of state says, and beyond that what the audit file has more. A chain
    /// that begins takes all changes up to `seq` as made before it.
    ///
    /// # Errors
    /// [`ChainError`]
    pub(super) fn open(settings: &Settings, audit_file: &Path, seq: Option<u64>) -> Result<Self, ChainError> {
        let (key, file) = key::load_or_make(&settings.key)?;
        let lock = locked(file, &settings.key)?;
        let state = |error| ChainError::Io { file: settings.state.clone(), error };
        let known = Standing::read(&settings.state).map_err(state)?;
        let audit = |error| ChainError::Io { file: audit_file.to_owned(), error };
        let mut standing = catch_up(known, audit_file).map_err(audit)?;
        if standing.head.n == 0 {
            standing.seen.begin(seq.unwrap_or(0));
        }
        let public = key::text(&key.verifying_key());
        Ok(Self { standing, key, public, settings: settings.clone(), signed: Instant::now(), _lock: lock })
    }

    /// Which changes have a record.
    pub(super) fn seen(&self) -> &Seen {
        &self.standing.seen
    }

    /// The line of a record as the next link. It counts when [`Chain::wrote`] is told so.
    pub(super) fn link(&self, record: &Record) -> Result<(String, Head), serde_json::Error> {
        let key = matches!(record.event, Event::Checkpoint { .. }).then_some(&self.key);
        seal(record, self.standing.head, key)
    }

    /// The line of a link is in the file.
    pub(super) fn wrote(&mut self, record: &Record, head: Head, place: Option<Place>) {
        self.standing.take(&record.event, head);
        self.standing.place = place.or(self.standing.place);
        if matches!(record.event, Event::Checkpoint { .. }) {
            self.signed = Instant::now();
        }
    }

    /// The record of a checkpoint.
    pub(super) fn checkpoint(&self) -> Record {
        let (seq, changes) = (self.standing.seen.whole().unwrap_or(0), self.standing.changes);
        let event = Event::Checkpoint { seq, changes, key: self.public.clone() };
        Record { v: SCHEMA, time: Timestamp::now(), id: new_id(), event, link: None }
    }

    /// Whether there is something that is not signed.
    pub(super) fn has_news(&self) -> bool {
        self.standing.unsigned > 0
    }

    /// Whether it is time for a checkpoint. One that is due by number waits until no change before the last is missing: it is
    /// just on its way.
    pub(super) fn is_due(&self) -> bool {
        let whole = self.standing.seen.whole() == Some(self.standing.seen.last());
        (self.standing.unsigned >= CHECKPOINT_CHANGES && whole)
            || (self.has_news() && self.signed.elapsed() >= CHECKPOINT_EVERY)
    }

    /// Writes down how far it goes. What is not written down is found again in the audit file.
    pub(super) fn remember(&self) {
        if let Err(error) = self.standing.write(&self.settings.state) {
            let file = self.settings.state.display();
            tracing::warn!(%error, %file, "how far the chain of audit records goes cannot be written down");
        }
    }
}

fn locked(file: File, path: &Path) -> Result<Lock, ChainError> {
    let begin = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if begin.elapsed() < PATIENCE => std::thread::sleep(LOOK),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(ChainError::Locked(path.to_owned())),
            Err(error) => return Err(ChainError::Io { file: path.to_owned(), error: error.into() }),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
