//! The registry's rules over plain maps: what one change does, and what stands against it.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::Timestamp;

use super::change::{Change, Conflict};
use super::record::{AccountRecord, Holder, KeyRecord, MAX_GRANTS, MAX_SOURCES};
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::AccountName;

/// Everything the registry knows, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    accounts: BTreeMap<AccountName, AccountRecord>,
    keys: BTreeMap<Fingerprint, KeyRecord>,
    names: BTreeMap<KeyName, Fingerprint>,
}

impl State {
    pub(super) fn key(&self, fingerprint: &Fingerprint) -> Option<&KeyRecord> {
        self.keys.get(fingerprint)
    }

    pub(super) fn named(&self, name: &KeyName) -> Option<&KeyRecord> {
        self.key(self.names.get(name)?)
    }

    pub(super) fn account(&self, name: &AccountName) -> Option<&AccountRecord> {
        self.accounts.get(name)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountRecord> {
        self.accounts.values()
    }

    pub(super) fn keys<'a>(
        &'a self,
        account: Option<&'a AccountName>,
        after: Option<&KeyName>,
    ) -> impl Iterator<Item = &'a KeyRecord> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.names
            .range::<KeyName, _>((start, Bound::Unbounded))
            .filter_map(|(_, fingerprint)| self.key(fingerprint))
            .filter(move |key| account.is_none_or(|account| key.account() == account))
    }

    /// Applies one change, or says which rule stands against it and leaves everything as it was. `Ok(false)`: it was so
    /// already.
    pub(super) fn apply(&mut self, change: &Change, by: &str, at: Timestamp) -> Result<bool, Conflict> {
        match change {
            Change::AccountAdd { account } => {
                if self.accounts.contains_key(account) {
                    return Ok(false);
                }
                let record = AccountRecord { name: account.clone(), added_at: at, added_by: by.to_owned() };
                self.accounts.insert(account.clone(), record);
                Ok(true)
            }
            Change::AccountRemove { account } => {
                self.accounts.remove(account).ok_or_else(|| Conflict::NoAccount(account.clone()))?;
                self.names.retain(|name, _| name.account != *account);
                self.keys.retain(|_, key| key.account() != account);
                for key in self.keys.values_mut() {
                    key.grants.retain(|grant| grant.account_str() != account.as_str());
                }
                Ok(true)
            }
            Change::KeyAdd { key, name, holder, note, expiry, sources, grants } => {
                let fingerprint = key.fingerprint();
                if let Some(held) = self.keys.get(&fingerprint) {
                    return Err(Conflict::KeyHeld { holder: held.name.clone(), kind: held.holder });
                }
                if !self.accounts.contains_key(&name.account) {
                    return Err(Conflict::NoAccount(name.account.clone()));
                }
                self.label_is_free(name)?;
                if *holder == Holder::AccountKey && !grants.is_empty() {
                    return Err(Conflict::NotADeployKey(name.clone()));
                }
                if sources.len() > MAX_SOURCES {
                    return Err(Conflict::TooManySources(name.clone()));
                }
                let record = KeyRecord {
                    key: key.clone(),
                    name: name.clone(),
                    holder: *holder,
                    note: note.clone(),
                    added_at: at,
                    added_by: by.to_owned(),
                    expiry: *expiry,
                    suspended: None,
                    sources: sources.clone(),
                    grants: united(&[], grants, name)?,
                };
                self.names.insert(name.clone(), fingerprint);
                self.keys.insert(fingerprint, record);
                Ok(true)
            }
            Change::KeyRemove { key } => {
                let record = self.keys.remove(key).ok_or(Conflict::NoKey(KeyRef::Fingerprint(*key)))?;
                self.names.remove(&record.name);
                Ok(true)
            }
            Change::KeyRename { key, label } => {
                let old = self.required(key)?.name.clone();
                if old.label == *label {
                    return Ok(false);
                }
                let new = KeyName { account: old.account.clone(), label: label.clone() };
                self.label_is_free(&new)?;
                self.names.remove(&old);
                self.names.insert(new.clone(), *key);
                self.required(key)?.name = new;
                Ok(true)
            }
            Change::KeyNote { key, note } => {
                let record = self.required(key)?;
                let changed = record.note != *note;
                record.note = note.clone();
                Ok(changed)
            }
            Change::KeyGrant { key, grants } => {
                let record = self.required(key)?;
                if record.holder == Holder::AccountKey {
                    return Err(Conflict::NotADeployKey(record.name.clone()));
                }
                let next = united(&record.grants, grants, &record.name)?;
                let changed = next != record.grants;
                record.grants = next;
                Ok(changed)
            }
            Change::KeyUngrant { key, grants } => {
                let record = self.required(key)?;
                let before = record.grants.len();
                record.grants.retain(|grant| !grants.contains(grant));
                Ok(record.grants.len() != before)
            }
        }
    }

    fn required(&mut self, key: &Fingerprint) -> Result<&mut KeyRecord, Conflict> {
        self.keys.get_mut(key).ok_or(Conflict::NoKey(KeyRef::Fingerprint(*key)))
    }

    fn label_is_free(&self, name: &KeyName) -> Result<(), Conflict> {
        match self.names.get(name) {
            Some(fingerprint) => Err(Conflict::LabelTaken { name: name.clone(), fingerprint: *fingerprint }),
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
