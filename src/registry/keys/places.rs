//! Groups and public repositories in memory: few beside the keys, and asked for at the same moment.

use std::collections::BTreeMap;

use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;
use crate::registry::overlay::Overlay;
use crate::registry::record::{GroupRecord, PublicRecord};

/// Every group and every public repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::registry) struct Places {
    groups: BTreeMap<AccountName, BTreeMap<GroupName, GroupRecord>>,
    public: BTreeMap<RepoPath, PublicRecord>,
}

impl Places {
    /// Those of an index.
    pub(in crate::registry) fn new(groups: Vec<GroupRecord>, public: Vec<PublicRecord>) -> Self {
        let mut places = Self::default();
        groups.into_iter().for_each(|record| places.put(record));
        places.public = public.into_iter().map(|record| (record.repo.clone(), record)).collect();
        places
    }

    fn put(&mut self, record: GroupRecord) {
        self.groups.entry(record.account.clone()).or_default().insert(record.name.clone(), record);
    }

    /// Takes over what a checked commit changes of them.
    pub(super) fn apply(&mut self, over: &Overlay) {
        for ((account, group), record) in &over.groups {
            if let Some(record) = record {
                self.put(record.clone());
            } else if let Some(groups) = self.groups.get_mut(account) {
                groups.remove(group);
                if groups.is_empty() {
                    self.groups.remove(account);
                }
            }
        }
        for (repo, record) in &over.public {
            match record {
                Some(record) => drop(self.public.insert(repo.clone(), record.clone())),
                None => drop(self.public.remove(repo)),
            }
        }
    }

    /// The group with this name.
    pub(in crate::registry) fn group(&self, account: &AccountName, group: &GroupName) -> Option<&GroupRecord> {
        self.groups.get(account)?.get(group)
    }

    /// The groups of one account or of all, by account and name.
    pub(in crate::registry) fn groups(&self, account: Option<&AccountName>) -> Vec<GroupRecord> {
        match account {
            Some(account) => self.groups.get(account).map(|of| of.values().cloned().collect()).unwrap_or_default(),
            None => self.groups.values().flat_map(BTreeMap::values).cloned().collect(),
        }
    }

    /// Whether and since when a repository is public.
    pub(in crate::registry) fn public(&self, repo: &RepoPath) -> Option<&PublicRecord> {
        self.public.get(repo)
    }

    /// The public repositories of one account or of all, by name.
    pub(in crate::registry) fn publics(&self, account: Option<&AccountName>) -> Vec<PublicRecord> {
        let of = |record: &&PublicRecord| account.is_none_or(|account| record.repo.is_in(account));
        self.public.values().filter(of).cloned().collect()
    }
}
