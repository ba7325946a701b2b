//! Opening a repository: beneath the root, no symbolic link on the way, the right owner, really bare.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use super::{BareRepo, Store, StoreError, alternates, directory_of, is_shortage};
use crate::model::repo_path::RepoPath;

/// How directories are held: as a place, without reading, and never through a symbolic link.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Store {
    /// Opens a repository for serving.
    ///
    /// # Errors
    /// [`StoreError`]; the text is for the operator.
    pub fn open(&self, name: &RepoPath) -> Result<BareRepo, StoreError> {
        let dir = self.open_directory(name)?;
        let borrows = alternates::vetted(self, name, dir.as_fd())?;
        let borrowed_objects =
            borrows.iter().map(|other| self.root().join(directory_of(other)).join("objects")).collect();
        Ok(BareRepo { path: self.root().join(directory_of(name)), dir, name: name.clone(), borrows, borrowed_objects })
    }

    /// The directory alone, checked to be a bare repository of a trusted owner.
    pub(super) fn open_directory(&self, name: &RepoPath) -> Result<OwnedFd, StoreError> {
        // Without its root the store cannot say what is in it; that is no "there is none".
        let root = openat(CWD, self.root(), PLACE, Mode::empty()).map_err(|errno| {
            tracing::error!(root = %self.root().display(), error = %errno, "the store's root cannot be opened");
            let error = std::io::Error::from(errno);
            if is_shortage(&error) { StoreError::Io(error) } else { StoreError::Gone(error) }
        })?;
        let directory = directory_of(name);
        // Component by component: the same as openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, on every kernel. No
        // component can be `..`: that is what RepoPath promises.
        let dir = directory.split('/').try_fold(root, |at, component| openat(at, component, PLACE, Mode::empty()));
        let dir = match dir {
            Ok(dir) => dir,
            Err(rustix::io::Errno::NOTDIR) => return Err(self.link_or_missing(&directory)),
            Err(errno) => return Err(errno.into()),
        };
        let owner = fstat(&dir)?.st_uid;
        if !self.owners.contains(&owner) {
            return Err(StoreError::Unsafe(format!("it belongs to user {owner}, who is not among the store's owners")));
        }
        must_be(dir.as_fd(), "HEAD", FileType::RegularFile, "there is no HEAD file")?;
        must_be(dir.as_fd(), "objects", FileType::Directory, "there is no objects folder")?;
        must_be(dir.as_fd(), "refs", FileType::Directory, "there is no refs folder")?;
        if kind_of(dir.as_fd(), "commondir")?.is_some() {
            return Err(StoreError::Unsafe("it names another repository by a commondir file".to_owned()));
        }
        Ok(dir)
    }

    /// O_DIRECTORY with O_NOFOLLOW answers ENOTDIR for a file and for a symbolic link alike; the log should tell them apart.
    fn link_or_missing(&self, directory: &str) -> StoreError {
        let mut path = self.root().to_owned();
        for component in directory.split('/') {
            path.push(component);
            if path.is_symlink() {
                return StoreError::Unsafe("there is a symbolic link on the way to it".to_owned());
            }
        }
        StoreError::Missing
    }
}

/// What lies under a name in a directory, without following a link; `None` when nothing does.
pub(super) fn kind_of(dir: BorrowedFd<'_>, name: &str) -> Result<Option<FileType>, StoreError> {
    match rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn must_be(dir: BorrowedFd<'_>, name: &str, wanted: FileType, fault: &'static str) -> Result<(), StoreError> {
    match kind_of(dir, name)? {
        Some(kind) if kind == wanted => Ok(()),
        Some(FileType::Symlink) => Err(StoreError::Unsafe(format!("its {name} is a symbolic link"))),
        Some(_) | None => Err(StoreError::NotBare(fault)),
    }
}

#[cfg(test)]
mod tests;
