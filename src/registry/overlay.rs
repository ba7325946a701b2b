//! What a commit, or a batch of them, would change: laid over what there is, so that the next one can be checked.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Unavailable;
use super::record::{AccountRecord, KeyRecord};
use super::rules::View;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::name::AccountName;

/// New values by their keys; `None` means gone. Values are absolute, so that applying an overlay twice is applying it once.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    pub(super) accounts: BTreeMap<AccountName, Option<AccountRecord>>,
    pub(super) keys: BTreeMap<Fingerprint, Option<KeyRecord>>,
    pub(super) names: BTreeMap<KeyName, Option<Fingerprint>>,
}

impl Overlay {
    /// Lays a later overlay on top.
    pub(super) fn merge(&mut self, later: Self) {
        self.accounts.extend(later.accounts);
        self.keys.extend(later.keys);
        self.names.extend(later.names);
    }
}

/// The other accounts that a key's grants reach into.
pub(super) fn reach(record: &KeyRecord) -> BTreeSet<&str> {
    record
        .grants
        .iter()
        .map(|grant| grant.account_str())
        .filter(|account| *account != record.account().as_str())
        .collect()
}

/// An overlay and what lies under it, read as one.
pub(super) struct Layered<'a> {
    pub(super) under: &'a dyn View,
    pub(super) over: &'a Overlay,
}

impl Layered<'_> {
    fn corrected(
        &self,
        mut found: BTreeSet<Fingerprint>,
        belongs: impl Fn(&KeyRecord) -> bool,
    ) -> BTreeSet<Fingerprint> {
        for (fingerprint, record) in &self.over.keys {
            if record.as_ref().is_some_and(&belongs) {
                found.insert(*fingerprint);
            } else {
                found.remove(fingerprint);
            }
        }
        found
    }
}

impl View for Layered<'_> {
    fn key(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable> {
        self.over.keys.get(fingerprint).map_or_else(|| self.under.key(fingerprint), |record| Ok(record.clone()))
    }

    fn holder_of(&self, name: &KeyName) -> Result<Option<Fingerprint>, Unavailable> {
        self.over.names.get(name).map_or_else(|| self.under.holder_of(name), |fingerprint| Ok(*fingerprint))
    }

    fn account(&self, name: &AccountName) -> Result<Option<AccountRecord>, Unavailable> {
        self.over.accounts.get(name).map_or_else(|| self.under.account(name), |record| Ok(record.clone()))
    }

    fn held_by(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.corrected(self.under.held_by(account)?, |record| record.account() == account))
    }

    fn reaching(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.corrected(self.under.reaching(account)?, |record| reach(record).contains(account.as_str())))
    }
}
