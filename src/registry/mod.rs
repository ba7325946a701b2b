//! Floor 1: which keys exist and what each may fetch.
//!
//! The journal is the truth, the index is derived from it. [`open()`] hands out two values: a [`Lookup`] that can only read,
//! for the fetch path, and an [`Amend`] that can only change, for `admin`.
//!
//! From the ground up: `record` and `change` are the words; `rules` says what a change does; `overlay` and `state` are where
//! it does so; `journal` keeps it; `keys` finds it; `index` spares a start the journal; `writer` is the one thread that changes
//! anything.
//! Why it is built so: `docs/decisions/0001-journal-is-the-truth.md`.

mod backup;
mod build;
mod catch_up;
pub mod change;
mod files;
mod history;
mod index;
mod journal;
mod keys;
mod mark;
mod meter;
mod open;
mod overlay;
mod reading;
pub mod record;
mod row;
mod rules;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod verify;
mod within;
pub mod words;
mod writer;

use std::collections::BTreeSet;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;
use crate::model::text::printable;
pub use backup::{BackedUp, RestoreError, RestoreOptions, backup, restore};
use change::{Change, CommitError, Committed, Told, Unavailable};
pub use history::{Past, acknowledged, history};
pub use journal::decode as decode_journal;
pub use meter::Ails;
pub use open::{OpenError, Settings, open, open_with};
pub use reading::Moment;
use reading::Reading;
use record::{AccountRecord, GroupRecord, KeyRecord, MAX_BY, PublicRecord, Tombstone};
use rules::View as _;
pub use verify::{Compared, Verified, archives, compare, verify};
pub use within::within;
use writer::Request;
pub use writer::json_length;

/// The largest commit, in bytes of JSON: about three million keys. It is held in memory, two or three times as large, until
/// it is durable.
pub const MAX_COMMIT: usize = 1024 * 1024 * 1024;

/// What is said when it was closed for good here: see [`Amend::close`].
const CLOSED: &str = "it is closed here, for the process that takes this one's place: try again in a moment";

/// The reading half of the registry. Cheap to clone; every answer is as of now.
///
/// Promise: nothing that is reachable from it can write.
///
/// ```compile_fail,E0599
/// fn writes(lookup: pullgate::registry::Lookup) {
///     lookup.commit("nobody", &[]);
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn turns(lookup: pullgate::registry::Lookup) -> pullgate::registry::Amend {
///     lookup.into()
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Lookup(Arc<Reading>);

/// The changing half of the registry. Cheap to clone.
///
/// When the last one is dropped, everything is flushed and nothing can be changed any more; when the last [`Lookup`] is gone
/// too, the index is marked as clean and the directory can be opened again.
#[derive(Debug, Clone)]
pub struct Amend(Arc<Queue>);

/// The way to the writer's thread.
#[derive(Debug)]
struct Queue {
    requests: Mutex<Option<SyncSender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// To be closed when nothing is written any more, should somebody want that before the last handle is gone.
    reading: Arc<Reading>,
}

impl Queue {
    fn new(requests: SyncSender<Request>, writer: JoinHandle<()>, reading: Arc<Reading>) -> Self {
        Self { requests: Mutex::new(Some(requests)), writer: Mutex::new(Some(writer)), reading }
    }

    /// The way in, if there still is one.
    fn requests(&self) -> Option<SyncSender<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the writer come to its end: what was asked before is done.
    fn end(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the registry's writer ended in a panic");
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.end();
    }
}

impl Lookup {
    /// Whether the index answers: `false` while it is built, when the replayed journal does so from memory.
    #[must_use]
    pub fn indexed(&self) -> bool {
        self.0.indexed()
    }

    /// The key with this fingerprint.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn key(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable> {
        self.0.ask(|index| index.key(fingerprint), |state| state.key(fingerprint))
    }

    /// The key with this name.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn named(&self, name: &KeyName) -> Result<Option<KeyRecord>, Unavailable> {
        self.0.ask(|index| index.keys().named(name), |state| state.keys().named(name))
    }

    /// The key, by either of its names.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn find(&self, key: &KeyRef) -> Result<Option<KeyRecord>, Unavailable> {
        match key {
            KeyRef::Name(name) => self.named(name),
            KeyRef::Fingerprint(fingerprint) => self.key(fingerprint),
        }
    }

    /// The account with this name.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn account(&self, name: &AccountName) -> Result<Option<AccountRecord>, Unavailable> {
        self.0.ask(|index| index.account(name), |state| state.account(name))
    }

    /// Asks several things that all have to be true at one moment, as a key and the group that it was granted: a change
    /// that takes a repository from the one and gives it to the other is seen as a whole or not at all.
    ///
    /// Every change waits while `what` runs: it must be short, and must not ask the registry in any other way, which could
    /// wait for such a change.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn at_once<T>(&self, what: impl Fn(&Moment<'_>) -> Result<T, Unavailable>) -> Result<T, Unavailable> {
        self.0.at_once(what)
    }

    /// Whether it is closed here, for good: another process has it, or may.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn accounts(&self) -> Result<Vec<AccountRecord>, Unavailable> {
        self.0.ask(|index| index.accounts(), |state| Ok(state.accounts().cloned().collect()))
    }

    /// How many keys an account holds. Reads their names only.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn count(&self, account: &AccountName) -> Result<usize, Unavailable> {
        self.0.ask(|index| Ok(index.keys().count(account)), |state| Ok(state.keys().count(account)))
    }

    /// The account keys of an account, in no order that matters.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn people(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        self.0.ask(|index| Ok(index.keys().people(account)), |state| Ok(state.keys().people(account)))
    }

    /// At most `limit` keys in the order of their names, of one account or of all, after a name for the next page.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn keys(
        &self,
        account: Option<&AccountName>,
        after: Option<&KeyName>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, Unavailable> {
        self.0.ask(
            |index| index.keys().listed(account, after).take(limit).collect(),
            |state| state.keys().listed(account, after).take(limit).collect(),
        )
    }
}

impl Lookup {
    /// The group with this name.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn group(&self, account: &AccountName, group: &GroupName) -> Result<Option<GroupRecord>, Unavailable> {
        self.0.ask(|index| index.group(account, group), |state| state.group(account, group))
    }

    /// The groups of one account or of all, by account and name.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn groups(&self, account: Option<&AccountName>) -> Result<Vec<GroupRecord>, Unavailable> {
        self.0.ask(|index| index.groups(account), |state| state.groups(account))
    }

    /// Whether and since when a repository is public.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn public(&self, repo: &RepoPath) -> Result<Option<PublicRecord>, Unavailable> {
        self.0.ask(|index| index.public(repo), |state| state.public(repo))
    }

    /// The public repositories of one account or of all, by name.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn publics(&self, account: Option<&AccountName>) -> Result<Vec<PublicRecord>, Unavailable> {
        self.0.ask(|index| index.publics(account), |state| state.publics(account))
    }

    /// The keys that hold exactly this grant.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn granted(&self, grant: &Grant) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        self.0.ask(|index| index.granted(grant), |state| state.granted(grant))
    }

    /// The grants into an account that any key holds, each once.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn grants_into(&self, account: &AccountName) -> Result<Vec<Grant>, Unavailable> {
        self.0.ask(|index| Ok(index.keys().grants_into(account)), |state| Ok(state.keys().grants_into(account)))
    }

    /// The keys of other accounts with a grant that reaches into this one.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn reaching(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        self.0.ask(|index| index.reaching(account), |state| state.reaching(account))
    }

    /// What is left of a key that was removed; of the last time that it was.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn tombstone(&self, key: &KeyRef) -> Result<Option<Tombstone>, Unavailable> {
        self.0.ask(
            |index| match key {
                KeyRef::Fingerprint(key) => index.tomb(key),
                KeyRef::Name(name) => index.tomb_named(name)?.map_or(Ok(None), |key| index.tomb(&key)),
            },
            |state| {
                let key = match key {
                    KeyRef::Fingerprint(key) => Some(key),
                    KeyRef::Name(name) => state.tomb_named(name),
                };
                Ok(key.and_then(|key| state.tomb(key)).cloned())
            },
        )
    }

    /// Whether these changes could be committed together now; nothing is changed.
    ///
    /// # Errors
    /// [`CommitError`], as [`Amend::commit`] would have it.
    pub fn would(&self, by: &str, changes: &[Change]) -> Result<(), CommitError> {
        self.0.would(by, changes)
    }
}

impl Amend {
    /// Commits changes together: when it returns `Ok`, all of them are durable and in force; otherwise none happened.
    /// `by` names the operator, in at most [`record::MAX_BY`] characters; a longer one is cut. Blocks until the change is on
    /// disk. At most [`MAX_COMMIT`] bytes together.
    ///
    /// # Errors
    /// [`CommitError`]. Only when the reason is that the writer is gone can it be that the changes were written, as after
    /// any crash: the next start shows it.
    pub fn commit(&self, by: &str, changes: &[Change]) -> Result<Committed, CommitError> {
        self.commit_all(by, changes.to_vec())
    }

    /// The same for changes that nobody needs any more: a million of them are better not copied.
    ///
    /// # Errors
    /// [`CommitError`]
    pub fn commit_all(&self, by: &str, changes: Vec<Change>) -> Result<Committed, CommitError> {
        Ok(self.ask(by, changes)?.committed)
    }

    /// Commits one change, as [`Amend::commit`] does, and says what it met.
    ///
    /// # Errors
    /// [`CommitError`]
    pub fn change(&self, by: &str, change: Change) -> Result<Told, CommitError> {
        self.ask(by, vec![change])
    }

    /// Closes the registry for everybody who has a handle to it, so that another process can open it: what was asked before
    /// is done and durable; from then on every look-up and every change is [`Unavailable`]. Blocks while the disk does.
    pub fn close(&self) {
        self.0.end();
        self.0.reading.close();
    }

    fn ask(&self, by: &str, changes: Vec<Change>) -> Result<Told, CommitError> {
        let gone = || Unavailable { reason: "the registry's writer is gone".to_owned() };
        let closed = || Unavailable { reason: CLOSED.to_owned() };
        let size = json_length(&changes);
        if size > MAX_COMMIT {
            let reason = format!("a commit of {size} bytes is too large: at most {MAX_COMMIT} are possible together");
            return Err(Unavailable { reason }.into());
        }
        let (reply, answer) = mpsc::sync_channel(1);
        let request = Request { by: printable(by, MAX_BY), changes, size, reply };
        self.0.requests().ok_or_else(closed)?.send(request).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}
