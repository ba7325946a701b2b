//! All keys in memory, the ways to find them, and the groups and public repositories that their grants are about.
//!
//! Look-ups of them are answered from here and from nowhere else, so that one change of many of them is one for whoever
//! looks: it is taken over under one lock. The journal fills it when it is replayed; otherwise the
//! index does, which has a row for each key and nothing that follows from keys: their names, what they were granted and
//! into which accounts they reach are made anew from the rows when it is opened.

mod loading;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::change::Unavailable;
use super::overlay::{Overlay, reach};
use super::record::{Holder, KeyRecord};
use super::row::Rows;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, Label};

pub(super) use loading::Loading;
pub(super) use places::Places;

type Set = BTreeSet<Fingerprint>;

/// Every key, and what is found by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys {
    rows: Rows,
    names: BTreeMap<AccountName, BTreeMap<Label, Fingerprint>>,
    /// Which keys of other accounts have grants that reach into an account.
    reaching: BTreeMap<String, Set>,
    /// Which keys have a grant, by the account that it is a grant into.
    granted: BTreeMap<String, BTreeMap<Grant, Set>>,
    /// The account keys of each account that has some.
    people: BTreeMap<AccountName, Set>,
    places: Places,
}

/// Puts a key into a set, which is made when it is not there.
fn put<K: Ord + Clone>(sets: &mut BTreeMap<K, Set>, set: &K, key: Fingerprint) {
    if let Some(keys) = sets.get_mut(set) {
        keys.insert(key);
    } else {
        sets.insert(set.clone(), Set::from([key]));
    }
}

/// Takes a key out of a set, and the set away when nothing is left in it.
fn take<K: Ord>(sets: &mut BTreeMap<K, Set>, set: &K, key: &Fingerprint) {
    if let Some(keys) = sets.get_mut(set) {
        keys.remove(key);
        if keys.is_empty() {
            sets.remove(set);
        }
    }
}

impl Keys {
    /// Takes over what a checked commit changes: everything by its new value.
    pub(super) fn apply(&mut self, over: &Overlay) {
        for (fingerprint, record) in &over.keys {
            let old = match record {
                Some(record) => self.rows.insert(*fingerprint, record),
                None => self.rows.remove(fingerprint),
            };
            if let Some(old) = old {
                self.unlink(&old, fingerprint);
            }
            if let Some(record) = record {
                self.link(record, *fingerprint);
            }
        }
        for (name, fingerprint) in &over.names {
            match fingerprint {
                Some(fingerprint) => self.name(name, *fingerprint),
                None => self.unname(name),
            }
        }
        self.places.apply(over);
    }

    /// The same keys, with these groups and public repositories.
    pub(super) fn with_places(self, places: Places) -> Self {
        Self { places, ..self }
    }

    /// Groups and public repositories.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    fn link(&mut self, record: &KeyRecord, key: Fingerprint) {
        for account in reach(record) {
            put(&mut self.reaching, &account.to_owned(), key);
        }
        for grant in &record.grants {
            if let Some(grants) = self.granted.get_mut(grant.account_str()) {
                put(grants, grant, key);
            } else {
                let grants = BTreeMap::from([(grant.clone(), Set::from([key]))]);
                self.granted.insert(grant.account_str().to_owned(), grants);
            }
        }
        if record.holder == Holder::AccountKey {
            put(&mut self.people, record.account(), key);
        }
    }

    fn unlink(&mut self, record: &KeyRecord, key: &Fingerprint) {
        for account in reach(record) {
            take(&mut self.reaching, &account.to_owned(), key);
        }
        for grant in &record.grants {
            let Some(grants) = self.granted.get_mut(grant.account_str()) else { continue };
            take(grants, grant, key);
            if grants.is_empty() {
                self.granted.remove(grant.account_str());
            }
        }
        if record.holder == Holder::AccountKey {
            take(&mut self.people, record.account(), key);
        }
    }

    fn name(&mut self, name: &KeyName, key: Fingerprint) {
        if let Some(labels) = self.names.get_mut(&name.account) {
            labels.insert(name.label.clone(), key);
        } else {
            self.names.insert(name.account.clone(), BTreeMap::from([(name.label.clone(), key)]));
        }
    }

    fn unname(&mut self, name: &KeyName) {
        if let Some(labels) = self.names.get_mut(&name.account) {
            labels.remove(&name.label);
            if labels.is_empty() {
                self.names.remove(&name.account);
            }
        }
    }
}

impl Keys {
    /// The key with this fingerprint.
    pub(super) fn key(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable> {
        let Some(record) = self.rows.get(fingerprint)? else { return Ok(None) };
        if record.fingerprint() != *fingerprint {
            return Err(Unavailable { reason: "the index is damaged: a fingerprint leads to another key".to_owned() });
        }
        Ok(Some(record))
    }

    /// The key with this name.
    pub(super) fn named(&self, name: &KeyName) -> Result<Option<KeyRecord>, Unavailable> {
        self.holder_of(name).map_or(Ok(None), |fingerprint| self.key(&fingerprint))
    }

    /// Which key has this name.
    pub(super) fn holder_of(&self, name: &KeyName) -> Option<Fingerprint> {
        self.names.get(&name.account).and_then(|labels| labels.get(&name.label)).copied()
    }

    /// The keys of an account.
    pub(super) fn held_by(&self, account: &AccountName) -> Set {
        self.names.get(account).map(|labels| labels.values().copied().collect()).unwrap_or_default()
    }

    /// The keys of other accounts with a grant that reaches into this one.
    pub(super) fn reaching(&self, account: &AccountName) -> Set {
        self.reaching.get(account.as_str()).cloned().unwrap_or_default()
    }

    /// The keys that hold exactly this grant.
    pub(super) fn granted(&self, grant: &Grant) -> Set {
        self.granted.get(grant.account_str()).and_then(|grants| grants.get(grant)).cloned().unwrap_or_default()
    }

    /// How many keys an account holds.
    pub(super) fn count(&self, account: &AccountName) -> usize {
        self.names.get(account).map_or(0, BTreeMap::len)
    }

    /// The account keys of an account.
    pub(super) fn people(&self, account: &AccountName) -> Set {
        self.people.get(account).cloned().unwrap_or_default()
    }

    /// The grants into an account that are held at all.
    pub(super) fn grants_into(&self, account: &AccountName) -> Vec<Grant> {
        self.granted.get(account.as_str()).map(|grants| grants.keys().cloned().collect()).unwrap_or_default()
    }

    /// Keys in the order of their names, of one account or of all, after a name.
    pub(super) fn listed<'a>(
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
            .filter_map(|(_, fingerprint)| self.rows.get(fingerprint).transpose())
    }

    /// Keys in the order of their fingerprints, after one: how the index is filled, in pieces.
    pub(super) fn after(&self, after: Option<&Fingerprint>) -> impl Iterator<Item = Result<KeyRecord, Unavailable>> {
        self.rows.after(after)
    }

    /// Puts rubbish in a key's place.
    #[cfg(test)]
    pub(super) fn spoil(&mut self, fingerprint: Fingerprint, with: &[u8]) {
        self.rows.put(fingerprint, with);
    }
}
