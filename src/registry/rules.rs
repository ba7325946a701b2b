//! The registry's rules, written once: what a change does, and what stands against it.
//!
//! The rules do not know where records are kept. They read through a [`View`] and write into an [`Overlay`], which is
//! thrown away when a rule says no, and otherwise goes to the journal and to wherever the records are kept.

mod life;
mod places;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::change::{Change, CommitError, Conflict, Unavailable};
use super::overlay::{Layered, Overlay};
use super::record::{AccountRecord, GroupRecord, Holder, KeyRecord, MAX_GRANTS, MAX_SOURCES, PublicRecord, Tombstone};
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;

/// What the rules need to read.
pub(super) trait View {
    /// The key with this fingerprint.
    fn key(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable>;
    /// Which key has this name.
    fn holder_of(&self, name: &KeyName) -> Result<Option<Fingerprint>, Unavailable>;
    /// The account with this name.
    fn account(&self, name: &AccountName) -> Result<Option<AccountRecord>, Unavailable>;
    /// The keys of an account.
    fn held_by(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable>;
    /// The keys of other accounts with a grant that reaches into this one.
    fn reaching(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable>;
    /// The keys that hold exactly this grant.
    fn granted(&self, grant: &Grant) -> Result<BTreeSet<Fingerprint>, Unavailable>;
    /// The group with this name.
    fn group(&self, account: &AccountName, group: &GroupName) -> Result<Option<GroupRecord>, Unavailable>;
    /// The groups of one account or of all, by account and name.
    fn groups(&self, account: Option<&AccountName>) -> Result<Vec<GroupRecord>, Unavailable>;
    /// Whether and since when a repository is public.
    fn public(&self, repo: &RepoPath) -> Result<Option<PublicRecord>, Unavailable>;
    /// The public repositories of one account or of all, by name.
    fn publics(&self, account: Option<&AccountName>) -> Result<Vec<PublicRecord>, Unavailable>;
}

/// What the changes come to, and which of them change anything.
pub(super) fn check(
    base: &dyn View,
    by: &str,
    changes: &[Change],
    time: Timestamp,
) -> Result<(Overlay, Vec<bool>), CommitError> {
    let mut draft = Draft::new(base);
    let effective = changes.iter().map(|change| draft.apply(change, by, time)).collect::<Result<_, _>>()?;
    Ok((draft.into_overlay(), effective))
}

/// One commit that is being checked: what it would change, over what there is.
pub(super) struct Draft<'a> {
    under: &'a dyn View,
    over: Overlay,
}

impl<'a> Draft<'a> {
    pub(super) fn new(under: &'a dyn View) -> Self {
        Self::over(under, Overlay::default())
    }

    /// One that goes on where another one ended.
    pub(super) fn over(under: &'a dyn View, over: Overlay) -> Self {
        Self { under, over }
    }

    /// What the changes that were applied come to.
    pub(super) fn into_overlay(self) -> Overlay {
        self.over
    }

    /// The key that a change is about, as the change would meet it.
    pub(super) fn met(&self, change: &Change) -> Result<Option<KeyRecord>, Unavailable> {
        change.key().map_or(Ok(None), |key| self.view().key(key))
    }

    /// The rules that came later than journals which break them: they hold for what is committed, and what was committed
    /// is read without them.
    pub(super) fn admit(&self, change: &Change) -> Result<(), CommitError> {
        if let Change::AccountClose { account } = change {
            let view = self.view();
            let empty = view.held_by(account)?.is_empty()
                && view.reaching(account)?.is_empty()
                && view.groups(Some(account))?.is_empty()
                && view.publics(Some(account))?.is_empty();
            if !empty {
                return Err(Conflict::NotEmpty(account.clone()).into());
            }
        }
        Ok(())
    }

    /// Applies one change, or says which rule stands against it; after an error the draft is of no use any more.
    /// `Ok(false)`: it was so already.
    pub(super) fn apply(&mut self, change: &Change, by: &str, at: Timestamp) -> Result<bool, CommitError> {
        match change {
            Change::AccountAdd { account } => {
                if self.view().account(account)?.is_some() {
                    return Ok(false);
                }
                let record = AccountRecord { name: account.clone(), added_at: at, added_by: by.to_owned() };
                self.over.accounts.insert(account.clone(), Some(record));
                Ok(true)
            }
            Change::AccountRemove { account } => self.remove_account(account, by, at),
            Change::AccountClose { account } => {
                if !self.view().held_by(account)?.is_empty() {
                    return Err(Conflict::NotEmpty(account.clone()).into());
                }
                self.remove_account(account, by, at)
            }
            Change::KeyAdd { key, name, holder, note, expiry, sources, grants } => {
                let fingerprint = key.fingerprint();
                if let Some(held) = self.view().key(&fingerprint)? {
                    return Err(Conflict::KeyHeld { holder: held.name, kind: held.holder }.into());
                }
                if self.view().account(&name.account)?.is_none() {
                    return Err(Conflict::NoAccount(name.account.clone()).into());
                }
                self.label_is_free(name)?;
                if *holder == Holder::AccountKey && !grants.is_empty() {
                    return Err(Conflict::NotADeployKey(name.clone()).into());
                }
                if sources.len() > MAX_SOURCES {
                    return Err(Conflict::TooManySources(name.clone()).into());
                }
                let record = KeyRecord {
                    key: key.clone(),
                    name: name.clone(),
                    holder: *holder,
                    note: note.clone(),
                    added_at: at,
                    added_by: by.to_owned(),
                    expiry: *expiry,
                    expiry_set: None,
                    suspended: None,
                    sources: sources.clone(),
                    grants: united(&[], grants, name)?,
                    replaces: None,
                    replaced_by: None,
                };
                self.over.names.insert(name.clone(), Some(fingerprint));
                self.put(record);
                Ok(true)
            }
            Change::KeyRemove { key } => {
                let record = self.required(key)?;
                self.take(record, by, at);
                Ok(true)
            }
            Change::KeyRename { key, label } => {
                let mut record = self.required(key)?;
                if record.name.label == *label {
                    return Ok(false);
                }
                let new = KeyName { account: record.name.account.clone(), label: label.clone() };
                self.label_is_free(&new)?;
                let old = std::mem::replace(&mut record.name, new.clone());
                self.over.names.insert(old, None);
                self.over.names.insert(new, Some(*key));
                self.tell_rotation(&record)?;
                self.put(record);
                Ok(true)
            }
            Change::KeyNote { key, note } => {
                let record = self.required(key)?;
                Ok(self.put_if(record.note != *note, KeyRecord { note: note.clone(), ..record }))
            }
            Change::KeyGrant { key, grants } => {
                let record = self.required(key)?;
                if record.holder == Holder::AccountKey {
                    return Err(Conflict::NotADeployKey(record.name).into());
                }
                let next = united(&record.grants, grants, &record.name)?;
                Ok(self.put_if(next != record.grants, KeyRecord { grants: next, ..record }))
            }
            Change::KeyUngrant { key, grants } => {
                let mut record = self.required(key)?;
                let before = record.grants.len();
                record.grants.retain(|grant| !grants.contains(grant));
                Ok(self.put_if(record.grants.len() != before, record))
            }
            Change::KeyExpire { key, expiry } => self.expire(key, *expiry, at),
            Change::KeySuspend { key, reason } => self.suspend(key, reason, by, at),
            Change::KeyResume { key } => self.resume(key),
            Change::KeySources { key, sources } => self.sources(key, sources),
            Change::KeyRotate { old, new, label, expiry, until } => {
                self.rotate(old, new, label, (*expiry, *until), by, at)
            }
            Change::KeyOverlap { key, until } => self.overlap(key, *until),
            Change::GroupAdd { account, group, repos } => self.group_add(account, group, repos, by, at),
            Change::GroupDrop { account, group, repos } => self.group_drop(account, group, repos),
            Change::GroupRemove { account, group } => self.group_remove(account, group),
            Change::RepoPublish { repo } => self.publish(repo, by, at),
            Change::RepoUnpublish { repo } => self.unpublish(repo),
            Change::RepoRemove { repo } => self.repo_remove(repo),
        }
    }

    fn remove_account(&mut self, account: &AccountName, by: &str, at: Timestamp) -> Result<bool, CommitError> {
        if self.view().account(account)?.is_none() {
            return Err(Conflict::NoAccount(account.clone()).into());
        }
        for fingerprint in self.view().held_by(account)? {
            let record = self.required(&fingerprint)?;
            self.take(record, by, at);
        }
        for fingerprint in self.view().reaching(account)? {
            let mut record = self.required(&fingerprint)?;
            record.grants.retain(|grant| grant.account_str() != account.as_str());
            self.put(record);
        }
        for group in self.view().groups(Some(account))? {
            self.over.groups.insert((group.account, group.name), None);
        }
        for public in self.view().publics(Some(account))? {
            self.over.public.insert(public.repo, None);
        }
        self.over.accounts.insert(account.clone(), None);
        Ok(true)
    }

    fn view(&self) -> Layered<'_> {
        Layered { under: self.under, over: &self.over }
    }

    fn put(&mut self, record: KeyRecord) {
        self.over.keys.insert(record.fingerprint(), Some(record));
    }

    fn put_if(&mut self, changed: bool, record: KeyRecord) -> bool {
        if changed {
            self.put(record);
        }
        changed
    }

    /// Takes a key out, and leaves its history.
    fn take(&mut self, record: KeyRecord, by: &str, at: Timestamp) {
        let key = record.fingerprint();
        self.over.names.insert(record.name.clone(), None);
        self.over.keys.insert(key, None);
        self.over.tomb_names.insert(record.name.clone(), key);
        let KeyRecord { name, holder, note, added_at, added_by, replaced_by, .. } = record;
        let (removed_at, removed_by) = (at, by.to_owned());
        let tomb = Tombstone { key, name, holder, note, added_at, added_by, removed_at, removed_by, replaced_by };
        self.over.tombs.insert(key, tomb);
    }

    fn required(&self, key: &Fingerprint) -> Result<KeyRecord, CommitError> {
        self.view().key(key)?.ok_or_else(|| Conflict::NoKey(KeyRef::Fingerprint(*key)).into())
    }

    fn label_is_free(&self, name: &KeyName) -> Result<(), CommitError> {
        match self.view().holder_of(name)? {
            Some(fingerprint) => Err(Conflict::LabelTaken { name: name.clone(), fingerprint }.into()),
            None => Ok(()),
        }
    }
}

/// Both lists without repetition, sorted, within the bound.
fn united(have: &[Grant], more: &[Grant], name: &KeyName) -> Result<Vec<Grant>, Conflict> {
    let mut all: Vec<Grant> = have.iter().chain(more).cloned().collect();
    all.sort();
    all.dedup();
    if all.len() > MAX_GRANTS { Err(Conflict::TooManyGrants(name.clone())) } else { Ok(all) }
}
