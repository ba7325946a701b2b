//! The index: the registry as the journal has it, so that a start needs not do everything again. The only file that names
//! sled.
//!
//! The rows of keys, groups and public repositories are read into memory when it is opened, all of them, and look-ups are
//! answered from there: see `keys`. What is seldom asked for is read from the trees.
//!
//! Nothing in it is trusted beyond what the journal says: whoever finds it broken deletes it and builds it again. sled may
//! fail by an error, a panic or a hang, so every call goes through [`guarded`], and opening has a time limit.

mod facts;
mod flusher;
mod load;
mod tally;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, mpsc};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sled::transaction::{ConflictableTransactionError, TransactionError, TransactionalTree};
use sled::{Error as TreeError, IVec, Transactional as _, Tree};

use super::change::Unavailable;
use super::journal::entry::Hash;
use super::keys::{Keys, Places};
use super::overlay::Overlay;
use super::record::{AccountRecord, GroupRecord, KeyRecord, PublicRecord};
use super::row;
use super::rules::View;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;
use flusher::Flusher;
use tally::{Rows, Stored, Sums, Tallies};

/// Of the index's layout; another one is built again.
const SCHEMA: u32 = 5;
/// How much of the index sled keeps in memory, in bytes.
const CACHE: u64 = 384 * 1024 * 1024;
/// How long opening may take before the index counts as broken.
const OPEN_LIMIT: Duration = Duration::from_secs(60);
/// The file in the index's directory that sled locks while it has it open.
pub(super) const LOCKED_FILE: &str = "db";
/// Longer values would go to files of their own, which sled never syncs (its limit is 128 KiB).
const MAX_VALUE: usize = 120 * 1024;
/// How much changes in one transaction at most, in keys: it holds everything in memory several times.
const TOGETHER: usize = 4096;
const APPLIED: &[u8] = b"applied";
/// After how many changed keys the next start would spend its time on reading sled's log again, if closing did not.
pub(super) const MUCH: u64 = if cfg!(test) { 1000 } else { 200_000 };

/// Up to where the journal is in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Applied {
    pub(super) schema: u32,
    pub(super) seq: u64,
    pub(super) hash: Hash,
}

impl Applied {
    pub(super) fn new(seq: u64, hash: Hash) -> Self {
        Self { schema: SCHEMA, seq, hash }
    }
}

/// The trees. Text keys with two parts have a zero byte between them, which sorts before every character of a name.
#[derive(Clone)]
struct Trees {
    db: sled::Db,
    /// Fingerprint: the key's record.
    keys: sled::Tree,
    /// Name: the account's record.
    accounts: sled::Tree,
    /// Groups, public repositories and what is left of removed keys; see `facts`.
    facts: sled::Tree,
    /// [`APPLIED`]: [`Stored`].
    meta: sled::Tree,
}

/// The reading half: no method of it writes, and none hands out what could.
#[derive(Clone)]
pub(super) struct IndexReader {
    trees: Trees,
    keys: Arc<RwLock<Keys>>,
}

/// The trees, and what is written to them. There is one, and the writer's thread has it.
pub(super) struct IndexWriter {
    trees: Trees,
    sums: Cell<Sums>,
    /// How many keys were changed since it was opened.
    changed: Cell<u64>,
    flusher: Flusher,
}

/// An index that answers: the trees, and the keys in memory.
#[derive(Debug)]
pub(super) struct Index {
    writer: IndexWriter,
    keys: Arc<RwLock<Keys>>,
}

impl Index {
    /// Opens the index in `dir` within a time limit, and reads all of its rows: refuses it when they are not what was
    /// written up to where it says that it is.
    pub(super) fn open(dir: &Path) -> Result<Self, Unavailable> {
        let (writer, keys) = IndexWriter::open_and(dir, |writer| {
            let stored =
                stored(&writer.trees)?.ok_or_else(|| damaged("it was being changed when its process ended"))?;
            if stored.applied.schema != SCHEMA {
                return Err(damaged("it is of another version"));
            }
            load::load(&writer.trees, stored.sums)
        })?;
        Ok(Self::of(writer, keys))
    }

    /// Trees that were filled from these keys.
    pub(super) fn of(writer: IndexWriter, keys: Keys) -> Self {
        Self { writer, keys: Arc::new(RwLock::new(keys)) }
    }

    pub(super) fn reader(&self) -> IndexReader {
        IndexReader { trees: self.writer.trees.clone(), keys: Arc::clone(&self.keys) }
    }

    /// Takes over an overlay: on the disk first, and then all of it at once for whoever looks. When the trees fail, memory is
    /// as it was.
    pub(super) fn apply(&self, over: &Overlay, applied: Applied) -> Result<(), Unavailable> {
        self.writer.apply(over, Some(applied))?;
        self.keys.write().unwrap_or_else(PoisonError::into_inner).apply(over);
        Ok(())
    }

    /// Whether so much was changed since it was opened that it is worth a [`settle`].
    pub(super) fn changed_much(&self) -> bool {
        self.writer.changed.get() > MUCH
    }

    /// Hands everything to the kernel; the files are synced when they are closed.
    pub(super) fn flush(&self) -> Result<(), Unavailable> {
        guarded(|| self.writer.trees.db.flush()).map(drop)
    }
}

impl fmt::Debug for IndexReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexReader")
    }
}

impl fmt::Debug for IndexWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexWriter")
    }
}

/// Runs something of sled's, and makes an error or a panic of it an "unavailable".
fn guarded<T, E: fmt::Display>(what: impl FnOnce() -> Result<T, E>) -> Result<T, Unavailable> {
    match catch_unwind(AssertUnwindSafe(what)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Unavailable { reason: format!("the index: {error}") }),
        Err(_) => Err(Unavailable { reason: "the index: a panic inside of it".to_owned() }),
    }
}

/// A stored value; one that does not parse is no answer, and never no value.
fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T, Unavailable> {
    serde_json::from_slice(value).map_err(|error| damaged(&format!("a value does not parse: {error}")))
}

fn parse_fingerprint(bytes: &[u8]) -> Result<Fingerprint, Unavailable> {
    bytes.try_into().map(Fingerprint::from_bytes).map_err(|_| damaged("a fingerprint has the wrong length"))
}

fn damaged(what: &str) -> Unavailable {
    Unavailable { reason: format!("the index is damaged: {what}") }
}

/// The key of an account's second part.
fn pair(account: &str, rest: &[u8]) -> Vec<u8> {
    [account.as_bytes(), &[0], rest].concat()
}

impl IndexWriter {
    /// Opens the trees in `dir`, which must be there, within a time limit.
    pub(super) fn open(dir: &Path) -> Result<Self, Unavailable> {
        Self::open_and(dir, |_| Ok(())).map(|(writer, ())| writer)
    }

    fn open_and<T: Send + 'static>(
        dir: &Path,
        look: impl FnOnce(&Self) -> Result<T, Unavailable> + Send + 'static,
    ) -> Result<(Self, T), Unavailable> {
        let path = dir.to_owned();
        let (done, opened) = mpsc::sync_channel(1);
        let open = move || {
            let outcome = guarded(|| {
                let config = sled::Config::new().path(&path).cache_capacity(CACHE);
                // By our own thread: see `flusher`.
                let db = config.flush_every_ms(None).open()?;
                Ok::<_, sled::Error>(Trees {
                    keys: db.open_tree("keys")?,
                    accounts: db.open_tree("accounts")?,
                    facts: db.open_tree("facts")?,
                    meta: db.open_tree("meta")?,
                    db,
                })
            });
            let outcome = outcome.and_then(|trees| {
                let sums = stored(&trees)?.map_or_else(Sums::default, |stored| stored.sums);
                let flusher = flusher(&path.join(LOCKED_FILE), &trees)?;
                let index = Self { trees, sums: Cell::new(sums), changed: Cell::new(0), flusher };
                look(&index).map(|found| (index, found))
            });
            // Nobody waits any more: the index was given up.
            drop(done.send(outcome));
        };
        std::thread::Builder::new()
            .name("registry-index".to_owned())
            .spawn(open)
            .map_err(|error| Unavailable { reason: format!("no thread for the index: {error}") })?;
        let gone = |_| Unavailable { reason: format!("the index does not open within {} s", OPEN_LIMIT.as_secs()) };
        opened.recv_timeout(OPEN_LIMIT).map_err(gone)?
    }

    /// Takes over an overlay, together with how far the journal is in the index now.
    ///
    /// All of it at once, unless it is very large, as when an account goes with all of its keys. Then it goes row by row, and
    /// a crash in between leaves an index that does not say how far the journal is in it.
    pub(super) fn apply(&self, over: &Overlay, applied: Option<Applied>) -> Result<(), Unavailable> {
        let size = over.keys.len() + over.tombs.len();
        self.changed.set(self.changed.get() + size as u64);
        if size <= TOGETHER {
            return self.transact(over, applied);
        }
        guarded(|| self.trees.meta.remove(APPLIED))?;
        let sums = Cell::new(self.sums.get());
        guarded(|| facts::put(&Tallies::new(self.trees.rows(), &sums), over).map_err(said))?;
        self.sums.set(sums.get());
        match applied {
            Some(_) => self.transact(&Overlay::default(), applied),
            None => Ok(()),
        }
    }

    fn transact(&self, over: &Overlay, applied: Option<Applied>) -> Result<(), Unavailable> {
        let Trees { db: _, keys, accounts, facts, meta } = &self.trees;
        let sums = guarded(|| {
            (keys, accounts, facts, meta)
                .transaction(|(keys, accounts, facts, meta)| {
                    // From the start: sled may do this more than once.
                    let sums = Cell::new(self.sums.get());
                    facts::put(&Tallies::new([keys, accounts, facts], &sums), over)?;
                    if let Some(applied) = applied {
                        meta.insert(APPLIED, json(&Stored { applied, sums: sums.get() })?)?;
                    }
                    Ok(sums.get())
                })
                .map_err(|error: TransactionError<Unavailable>| match error {
                    TransactionError::Abort(error) => error.to_string(),
                    TransactionError::Storage(error) => error.to_string(),
                })
        })?;
        self.sums.set(sums);
        self.flusher.wake();
        Ok(())
    }
}

/// Opens an index that is closed, and closes it: sled writes down where everything is when it is opened, and at no other
/// time, so that the next one to open it needs not read all of its log for that.
pub(super) fn settle(dir: &Path) -> Result<(), Unavailable> {
    IndexWriter::open(dir).map(drop)
}

/// The thread that brings these trees to the disk, which are in this file.
fn flusher(file: &Path, trees: &Trees) -> Result<Flusher, Unavailable> {
    let failed = |error| Unavailable { reason: format!("the index: {error}") };
    let (file, db) = (File::open(file).map_err(failed)?, trees.db.clone());
    // sled's own `flush` asks the kernel to write, and no disk to keep anything.
    Flusher::start(move || guarded(|| db.flush()).and_then(|_| file.sync_data().map_err(failed)))
}

impl Trees {
    fn rows(&self) -> [&Tree; 3] {
        [&self.keys, &self.accounts, &self.facts]
    }
}

type InTransaction<T> = Result<T, ConflictableTransactionError<Unavailable>>;

/// What stopped a change outside of a transaction, in words.
fn said(error: ConflictableTransactionError<Unavailable>) -> String {
    match error {
        ConflictableTransactionError::Abort(error) => error.to_string(),
        ConflictableTransactionError::Storage(error) => error.to_string(),
        ConflictableTransactionError::Conflict => "a conflict with itself".to_owned(),
    }
}

fn stored(trees: &Trees) -> Result<Option<Stored>, Unavailable> {
    guarded(|| trees.meta.get(APPLIED))?.map(|value| parse(&value)).transpose()
}

fn json<T: Serialize>(value: &T) -> InTransaction<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| ConflictableTransactionError::Abort(Unavailable { reason: error.to_string() }))
}

fn encoded<T: Serialize>(record: &T) -> InTransaction<Vec<u8>> {
    let bytes = row::encode(record).map_err(ConflictableTransactionError::Abort)?;
    if bytes.len() > MAX_VALUE {
        let reason = format!("a record of {} bytes is too large for the index", bytes.len());
        return Err(ConflictableTransactionError::Abort(Unavailable { reason }));
    }
    Ok(bytes)
}

impl IndexReader {
    /// How far the journal is in the index; `None` when it says nothing.
    pub(super) fn applied(&self) -> Result<Option<Applied>, Unavailable> {
        Ok(stored(&self.trees)?.map(|stored| stored.applied))
    }

    /// The keys, for as long as nobody changes them.
    pub(super) fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All accounts, by name.
    pub(super) fn accounts(&self) -> Result<Vec<AccountRecord>, Unavailable> {
        let mut rows = self.trees.accounts.iter().values();
        let mut found = Vec::new();
        while let Some(value) = guarded(|| rows.next().transpose())? {
            found.push(row::decode(&value)?);
        }
        Ok(found)
    }

    /// Puts other bytes in a key's place.
    #[cfg(test)]
    pub(super) fn spoil(&self, fingerprint: &Fingerprint, with: &[u8]) {
        self.keys.write().unwrap().spoil(*fingerprint, with);
    }
}

impl View for IndexReader {
    fn key(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable> {
        self.keys().key(fingerprint)
    }

    fn holder_of(&self, name: &KeyName) -> Result<Option<Fingerprint>, Unavailable> {
        Ok(self.keys().holder_of(name))
    }

    fn account(&self, name: &AccountName) -> Result<Option<AccountRecord>, Unavailable> {
        guarded(|| self.trees.accounts.get(name.as_str()))?.map(|value| row::decode(&value)).transpose()
    }

    fn held_by(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.keys().held_by(account))
    }

    fn reaching(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.keys().reaching(account))
    }

    fn granted(&self, grant: &Grant) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.keys().granted(grant))
    }

    fn group(&self, account: &AccountName, group: &GroupName) -> Result<Option<GroupRecord>, Unavailable> {
        Ok(self.keys().places().group(account, group).cloned())
    }

    fn groups(&self, account: Option<&AccountName>) -> Result<Vec<GroupRecord>, Unavailable> {
        Ok(self.keys().places().groups(account))
    }

    fn public(&self, repo: &RepoPath) -> Result<Option<PublicRecord>, Unavailable> {
        Ok(self.keys().places().public(repo).cloned())
    }

    fn publics(&self, account: Option<&AccountName>) -> Result<Vec<PublicRecord>, Unavailable> {
        Ok(self.keys().places().publics(account))
    }
}
