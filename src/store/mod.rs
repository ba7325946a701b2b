//! Floor 1: repositories on disk, looked at and opened safely. Nothing of what is in them is parsed but names, HEAD, lists of
//! refs and of alternates: whatever obeys a repository's configuration is git, in its cell.
//!
//! `acme/app` is `<root>/acme/app.git`. Repositories need no registration: one is there if it is there when it is asked for.

mod alternates;
pub mod health;
mod list;
pub mod look;
mod open;
pub mod sample;
pub mod stamps;
pub mod summary;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::model::repo_path::RepoPath;

/// Where the store is and whose repositories it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder that holds the accounts' folders.
    pub root: PathBuf,
    /// Users, beside root, the gateway's own and the root folder's owner, whose repositories are served.
    pub owners: Vec<u32>,
}

/// Why a repository was not opened. The texts are for operators: they never reach a client.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is nothing of that name.
    #[error("there is no such repository in the store")]
    Missing,
    /// Something is there, but not a bare repository.
    #[error("it is not a bare repository: {0}")]
    NotBare(&'static str),
    /// It is a repository that must not be served.
    #[error("it must not be served: {0}")]
    Unsafe(String),
    /// The folder that all repositories are in cannot be opened: not mounted, or moved away.
    #[error("the store's root cannot be opened: {0}")]
    Gone(std::io::Error),
    /// The file system did not answer.
    #[error("the store cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// Whether the machine lacks descriptors, memory or processes: a fault that passes, and none of the repository.
#[must_use]
pub fn is_shortage(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    Errno::from_io_error(error).is_some_and(|errno| short.contains(&errno))
}

impl From<rustix::io::Errno> for StoreError {
    fn from(errno: rustix::io::Errno) -> Self {
        match errno {
            rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => Self::Missing,
            // With O_NOFOLLOW a symbolic link in the last place answers so.
            rustix::io::Errno::LOOP => Self::Unsafe("there is a symbolic link on the way to it".to_owned()),
            other => Self::Io(other.into()),
        }
    }
}

/// The backing store.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    owners: Vec<u32>,
}

/// A bare repository that lay beneath the root, reached without a symbolic link, when it was opened.
///
/// It holds the directory open: what was checked is what will be served, whatever is renamed meanwhile. Only
/// [`Store::open`] makes one:
///
/// ```compile_fail
/// fn forge(dir: std::os::fd::OwnedFd, name: pullgate::model::repo_path::RepoPath) -> pullgate::store::BareRepo {
///     pullgate::store::BareRepo { dir, path: "/etc".into(), name, borrows: Vec::new(), borrowed_objects: Vec::new() }
/// }
/// ```
#[derive(Debug)]
pub struct BareRepo {
    dir: OwnedFd,
    path: PathBuf,
    name: RepoPath,
    borrows: Vec<RepoPath>,
    borrowed_objects: Vec<PathBuf>,
}

impl Store {
    /// A store at an existing folder.
    ///
    /// # Errors
    /// When the folder is not there or cannot be read.
    pub fn new(settings: &Settings) -> std::io::Result<Self> {
        let root = settings.root.canonicalize()?;
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&root)?);
        // Listing proves that the folder can be read, now and not at the first fetch.
        drop(std::fs::read_dir(&root)?);
        let mut owners = settings.owners.clone();
        owners.extend([0, rustix::process::geteuid().as_raw(), owner]);
        owners.sort_unstable();
        owners.dedup();
        Ok(Self { root, owners })
    }

    /// Whether the root is there and can be entered now. Waits for as long as its file system does.
    #[must_use]
    pub fn is_there(&self) -> bool {
        std::fs::metadata(&self.root).is_ok_and(|root| root.is_dir())
    }

    /// The root folder, without symbolic links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl BareRepo {
    /// The open directory.
    #[must_use]
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Where it lay when it was opened; for configuration and logs, never for a client.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &RepoPath {
        &self.name
    }

    /// The repositories of the same account whose objects it borrows through alternates, directly or not. Who fetches it
    /// can fetch their objects too.
    #[must_use]
    pub fn borrows(&self) -> &[RepoPath] {
        &self.borrows
    }

    /// The object folders of [`BareRepo::borrows`], by paths that had no symbolic link in them when they were vetted.
    #[must_use]
    pub fn borrowed_objects(&self) -> &[PathBuf] {
        &self.borrowed_objects
    }
}

/// `acme/app` → `acme/app.git`, beneath the root.
fn directory_of(path: &RepoPath) -> String {
    format!("{path}.git")
}
