//! The rules of groups, public repositories, and repositories that go.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Draft, View as _};
use crate::model::grant::Grant;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;
use crate::registry::change::{CommitError, Conflict};
use crate::registry::record::{GroupRecord, MAX_MEMBERS, PublicRecord};

impl Draft<'_> {
    pub(super) fn group_add(
        &mut self,
        account: &AccountName,
        group: &GroupName,
        repos: &[RepoPath],
        by: &str,
        at: Timestamp,
    ) -> Result<bool, CommitError> {
        if self.view().account(account)?.is_none() {
            return Err(Conflict::NoAccount(account.clone()).into());
        }
        if let Some(repo) = repos.iter().find(|repo| !repo.is_in(account)) {
            return Err(Conflict::NotOfAccount { repo: repo.clone(), account: account.clone() }.into());
        }
        let have = self.view().group(account, group)?;
        let is_new = have.is_none();
        let record = have.unwrap_or_else(|| GroupRecord {
            account: account.clone(),
            name: group.clone(),
            repos: Vec::new(),
            added_at: at,
            added_by: by.to_owned(),
        });
        let all: BTreeSet<&RepoPath> = record.repos.iter().chain(repos).collect();
        if all.len() > MAX_MEMBERS {
            return Err(Conflict::TooManyMembers(account.clone(), group.clone()).into());
        }
        let changed = is_new || all.len() != record.repos.len();
        if changed {
            let repos = all.into_iter().cloned().collect();
            self.put_group(GroupRecord { repos, ..record });
        }
        Ok(changed)
    }

    pub(super) fn group_drop(
        &mut self,
        account: &AccountName,
        group: &GroupName,
        repos: &[RepoPath],
    ) -> Result<bool, CommitError> {
        let mut record = self.required_group(account, group)?;
        let before = record.repos.len();
        record.repos.retain(|repo| !repos.contains(repo));
        let changed = record.repos.len() != before;
        if changed {
            self.put_group(record);
        }
        Ok(changed)
    }

    pub(super) fn group_remove(&mut self, account: &AccountName, group: &GroupName) -> Result<bool, CommitError> {
        self.required_group(account, group)?;
        self.drop_grant(&Grant::Group(account.clone(), group.clone()))?;
        self.over.groups.insert((account.clone(), group.clone()), None);
        Ok(true)
    }

    pub(super) fn publish(&mut self, repo: &RepoPath, by: &str, at: Timestamp) -> Result<bool, CommitError> {
        let account = AccountName::parse(repo.account_str()).ok();
        let known = account.as_ref().map_or(Ok(None), |account| self.view().account(account))?;
        if let (None, Some(account)) = (known, account) {
            return Err(Conflict::NoAccount(account).into());
        }
        if self.view().public(repo)?.is_some() {
            return Ok(false);
        }
        let record = PublicRecord { repo: repo.clone(), at, by: by.to_owned() };
        self.over.public.insert(repo.clone(), Some(record));
        Ok(true)
    }

    pub(super) fn unpublish(&mut self, repo: &RepoPath) -> Result<bool, CommitError> {
        if self.view().public(repo)?.is_none() {
            return Ok(false);
        }
        self.over.public.insert(repo.clone(), None);
        Ok(true)
    }

    /// Whether anything of it was in the registry.
    pub(super) fn repo_remove(&mut self, repo: &RepoPath) -> Result<bool, CommitError> {
        let mut changed = self.drop_grant(&Grant::Repo(repo.clone()))?;
        changed |= self.unpublish(repo)?;
        if let Ok(account) = AccountName::parse(repo.account_str()) {
            for group in self.view().groups(Some(&account))? {
                changed |= self.group_drop(&account, &group.name, std::slice::from_ref(repo))?;
            }
        }
        Ok(changed)
    }

    /// Takes a grant from every key that holds it.
    fn drop_grant(&mut self, grant: &Grant) -> Result<bool, CommitError> {
        let holders = self.view().granted(grant)?;
        for key in &holders {
            let mut record = self.required(key)?;
            record.grants.retain(|held| held != grant);
            self.put(record);
        }
        Ok(!holders.is_empty())
    }

    fn required_group(&self, account: &AccountName, group: &GroupName) -> Result<GroupRecord, CommitError> {
        let none = || Conflict::NoGroup(account.clone(), group.clone()).into();
        self.view().group(account, group)?.ok_or_else(none)
    }

    fn put_group(&mut self, record: GroupRecord) {
        self.over.groups.insert((record.account.clone(), record.name.clone()), Some(record));
    }
}
