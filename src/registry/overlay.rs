//! What a commit, or a batch of them, would change: laid over what there is, so that the next one can be checked.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Unavailable;
use super::record::{AccountRecord, GroupRecord, KeyRecord, PublicRecord, Tombstone};
use super::rules::View;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;

/// New values by their keys; `None` means gone. Values are absolute, so that applying an overlay twice is applying it once.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    pub(super) accounts: BTreeMap<AccountName, Option<AccountRecord>>,
    pub(super) keys: BTreeMap<Fingerprint, Option<KeyRecord>>,
    pub(super) names: BTreeMap<KeyName, Option<Fingerprint>>,
    pub(super) groups: BTreeMap<(AccountName, GroupName), Option<GroupRecord>>,
    pub(super) public: BTreeMap<RepoPath, Option<PublicRecord>>,
    /// What is left of removed keys: the last removal of each.
    pub(super) tombs: BTreeMap<Fingerprint, Tombstone>,
    /// The last key that was removed under a name.
    pub(super) tomb_names: BTreeMap<KeyName, Fingerprint>,
}

impl Overlay {
    /// Lays a later overlay on top.
    pub(super) fn merge(&mut self, later: Self) {
        self.accounts.extend(later.accounts);
        self.keys.extend(later.keys);
        self.names.extend(later.names);
        self.groups.extend(later.groups);
        self.public.extend(later.public);
        self.tombs.extend(later.tombs);
        self.tomb_names.extend(later.tomb_names);
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

    fn granted(&self, grant: &Grant) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        Ok(self.corrected(self.under.granted(grant)?, |record| record.grants.contains(grant)))
    }

    fn group(&self, account: &AccountName, group: &GroupName) -> Result<Option<GroupRecord>, Unavailable> {
        let over = self.over.groups.get(&(account.clone(), group.clone()));
        over.map_or_else(|| self.under.group(account, group), |record| Ok(record.clone()))
    }

    fn groups(&self, account: Option<&AccountName>) -> Result<Vec<GroupRecord>, Unavailable> {
        let under = self.under.groups(account)?.into_iter().map(|record| {
            let place = (record.account.clone(), record.name.clone());
            (place, Some(record))
        });
        let mut all: BTreeMap<_, _> = under.collect();
        let over = self.over.groups.iter().filter(|((of, _), _)| account.is_none_or(|account| of == account));
        all.extend(over.map(|(place, record)| (place.clone(), record.clone())));
        Ok(all.into_values().flatten().collect())
    }

    fn public(&self, repo: &RepoPath) -> Result<Option<PublicRecord>, Unavailable> {
        self.over.public.get(repo).map_or_else(|| self.under.public(repo), |record| Ok(record.clone()))
    }

    fn publics(&self, account: Option<&AccountName>) -> Result<Vec<PublicRecord>, Unavailable> {
        let under = self.under.publics(account)?.into_iter().map(|record| (record.repo.clone(), Some(record)));
        let mut all: BTreeMap<_, _> = under.collect();
        let over = self.over.public.iter().filter(|(repo, _)| account.is_none_or(|account| repo.is_in(account)));
        all.extend(over.map(|(repo, record)| (repo.clone(), record.clone())));
        Ok(all.into_values().flatten().collect())
    }
}
