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

/// Locks a file, which is made when it is missing, for as long as the value lives. `None`: somebody else has it.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = private().create(true).truncate(false).open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
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
