//! Whether a key's grants reach a repository.

use crate::model::grant::Grant;
use crate::model::repo_path::RepoPath;
use crate::registry::record::{Holder, KeyRecord};

/// Whether the key may fetch the repository, by what it was granted or by what it is. Evaluated at every request, so that
/// `acme/*` covers tomorrow's repositories.
pub(super) fn covers(record: &KeyRecord, repo: &RepoPath) -> bool {
    match record.holder {
        Holder::AccountKey => repo.is_in(record.account()),
        Holder::DeployKey => record.grants.iter().any(|grant| reaches(grant, repo)),
    }
}

fn reaches(grant: &Grant, repo: &RepoPath) -> bool {
    match grant {
        Grant::Repo(path) => path == repo,
        Grant::Glob(glob) => glob.covers(repo),
        // The registry holds no groups yet, so none has a member.
        Grant::Group(..) => false,
    }
}
