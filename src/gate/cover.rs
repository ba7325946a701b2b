//! Through what a key may fetch a repository.

use std::fmt;

use crate::model::grant::Grant;
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;
use crate::registry::Lookup;
use crate::registry::change::Unavailable;
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
pub(super) fn cover(record: &KeyRecord, repo: &RepoPath, lookup: &Lookup) -> Result<Option<Cover>, Unavailable> {
    let own = match record.holder {
        Holder::AccountKey => repo.is_in(record.account()).then(|| Cover::Account(record.account().clone())),
        Holder::DeployKey => {
            let mut found = None;
            for grant in &record.grants {
                if reaches(grant, repo, lookup)? {
                    found = Some(Cover::Grant(grant.clone()));
                    break;
                }
            }
            found
        }
    };
    match own {
        Some(own) => Ok(Some(own)),
        None => Ok(lookup.public(repo)?.map(|_| Cover::Public)),
    }
}

fn reaches(grant: &Grant, repo: &RepoPath, lookup: &Lookup) -> Result<bool, Unavailable> {
    match grant {
        Grant::Repo(path) => Ok(path == repo),
        Grant::Glob(glob) => Ok(glob.covers(repo)),
        Grant::Group(account, group) => {
            if !repo.is_in(account) {
                return Ok(false);
            }
            Ok(lookup.group(account, group)?.is_some_and(|group| group.repos.binary_search(repo).is_ok()))
        }
    }
}
