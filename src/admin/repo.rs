//! `repo list`, `repo show`: what is in the backing store.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fault::{Fault, Kind};
use super::operator::Operator;
use super::view::{KeyState, KeyView, Page};
use super::{Admin, Done, Faults, counted};
use crate::model::grant::Grant;
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;
use crate::registry::change::{Change, Conflict};
use crate::registry::record::KeyRecord;

/// How many keys are named where one repository is shown.
const SHOWN: usize = 500;

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
    /// Whether every registered key may fetch it.
    #[serde(default)]
    pub public: bool,
    /// Which keys may fetch it and through what; only where one repository is shown, and the first of them.
    #[serde(default)]
    pub access: Vec<AccessView>,
    /// How many more there are.
    #[serde(default)]
    pub more_access: usize,
}

/// A key that may fetch a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessView {
    /// The key's name.
    pub key: String,
    /// Through what: a grant, or the account of an account key.
    pub through: String,
    /// Whether the key can be used now.
    pub state: KeyState,
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
        let public: BTreeSet<_> =
            self.lookup.publics(account)?.into_iter().map(|record| record.repo.to_string()).collect();
        let rest = repos.into_iter().filter(|repo| after.is_none_or(|after| repo.name.as_str() > after.as_str()));
        let rest = rest.map(|repo| RepoView { public: public.contains(&repo.name), ..repo });
        Ok(Page::fill(rest, false, |repo| &repo.name))
    }

    /// One repository.
    ///
    /// # Errors
    /// It is not there, or the store cannot say.
    pub fn repo_show(&self, _by: &Operator, path: &RepoPath) -> Result<RepoView, Faults> {
        let found = self.source()?.look(path).map_err(unavailable)?;
        let mut view = found.ok_or_else(|| {
            Fault::new(Kind::NotFound, format!("there is no repository {path}"))
                .hint(format!("it has to be a bare repository at {path}.git below the store's root"))
        })?;
        view.public = self.lookup.public(path)?.is_some();
        let mut access = self.access(path)?;
        view.more_access = access.len().saturating_sub(SHOWN);
        access.truncate(SHOWN);
        view.access = access;
        Ok(view)
    }

    /// The grants that cover a repository, out of those that any key holds.
    pub(super) fn covering(&self, repo: &RepoPath) -> Result<Vec<Grant>, Fault> {
        let account =
            AccountName::parse(repo.account_str()).map_err(|error| Fault::new(Kind::Invalid, error.to_string()))?;
        let mut covering = Vec::new();
        for grant in self.lookup.grants_into(&account)? {
            let covers = match &grant {
                Grant::Repo(path) => path == repo,
                Grant::Glob(glob) => glob.covers(repo),
                Grant::Group(account, group) => {
                    self.lookup.group(account, group)?.is_some_and(|group| group.repos.contains(repo))
                }
            };
            if covers {
                covering.push(grant);
            }
        }
        Ok(covering)
    }

    /// Every key that may fetch a repository by a grant or as its account's, and through what.
    fn access(&self, repo: &RepoPath) -> Result<Vec<AccessView>, Fault> {
        let now = Timestamp::now();
        let view = |record: &KeyRecord, through: String| {
            let key = KeyView::of(record, now);
            AccessView { key: key.name, through, state: key.state }
        };
        let mut access = Vec::new();
        for grant in self.covering(repo)? {
            for key in self.lookup.granted(&grant)? {
                access.extend(self.lookup.key(&key)?.map(|record| view(&record, grant.to_string())));
            }
        }
        if let Ok(account) = AccountName::parse(repo.account_str()) {
            for key in self.lookup.people(&account)? {
                access.extend(self.lookup.key(&key)?.map(|record| view(&record, format!("account {account}"))));
            }
        }
        access.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(access)
    }

    /// Lets every registered key fetch a repository.
    ///
    /// # Errors
    /// No such account, or the registry cannot write.
    pub fn repo_publish(&self, by: &Operator, repo: &RepoPath) -> Result<Done, Faults> {
        let words = |_: Option<&_>| format!("{repo} is public: every registered key may fetch it, of any account");
        let done = self.commit(by, Change::RepoPublish { repo: repo.clone() }, words)?;
        let absent = match self.source().map(|source| source.look(repo)) {
            Ok(Ok(None)) => Some(format!("there is no repository {repo} in the store yet")),
            Ok(Ok(Some(_)) | Err(_)) | Err(_) => None,
        };
        Ok(done.or_else(|| format!("{repo} is public already")).warn(absent))
    }

    /// Leaves a repository to those who hold a grant.
    ///
    /// # Errors
    /// The registry cannot write.
    pub fn repo_unpublish(&self, by: &Operator, repo: &RepoPath) -> Result<Done, Faults> {
        let words = |_: Option<&_>| format!("{repo} is not public any more: keys need a grant");
        let done = self.commit(by, Change::RepoUnpublish { repo: repo.clone() }, words)?;
        Ok(done.or_else(|| format!("{repo} is not public")))
    }

    /// Takes everything about a repository out of the registry, and touches no file.
    ///
    /// # Errors
    /// Grants would go and `with_grants` was not said, or the registry cannot write.
    pub fn repo_remove(&self, by: &Operator, repo: &RepoPath, with_grants: bool) -> Result<Done, Faults> {
        let keys = self.lookup.granted(&Grant::Repo(repo.clone()))?.len();
        let mut parts = Vec::new();
        if keys > 0 {
            parts.push(format!("the grant of {}", counted(keys, "key")));
        }
        if let Ok(account) = AccountName::parse(repo.account_str()) {
            let groups = self.lookup.groups(Some(&account))?;
            let held = groups.iter().filter(|group| group.repos.contains(repo));
            parts.extend(held.map(|group| format!("its place in {account}/@{}", group.name)));
        }
        if self.lookup.public(repo)?.is_some() {
            parts.push("that it is public".to_owned());
        }
        let parts = parts.join(", ");
        if !parts.is_empty() && !with_grants {
            return Err(would_take(format!("removing {repo} takes away {parts}")));
        }
        let words = |_: Option<&_>| format!("removed {repo} from the registry: {parts}; its files are where they were");
        let done = self.commit(by, Change::RepoRemove { repo: repo.clone() }, words)?;
        Ok(done.or_else(|| format!("the registry holds nothing about {repo}")))
    }

    fn source(&self) -> Result<&dyn super::RepoSource, Fault> {
        self.repos.as_deref().ok_or_else(|| Fault::new(Kind::Unavailable, "no store of repositories is connected"))
    }
}

/// What goes has to be agreed to first.
pub(super) fn would_take(fact: String) -> Faults {
    Fault::new(Kind::Conflict, fact).hint("it is in force at once: say --yes to do it").into()
}

fn unavailable(reason: String) -> Fault {
    Fault::new(Kind::Unavailable, format!("the store cannot say: {reason}"))
        .hint("`pullgate check` looks for the cause")
}
