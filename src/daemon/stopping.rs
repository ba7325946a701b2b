//! A word beside the control socket that the daemon is stopping. While it brings to an end what it has begun, nobody answers at
//! the socket any more, and the registry is still open: an operator wants to know for how long.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// What a daemon that stops says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// Its process.
    pub process: u32,
    /// When it cuts what still runs.
    pub until: Timestamp,
}

/// The file; removed when this is dropped.
#[derive(Debug)]
pub(super) struct Mark(PathBuf);

fn place(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".stopping");
    name.into()
}

/// Says so, for as long as the value lives.
pub(super) fn say(socket: &Path, limit: Duration) -> Option<Mark> {
    let file = place(socket);
    let until = Timestamp::now().checked_add(limit).unwrap_or(Timestamp::MAX);
    let said = serde_json::to_vec(&Stopping { process: std::process::id(), until }).map_err(io::Error::other);
    match said.and_then(|said| write(&file, &said)) {
        Ok(()) => Some(Mark(file)),
        Err(error) => {
            tracing::debug!(%error, file = %file.display(), "that this daemon stops cannot be said");
            None
        }
    }
}

/// Whole or not at all, in place of whatever has the name, and for everybody who may ask the daemon.
fn write(file: &Path, said: &[u8]) -> io::Result<()> {
    let dir = file.parent().ok_or(io::ErrorKind::NotFound)?;
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    new.write_all(said)?;
    new.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    new.persist(file).map(drop).map_err(|error| error.error)
}

/// Takes away what a daemon that was killed left behind, once another one has its socket.
pub(super) fn forget(socket: &Path) {
    match std::fs::remove_file(place(socket)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the word of a daemon that was killed cannot be removed");
        }
        Ok(()) | Err(_) => {}
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, file = %self.0.display(), "the word that this daemon stops cannot be removed");
        }
    }
}

/// What the daemon of this socket says, if it is there to say it: one that was killed leaves its word behind.
#[must_use]
pub fn of(socket: &Path) -> Option<Stopping> {
    let said: Stopping = serde_json::from_slice(&std::fs::read(place(socket)).ok()?).ok()?;
    let process = i32::try_from(said.process).ok().and_then(Pid::from_raw)?;
    // It may be of another user, who may not be signalled.
    matches!(test_kill_process(process), Ok(()) | Err(rustix::io::Errno::PERM)).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_as_long_as_it_is_so() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        assert_eq!(of(&socket), None);
        let mark = say(&socket, Duration::from_secs(60)).unwrap();
        let said = of(&socket).unwrap();
        assert_eq!(said.process, std::process::id());
        assert!(said.until > Timestamp::now());
        drop(mark);
        assert_eq!(of(&socket), None);
        // The word of a process that is no more.
        let gone = Stopping { process: u32::try_from(i32::MAX).unwrap(), until: Timestamp::MAX };
        std::fs::write(place(&socket), serde_json::to_vec(&gone).unwrap()).unwrap();
        assert_eq!(of(&socket), None);
        std::fs::write(place(&socket), "nonsense").unwrap();
        assert_eq!(of(&socket), None);
    }
}
