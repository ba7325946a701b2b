//! Where look-ups are answered from, and what happens when nobody needs an answer any more.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;

use super::CLOSED;
use super::change::{Change, CommitError, Unavailable};
use super::files::Lock;
use super::index::{Applied, Index, IndexReader, IndexWriter};
use super::keys::Keys;
use super::mark;
use super::meter::Meter;
use super::record::{GroupRecord, KeyRecord, PublicRecord};
use super::rules::{View as _, check};
use super::state::State;
use crate::model::fingerprint::Fingerprint;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;

/// Who answers.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The index.
    Index(IndexReader),
    /// The replayed journal: there is no index, or not yet.
    Replayed(Arc<RwLock<State>>),
    /// Nobody.
    Nobody(Unavailable),
}

/// Keys, groups and public repositories as they are at one moment: no change comes in between two questions.
#[derive(Debug)]
pub struct Moment<'a>(&'a Keys);

impl Moment<'_> {
    /// The key with this fingerprint.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn key(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable> {
        self.0.key(fingerprint)
    }

    /// The group with this name.
    #[must_use]
    pub fn group(&self, account: &AccountName, group: &GroupName) -> Option<&GroupRecord> {
        self.0.places().group(account, group)
    }

    /// Whether and since when a repository is public.
    #[must_use]
    pub fn public(&self, repo: &RepoPath) -> Option<&PublicRecord> {
        self.0.places().public(repo)
    }
}

/// What every handle shares. The last one to go closes it, if nobody did before.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) source: RwLock<Source>,
    damaged: AtomicBool,
    /// What the index has, and whether that is much more than when it was opened.
    clean: Mutex<Option<(Applied, bool)>>,
    dir: PathBuf,
    /// What is told of it all.
    pub(super) meter: Meter,
    /// Until it is closed.
    lock: Mutex<Option<Lock>>,
}

impl Reading {
    pub(super) fn new(source: Source, dir: PathBuf, lock: Lock) -> Self {
        Self {
            source: RwLock::new(source),
            damaged: AtomicBool::new(false),
            clean: Mutex::new(None),
            dir,
            meter: Meter::default(),
            lock: Mutex::new(Some(lock)),
        }
    }

    /// Asks whoever answers now.
    pub(super) fn ask<T>(
        &self,
        index: impl FnOnce(&IndexReader) -> Result<T, Unavailable>,
        replayed: impl FnOnce(&State) -> Result<T, Unavailable>,
    ) -> Result<T, Unavailable> {
        match &*self.source.read().unwrap_or_else(PoisonError::into_inner) {
            Source::Index(reader) => index(reader).inspect_err(|error| self.found_damage(error)),
            Source::Replayed(state) => replayed(&state.read().unwrap_or_else(PoisonError::into_inner)),
            Source::Nobody(error) => Err(error.clone()),
        }
    }

    /// What would stand against these changes. Of who answers the handle is taken first: a million changes take a while.
    pub(super) fn would(&self, by: &str, changes: &[Change]) -> Result<(), CommitError> {
        let source = self.source.read().unwrap_or_else(PoisonError::into_inner).clone();
        let now = Timestamp::now();
        match source {
            Source::Index(reader) => check(&reader, by, changes, now),
            Source::Replayed(state) => check(&*state.read().unwrap_or_else(PoisonError::into_inner), by, changes, now),
            Source::Nobody(error) => return Err(error.into()),
        }?;
        Ok(())
    }

    /// Asks several things that all have to be true at one moment.
    pub(super) fn at_once<T>(&self, what: impl Fn(&Moment<'_>) -> Result<T, Unavailable>) -> Result<T, Unavailable> {
        self.ask(|index| what(&Moment(&index.keys())), |state| what(&Moment(state.keys())))
    }

    /// Whether the index answers.
    pub(super) fn indexed(&self) -> bool {
        matches!(&*self.source.read().unwrap_or_else(PoisonError::into_inner), Source::Index(_))
    }

    /// Whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Whether anybody answers.
    pub(super) fn answers(&self) -> bool {
        !matches!(&*self.source.read().unwrap_or_else(PoisonError::into_inner), Source::Nobody(_))
    }

    /// The keys of other accounts that are known to reach into this one.
    pub(super) fn reaching(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        self.ask(|index| index.reaching(account), |state| state.reaching(account))
    }

    /// Lets somebody else answer from now on.
    pub(super) fn set(&self, source: Source) {
        // The old one is dropped outside of the lock: closing an index takes time.
        let old = std::mem::replace(&mut *self.source.write().unwrap_or_else(PoisonError::into_inner), source);
        drop(old);
    }

    /// Lets an index answer that was built of a state, which hands its keys over. Nobody is asking while it does.
    pub(super) fn take_over(&self, state: &RwLock<State>, index: IndexWriter) -> (Index, IndexReader) {
        let mut source = self.source.write().unwrap_or_else(PoisonError::into_inner);
        let index = Index::of(index, state.write().unwrap_or_else(PoisonError::into_inner).take_keys());
        let reader = index.reader();
        let old = std::mem::replace(&mut *source, Source::Index(reader.clone()));
        drop(source);
        drop(old);
        (index, reader)
    }

    /// Something that was read cannot be right; the writer looks after it.
    pub(super) fn found_damage(&self, error: &Unavailable) {
        tracing::error!(%error, "the registry cannot be read");
        self.damaged.store(true, Ordering::Release);
    }

    /// Whether a look-up found the index broken since this was last asked.
    pub(super) fn take_damage(&self) -> bool {
        self.damaged.swap(false, Ordering::AcqRel)
    }

    /// Nothing will be written any more, and the index has everything up to here.
    pub(super) fn will_be_clean(&self, applied: Applied, changed_much: bool) {
        *self.clean.lock().unwrap_or_else(PoisonError::into_inner) = Some((applied, changed_much));
    }

    pub(super) fn dir(&self) -> &std::path::Path {
        &self.dir
    }
}

impl Reading {
    /// Answers nothing from now on; closes the index, marks it as clean when the writer ended well, and frees the lock. Once.
    pub(super) fn close(&self) {
        let Some(lock) = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.set(Source::Nobody(Unavailable { reason: CLOSED.to_owned() }));
        let clean = self.clean.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((applied, changed_much)) = clean.filter(|_| !self.damaged.load(Ordering::Acquire)) {
            let marked = match changed_much {
                true => mark::settle(&self.dir).and_then(|()| mark::put(&self.dir, applied)),
                false => mark::put(&self.dir, applied),
            };
            if let Err(error) = marked {
                tracing::warn!(%error, "the index is not marked as clean: it will be compared, or built again, at the next start");
            }
        }
        // Last: whoever waits for it finds everything in its place.
        drop(lock);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.close();
    }
}
