//! The registry in memory: what the journal comes to when it is replayed, for as long as there is no index.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::change::Unavailable;
use super::overlay::{Overlay, reach};
use super::record::{AccountRecord, GroupRecord, Holder, KeyRecord, PublicRecord, Tombstone};
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
    /// The account keys of each account that has some.
    people: BTreeMap<AccountName, BTreeSet<Fingerprint>>,
    groups: BTreeMap<(AccountName, GroupName), GroupRecord>,
    public: BTreeMap<RepoPath, PublicRecord>,
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
    pub(super) fn apply(&mut self, over: Overlay) {
        let Overlay { accounts, keys, names, groups, public, tombs, tomb_names } = over;
        for (name, record) in accounts {
            put(&mut self.accounts, name, record);
        }
        for (fingerprint, record) in keys {
            let old = match &record {
                Some(record) => self.keys.insert(fingerprint, record),
                None => self.keys.remove(&fingerprint),
            };
            for account in old.iter().flat_map(reach) {
                take(&mut self.reaching, &account.to_owned(), &fingerprint);
            }
            for grant in old.iter().flat_map(|record| &record.grants) {
                take(&mut self.granted, grant, &fingerprint);
            }
            if let Some(old) = old.filter(|old| old.holder == Holder::AccountKey) {
                take(&mut self.people, old.account(), &fingerprint);
            }
            if let Some(record) = record.as_ref().filter(|record| record.holder == Holder::AccountKey) {
                self.people.entry(record.account().clone()).or_default().insert(fingerprint);
            }
            for account in record.iter().flat_map(reach) {
                self.reaching.entry(account.to_owned()).or_default().insert(fingerprint);
            }
            for grant in record.into_iter().flat_map(|record| record.grants) {
                self.granted.entry(grant).or_default().insert(fingerprint);
            }
        }
        groups.into_iter().for_each(|(place, record)| put(&mut self.groups, place, record));
        public.into_iter().for_each(|(repo, record)| put(&mut self.public, repo, record));
        self.tombs.extend(tombs);
        self.tomb_names.extend(tomb_names);
        for (name, fingerprint) in names {
            match fingerprint {
                Some(fingerprint) => {
                    self.names.entry(name.account).or_default().insert(name.label, fingerprint);
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

    /// How many keys an account holds.
    pub(super) fn count(&self, account: &AccountName) -> usize {
        self.names.get(account).map_or(0, BTreeMap::len)
    }

    /// The account keys of an account.
    pub(super) fn people(&self, account: &AccountName) -> BTreeSet<Fingerprint> {
        self.people.get(account).cloned().unwrap_or_default()
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
