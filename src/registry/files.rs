//! Directories, the lock, and the one place where the process ends.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Makes a directory that only its owner may enter, when it is missing.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Makes the names in a directory durable: a file's own fsync does not (fsync(2)).
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Options for files that only their owner may read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// A file that this process has locked (flock(2)), for as long as the value lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// To close the file is not enough: a child that was just forked has it open too until it becomes another program,
    /// and the lock belongs to all who have it open. To unlock it is: that ends the lock for all of them.
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            tracing::warn!(%error, "a lock could not be given back before its file is closed");
        }
    }
}

/// Locks a file, which is made when it is missing. `None`: somebody else has it.
pub(super) fn lock(path: &Path) -> io::Result<Option<Lock>> {
    let file = private().create(true).truncate(false).open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Ends the process, at once and without any tidying: the only place in the registry that does.
///
/// For one case: the journal could not be written or synced. After a failed fsync the kernel may have dropped the dirty
/// pages and say "fine" next time, so nobody knows what is on disk until the file is read again from the start. To go on
/// would be to acknowledge changes that a power cut takes back.
pub(super) fn end_process(error: &io::Error, what: &str) -> ! {
    tracing::error!(%error, "{what}: the journal's state on disk is unknown, the process ends; look at the disk, then start again");
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::lock;

    /// What a fork does: the child has the same open file, until it becomes another program.
    #[test]
    fn a_lock_ends_with_its_value_also_while_a_forked_child_has_its_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = lock(&path).unwrap().unwrap();
        let inherited = first.0.try_clone().unwrap();
        assert!(lock(&path).unwrap().is_none(), "two have it");
        drop(first);
        assert!(lock(&path).unwrap().is_some(), "its owner gave it back");
        drop(inherited);
    }
}
