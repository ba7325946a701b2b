//! The registry in memory: what the journal comes to when it is replayed, for as long as there is no index.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::change::Unavailable;
use super::overlay::{Overlay, reach};
use super::record::{AccountRecord, GroupRecord, KeyRecord, PublicRecord, Tombstone};
use super::row::Rows;
use super::rules::View;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName, Label};
use crate::model::repo_path::RepoPath;

/// Everything the registry knows, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    accounts: BTreeMap<AccountName, AccountRecord>,
    keys: Rows,
    names: BTreeMap<AccountName, BTreeMap<Label, Fingerprint>>,
    /// Which keys of other accounts have grants that reach into an account.
    reaching: BTreeMap<String, BTreeSet<Fingerprint>>,
    /// Which keys have a grant.
    granted: BTreeMap<Grant, BTreeSet<Fingerprint>>,
    groups: BTreeMap<(AccountName, GroupName), GroupRecord>,
    public: BTreeMap<RepoPath, PublicRecord>,
    tombs: BTreeMap<Fingerprint, Tombstone>,
    tomb_names: BTreeMap<KeyName, Fingerprint>,
}

/// Puts a value in its place, or takes it away.
fn put<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, value: Option<&V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    }
}

/// Takes a key out of a set, and the set away when nothing is left in it.
fn take<K: Ord>(sets: &mut BTreeMap<K, BTreeSet<Fingerprint>>, set: &K, key: &Fingerprint) {
    if let Some(keys) = sets.get_mut(set) {
        keys.remove(key);
        if keys.is_empty() {
            sets.remove(set);
        }
    }
}

impl State {
    /// Takes over what a checked commit changes.
    pub(super) fn apply(&mut self, over: &Overlay) {
        for (name, record) in &over.accounts {
            put(&mut self.accounts, name, record.as_ref());
        }
        for (fingerprint, record) in &over.keys {
            let old = match record {
                Some(record) => self.keys.insert(*fingerprint, record),
                None => self.keys.remove(fingerprint),
            };
            for account in old.iter().flat_map(reach) {
                take(&mut self.reaching, &account.to_owned(), fingerprint);
            }
            for grant in old.iter().flat_map(|record| &record.grants) {
                take(&mut self.granted, grant, fingerprint);
            }
            for account in record.iter().flat_map(reach) {
                self.reaching.entry(account.to_owned()).or_default().insert(*fingerprint);
            }
            for grant in record.iter().flat_map(|record| &record.grants) {
                self.granted.entry(grant.clone()).or_default().insert(*fingerprint);
            }
        }
        over.groups.iter().for_each(|(place, record)| drop(put(&mut self.groups, place, record.as_ref())));
        over.public.iter().for_each(|(repo, record)| drop(put(&mut self.public, repo, record.as_ref())));
        self.tombs.extend(over.tombs.iter().map(|(key, tomb)| (*key, tomb.clone())));
        self.tomb_names.extend(over.tomb_names.iter().map(|(name, key)| (name.clone(), *key)));
        for (name, fingerprint) in &over.names {
            match fingerprint {
                Some(fingerprint) => {
                    self.names.entry(name.account.clone()).or_default().insert(name.label.clone(), *fingerprint);
                }
                None => {
                    if let Some(labels) = self.names.get_mut(&name.account) {
                        labels.remove(&name.label);
                        if labels.is_empty() {
                            self.names.remove(&name.account);
                        }
                    }
                }
            }
        }
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountRecord> {
        self.accounts.values()
    }

    /// Keys in the order of their names, of one account or of all, after a name.
    pub(super) fn keys<'a>(
        &'a self,
        account: Option<&'a AccountName>,
        after: Option<&'a KeyName>,
    ) -> impl Iterator<Item = Result<KeyRecord, Unavailable>> + 'a {
        let first = account.max(after.map(|name| &name.account)).map_or(Bound::Unbounded, Bound::Included);
        self.names
            .range::<AccountName, _>((first, Bound::Unbounded))
            .take_while(move |(name, _)| account.is_none_or(|account| *name == account))
            .flat_map(move |(name, labels)| {
                let after = after.filter(|after| after.account == *name);
                labels.range::<Label, _>((
                    after.map_or(Bound::Unbounded, |after| Bound::Excluded(&after.label)),
                    Bound::Unbounded,
                ))
            })
            .filter_map(|(_, fingerprint)| self.keys.get(fingerprint).transpose())
    }

    /// Keys in the order of their fingerprints, after one: how the index is filled, in pieces.
    pub(super) fn keys_after(
        &self,
        after: Option<&Fingerprint>,
    ) -> impl Iterator<Item = Result<KeyRecord, Unavailable>> {
        self.keys.after(after)
    }

    /// Names in their order, after one, and where they lead: likewise.
    pub(super) fn names_after(&self, after: Option<&KeyName>) -> impl Iterator<Item = (KeyName, Fingerprint)> {
        let first = after.map_or(Bound::Unbounded, |name| Bound::Included(&name.account));
        self.names.range::<AccountName, _>((first, Bound::Unbounded)).flat_map(move |(account, labels)| {
            let after = after.filter(|after| after.account == *account);
            let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(&after.label));
            let named = |label: &Label| KeyName { account: account.clone(), label: label.clone() };
            labels.range::<Label, _>((start, Bound::Unbounded)).map(move |(label, print)| (named(label), *print))
        })
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

    /// The grants that are held at all, from the first of an account on.
    pub(super) fn grants_into(&self, account: &AccountName) -> Vec<Grant> {
        self.granted.keys().filter(|grant| grant.account_str() == account.as_str()).cloned().collect()
    }
}

impl View for State {
    fn key(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable> {
        self.keys.get(fingerprint)
    }

    fn holder_of(&self, name: &KeyName) -> Result<Option<Fingerprint>, Unavailable> {
        Ok(self.names.get(&name.account).and_then(|labels| labels.get(&name.label)).copied())
    }

    fn account(&self, name: &AccountName) -> Result<Option<AccountRecord>, Unavailable> {
        Ok(self.accounts.get(name).cloned())
    }

    fn held_by(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.names.get(account).map(|labels| labels.values().copied().collect()).unwrap_or_default())
    }

    fn reaching(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.reaching.get(account.as_str()).cloned().unwrap_or_default())
    }

    fn granted(&self, grant: &Grant) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.granted.get(grant).cloned().unwrap_or_default())
    }

    fn group(&self, account: &AccountName, group: &GroupName) -> Result<Option<GroupRecord>, Unavailable> {
        Ok(self.groups.get(&(account.clone(), group.clone())).cloned())
    }

    fn groups(&self, account: Option<&AccountName>) -> Result<Vec<GroupRecord>, Unavailable> {
        let of = |record: &&GroupRecord| account.is_none_or(|account| record.account == *account);
        Ok(self.groups.values().filter(of).cloned().collect())
    }

    fn public(&self, repo: &RepoPath) -> Result<Option<PublicRecord>, Unavailable> {
        Ok(self.public.get(repo).cloned())
    }

    fn publics(&self, account: Option<&AccountName>) -> Result<Vec<PublicRecord>, Unavailable> {
        let of = |record: &&PublicRecord| account.is_none_or(|account| record.repo.is_in(account));
        Ok(self.public.values().filter(of).cloned().collect())
    }
}
