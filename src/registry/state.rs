//! The registry in memory: what the journal comes to when it is replayed, for as long as there is no index.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::change::Unavailable;
use super::keys::Keys;
use super::overlay::Overlay;
use super::record::{AccountRecord, GroupRecord, KeyRecord, PublicRecord, Tombstone};
use super::rules::View;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;

/// Everything the registry knows, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    accounts: BTreeMap<AccountName, AccountRecord>,
    keys: Keys,
    tombs: BTreeMap<Fingerprint, Tombstone>,
    tomb_names: BTreeMap<KeyName, Fingerprint>,
}

/// Puts a value in its place, or takes it away.
fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

impl State {
    /// Takes over what a checked commit changes.
    pub(super) fn apply(&mut self, over: Overlay) {
        self.keys.apply(&over);
        let Overlay { accounts, keys: _, names: _, groups: _, public: _, tombs, tomb_names } = over;
        for (name, record) in accounts {
            put(&mut self.accounts, name, record);
        }
        self.tombs.extend(tombs);
        self.tomb_names.extend(tomb_names);
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountRecord> {
        self.accounts.values()
    }

    /// The keys, and what is found by them; groups and public repositories.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Hands the keys over to the index that was built of them; this state is of no use then.
    pub(super) fn take_keys(&mut self) -> Keys {
        std::mem::take(&mut self.keys)
    }
}

impl State {
    /// What is left of removed keys, in the order of their fingerprints, after one: for filling the index in pieces.
    pub(super) fn tombs_after(&self, after: Option<&Fingerprint>) -> impl Iterator<Item = &Tombstone> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.tombs.range::<Fingerprint, _>((start, Bound::Unbounded)).map(|(_, tomb)| tomb)
    }

    /// Names with the key that was last removed under each, after one: for filling the index in pieces.
    pub(super) fn tomb_names_after(&self, after: Option<&KeyName>) -> impl Iterator<Item = (&KeyName, &Fingerprint)> {
        self.tomb_names.range::<KeyName, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    pub(super) fn tomb(&self, key: &Fingerprint) -> Option<&Tombstone> {
        self.tombs.get(key)
    }

    pub(super) fn tomb_named(&self, name: &KeyName) -> Option<&Fingerprint> {
        self.tomb_names.get(name)
    }
}

impl View for State {
    fn key(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable> {
        self.keys.key(fingerprint)
    }

    fn holder_of(&self, name: &KeyName) -> Result<Option<Fingerprint>, Unavailable> {
        Ok(self.keys.holder_of(name))
    }

    fn account(&self, name: &AccountName) -> Result<Option<AccountRecord>, Unavailable> {
        Ok(self.accounts.get(name).cloned())
    }

    fn held_by(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.keys.held_by(account))
    }

    fn reaching(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.keys.reaching(account))
    }

    fn granted(&self, grant: &Grant) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.keys.granted(grant))
    }

    fn group(&self, account: &AccountName, group: &GroupName) -> Result<Option<GroupRecord>, Unavailable> {
        Ok(self.keys.places().group(account, group).cloned())
    }

    fn groups(&self, account: Option<&AccountName>) -> Result<Vec<GroupRecord>, Unavailable> {
        Ok(self.keys.places().groups(account))
    }

    fn public(&self, repo: &RepoPath) -> Result<Option<PublicRecord>, Unavailable> {
        Ok(self.keys.places().public(repo).cloned())
    }

    fn publics(&self, account: Option<&AccountName>) -> Result<Vec<PublicRecord>, Unavailable> {
        Ok(self.keys.places().publics(account))
    }
}
