//! `repo list`, `repo show`: what is in the backing store.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, Kind};
use super::operator::Operator;
use super::view::Page;
use super::{Admin, Faults};
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;
use crate::registry::change::Conflict;

/// A repository of the store, as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoView {
    /// `account/name`.
    pub name: String,
    /// The branch that `HEAD` names, if it could be read.
    pub head: Option<String>,
    /// How many branches, if they could be read.
    pub branches: Option<usize>,
    /// How many tags, if they could be read.
    pub tags: Option<usize>,
    /// How many packs.
    pub packs: usize,
    /// The size of the packs, in bytes.
    pub pack_bytes: u64,
    /// The repositories whose objects it borrows: a key needs them granted too.
    pub borrows: Vec<String>,
    /// Remarks, a line each.
    pub notes: Vec<String>,
    /// Why it is not served, a line each; empty when it is.
    pub faults: Vec<String>,
}

/// Where repositories are looked for. The store is one; the daemon connects it.
pub trait RepoSource: Send + Sync + fmt::Debug {
    /// The repositories of one account or of all, in the order of their names.
    ///
    /// # Errors
    /// Why the source cannot say, for operators.
    fn list(&self, account: Option<&AccountName>) -> Result<Vec<RepoView>, String>;

    /// One repository; `None` when it is not there.
    ///
    /// # Errors
    /// Why the source cannot say, for operators.
    fn look(&self, path: &RepoPath) -> Result<Option<RepoView>, String>;
}

impl Admin {
    /// The repositories of one account or of all, in the order of their names, after a name for the next page.
    ///
    /// # Errors
    /// No such account, or the store cannot say.
    pub fn repo_list(
        &self,
        _by: &Operator,
        account: Option<&AccountName>,
        after: Option<&RepoPath>,
    ) -> Result<Page<RepoView>, Faults> {
        if let Some(account) = account
            && self.lookup.account(account)?.is_none()
        {
            return Err(Fault::from(Conflict::NoAccount(account.clone())).into());
        }
        let repos = self.source()?.list(account).map_err(unavailable)?;
        let rest = repos.into_iter().filter(|repo| after.is_none_or(|after| repo.name.as_str() > after.as_str()));
        Ok(Page::fill(rest, false, |repo| &repo.name))
    }

    /// One repository.
    ///
    /// # Errors
    /// It is not there, or the store cannot say.
    pub fn repo_show(&self, _by: &Operator, path: &RepoPath) -> Result<RepoView, Faults> {
        let found = self.source()?.look(path).map_err(unavailable)?;
        Ok(found.ok_or_else(|| {
            Fault::new(Kind::NotFound, format!("there is no repository {path}"))
                .hint(format!("it has to be a bare repository at {path}.git below the store's root"))
        })?)
    }

    fn source(&self) -> Result<&dyn super::RepoSource, Fault> {
        self.repos.as_deref().ok_or_else(|| Fault::new(Kind::Unavailable, "no store of repositories is connected"))
    }
}

fn unavailable(reason: String) -> Fault {
    Fault::new(Kind::Unavailable, format!("the store cannot say: {reason}"))
        .hint("`pullgate check` looks for the cause")
}
