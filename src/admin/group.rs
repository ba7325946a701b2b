//! The verbs about groups of repositories.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::operator::Operator;
use super::view::Page;
use super::{Admin, Done, Faults, NAMED, counted, listed};
use crate::model::grant::Grant;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;
use crate::registry::change::{Change, Conflict};
use crate::registry::record::GroupRecord;

/// A group, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// `account/@name`.
    pub name: String,
    /// Its repositories.
    pub repositories: Vec<String>,
    /// How many keys hold a grant of it.
    pub keys: usize,
    /// When it was made.
    pub added_at: Timestamp,
    /// By which operator.
    pub added_by: String,
}

impl Admin {
    /// The groups of one account or of all, after a name for the next page.
    ///
    /// # Errors
    /// No such account, or the registry cannot say.
    pub fn group_list(
        &self,
        _by: &Operator,
        account: Option<&AccountName>,
        after: Option<&(AccountName, GroupName)>,
    ) -> Result<Page<GroupView>, Faults> {
        if let Some(account) = account
            && self.lookup.account(account)?.is_none()
        {
            return Err(Conflict::NoAccount(account.clone()).into());
        }
        let behind =
            |group: &GroupRecord| after.is_none_or(|(account, name)| (&group.account, &group.name) > (account, name));
        let mut views = Vec::new();
        for group in self.lookup.groups(account)?.into_iter().filter(behind) {
            let grant = Grant::Group(group.account.clone(), group.name.clone());
            views.push(GroupView {
                name: grant.to_string(),
                repositories: group.repos.iter().map(ToString::to_string).collect(),
                keys: self.lookup.granted(&grant)?.len(),
                added_at: group.added_at,
                added_by: group.added_by,
            });
        }
        Ok(Page::fill(views.into_iter(), false, |view| &view.name))
    }

    /// Puts repositories into a group, and makes it when it is not there.
    ///
    /// # Errors
    /// No such account, a repository of another account, too many, or the registry cannot write.
    pub fn group_add(
        &self,
        by: &Operator,
        account: &AccountName,
        group: &GroupName,
        repos: &[RepoPath],
    ) -> Result<Done, Faults> {
        let change = Change::GroupAdd { account: account.clone(), group: group.clone(), repos: repos.to_vec() };
        let words = |_: Option<&_>| match repos.is_empty() {
            true => format!("made the group {account}/@{group}"),
            false => format!("the group {account}/@{group} now has {}", listed(repos, NAMED)),
        };
        Ok(self.commit(by, change, words)?.or_else(|| format!("the group {account}/@{group} has all of that already")))
    }

    /// Takes repositories out of a group; the group stays.
    ///
    /// # Errors
    /// No such group, or the registry cannot write.
    pub fn group_drop(
        &self,
        by: &Operator,
        account: &AccountName,
        group: &GroupName,
        repos: &[RepoPath],
    ) -> Result<Done, Faults> {
        let change = Change::GroupDrop { account: account.clone(), group: group.clone(), repos: repos.to_vec() };
        let words = |_: Option<&_>| format!("took {} out of the group {account}/@{group}", listed(repos, NAMED));
        Ok(self.commit(by, change, words)?.or_else(|| format!("the group {account}/@{group} has none of them")))
    }

    /// Removes a group, and takes it from every key that holds a grant of it.
    ///
    /// # Errors
    /// No such group, keys hold it and `with_grants` was not said, or the registry cannot write.
    pub fn group_remove(
        &self,
        by: &Operator,
        account: &AccountName,
        group: &GroupName,
        with_grants: bool,
    ) -> Result<Done, Faults> {
        if self.lookup.group(account, group)?.is_none() {
            return Err(Conflict::NoGroup(account.clone(), group.clone()).into());
        }
        let keys = self.lookup.granted(&Grant::Group(account.clone(), group.clone()))?.len();
        let holders = counted(keys, "key");
        if keys > 0 && !with_grants {
            return Err(super::repo::would_take(format!("{holders} may fetch through the group {account}/@{group}")));
        }
        let change = Change::GroupRemove { account: account.clone(), group: group.clone() };
        let words = |_: Option<&_>| format!("removed the group {account}/@{group}, which {holders} held");
        Ok(self.commit(by, change, words)?)
    }
}
