//! Through what a key may fetch a repository.

use std::fmt;

use crate::model::grant::Grant;
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;
use crate::registry::Moment;
use crate::registry::record::{Holder, KeyRecord};

/// Through what a key may fetch a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cover {
    /// It is a key of the account.
    Account(AccountName),
    /// It holds this grant.
    Grant(Grant),
    /// The repository is public.
    Public,
}

impl fmt::Display for Cover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => write!(f, "account {account}"),
            Self::Grant(grant) => grant.fmt(f),
            Self::Public => f.write_str("public"),
        }
    }
}

/// Through what the key may fetch the repository, if it may. Evaluated at every request, so that `acme/*` covers tomorrow's
/// repositories, and a group what is in it now. Of several grants it is the first, which are the narrow ones.
pub(super) fn cover(record: &KeyRecord, repo: &RepoPath, at: &Moment<'_>) -> Option<Cover> {
    let own = match record.holder {
        Holder::AccountKey => repo.is_in(record.account()).then(|| Cover::Account(record.account().clone())),
        Holder::DeployKey => {
            record.grants.iter().find(|grant| reaches(grant, repo, at)).map(|grant| Cover::Grant(grant.clone()))
        }
    };
    own.or_else(|| at.public(repo).map(|_| Cover::Public))
}

fn reaches(grant: &Grant, repo: &RepoPath, at: &Moment<'_>) -> bool {
    match grant {
        Grant::Repo(path) => path == repo,
        Grant::Glob(glob) => glob.covers(repo),
        Grant::Group(account, group) => {
            repo.is_in(account) && at.group(account, group).is_some_and(|group| group.repos.binary_search(repo).is_ok())
        }
    }
}
