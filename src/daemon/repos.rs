//! The store, as administration sees it.

use crate::admin::repo::{RepoSource, RepoView};
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;
use crate::store::{Settings, Store, StoreError};

/// Repositories of the backing store, looked for anew each time: the store may be mounted later, or elsewhere.
#[derive(Debug)]
pub struct StoreRepos(Settings);

impl StoreRepos {
    /// Over a store that need not be there yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(settings)
    }

    fn store(&self) -> Result<Store, String> {
        Store::new(&self.0).map_err(|error| format!("{}: {error}", self.0.root.display()))
    }
}

impl RepoSource for StoreRepos {
    fn list(&self, account: Option<&AccountName>) -> Result<Vec<RepoView>, String> {
        let store = self.store()?;
        let names = store.list(account).map_err(|error| error.to_string())?;
        names.iter().filter_map(|name| view(&store, name).transpose()).collect()
    }

    fn look(&self, path: &RepoPath) -> Result<Option<RepoView>, String> {
        view(&self.store()?, path)
    }
}

fn view(store: &Store, name: &RepoPath) -> Result<Option<RepoView>, String> {
    let mut view = RepoView { name: name.to_string(), ..RepoView::default() };
    match store.open(name) {
        Ok(repo) => {
            let summary = repo.summary().map_err(|error| error.to_string())?;
            view.head = summary.head;
            view.branches = summary.branches;
            view.tags = summary.tags;
            view.packs = summary.packs;
            view.pack_bytes = summary.pack_bytes;
            view.borrows = repo.borrows().iter().map(ToString::to_string).collect();
            view.faults.extend(summary.broken.map(str::to_owned));
            view.notes.extend(summary.unread.map(|why| format!("served, but not looked into: {why}")));
            Ok(Some(view))
        }
        Err(StoreError::Missing) => Ok(None),
        Err(error @ (StoreError::NotBare(_) | StoreError::Unsafe(_))) => {
            view.faults.push(error.to_string());
            Ok(Some(view))
        }
        Err(StoreError::Io(error) | StoreError::Gone(error)) => Err(error.to_string()),
    }
}
