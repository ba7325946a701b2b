//! The registry in memory: what the journal comes to when it is replayed, for as long as there is no index.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::change::Unavailable;
use super::overlay::{Overlay, reach};
use super::record::{AccountRecord, KeyRecord};
use super::row::Rows;
use super::rules::View;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, Label};

/// Everything the registry knows, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    accounts: BTreeMap<AccountName, AccountRecord>,
    keys: Rows,
    names: BTreeMap<AccountName, BTreeMap<Label, Fingerprint>>,
    /// Which keys of other accounts have grants that reach into an account.
    reaching: BTreeMap<String, BTreeSet<Fingerprint>>,
}

impl State {
    /// Takes over what a checked commit changes.
    pub(super) fn apply(&mut self, over: &Overlay) {
        for (name, record) in &over.accounts {
            match record {
                Some(record) => drop(self.accounts.insert(name.clone(), record.clone())),
                None => drop(self.accounts.remove(name)),
            }
        }
        for (fingerprint, record) in &over.keys {
            let old = match record {
                Some(record) => self.keys.insert(*fingerprint, record),
                None => self.keys.remove(fingerprint),
            };
            for account in old.iter().flat_map(reach) {
                if let Some(keys) = self.reaching.get_mut(account) {
                    keys.remove(fingerprint);
                    if keys.is_empty() {
                        self.reaching.remove(account);
                    }
                }
            }
            for account in record.iter().flat_map(reach) {
                self.reaching.entry(account.to_owned()).or_default().insert(*fingerprint);
            }
        }
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
}
