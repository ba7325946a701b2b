//! Who may administer: a local process with an allowed uid.

use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::model::text::printable;
use crate::registry::record::MAX_BY;

/// The uids that may administer: root's and the process's own, always, and those that were configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operators {
    uids: BTreeSet<u32>,
    configured: bool,
}

impl Operators {
    /// Root, the owner of this process, and `more`.
    #[must_use]
    pub fn new(more: impl IntoIterator<Item = u32>) -> Self {
        // The highest uid is the kernel's word for "nobody known" (unix(7), getsockopt on a socket without a peer).
        let mut uids: BTreeSet<u32> = more.into_iter().filter(|uid| *uid != u32::MAX).collect();
        let configured = !uids.is_empty();
        uids.extend([0, geteuid().as_raw()]);
        Self { uids, configured }
    }

    /// Whether anybody beside root and the process's owner may administer.
    #[must_use]
    pub fn beyond_owner(&self) -> bool {
        self.configured
    }

    /// Nobody, not even the owner: who runs a test cannot become somebody else to be refused.
    #[cfg(test)]
    pub(crate) fn none_for_test() -> Self {
        Self { uids: BTreeSet::new(), configured: false }
    }

    fn allow(&self, uid: u32) -> bool {
        self.uids.contains(&uid)
    }
}

/// Why somebody is no operator.
#[derive(Debug, thiserror::Error)]
pub enum NotAllowed {
    /// The peer's uid is none of the [`Operators`].
    #[error("{who} may not administer this gateway")]
    Uid {
        /// The user's name, or uid.
        who: String,
    },
    /// The kernel did not say who the peer is.
    #[error("the kernel does not say who is at the other end of the socket: {0}")]
    Unknown(#[source] std::io::Error),
    /// The folder of the registry belongs to somebody else.
    #[error("{} belongs to {owner}, and this is {who}", folder.display())]
    NotOwner {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who asked.
        who: String,
    },
    /// The folder of the registry can be written by others, so that being able to write it proves nothing.
    #[error("others than its owner can write to {}", folder.display())]
    Open {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder of the registry cannot be looked at.
    #[error("{} cannot be looked at: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Whether others than the owner of something with this mode can write to it.
#[must_use]
pub fn others_write(mode: u32) -> bool {
    mode & 0o022 != 0
}

/// Somebody who may administer.
///
/// Promise: the kernel said who it is, and the uid is allowed. There are two makers: [`Operator::from_peer`] asks for the
/// credentials of a socket's other end, [`Operator::local`] for the owner of the registry's folder.
///
/// ```compile_fail
/// // The fields are private: nobody becomes an operator by saying so.
/// let me = pullgate::admin::operator::Operator { uid: 0, name: "root".to_owned() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    uid: u32,
    name: String,
}

impl Operator {
    /// The process at the other end of a connected Unix socket, by `SO_PEERCRED` (unix(7)): the uid at the time of its
    /// `connect`, which the kernel filled in.
    ///
    /// # Errors
    /// [`NotAllowed::Uid`], [`NotAllowed::Unknown`]
    pub fn from_peer(socket: impl AsFd, allowed: &Operators) -> Result<Self, NotAllowed> {
        let unknown = |error: rustix::io::Errno| NotAllowed::Unknown(error.into());
        // A listening socket has credentials too, which are this process's own: only a connected one has a peer.
        rustix::net::getpeername(&socket).map_err(unknown)?;
        let peer = rustix::net::sockopt::socket_peercred(&socket).map_err(unknown)?;
        let operator = Self::named(peer.uid.as_raw());
        if allowed.allow(operator.uid) { Ok(operator) } else { Err(NotAllowed::Uid { who: operator.name }) }
    }

    /// This process, when it owns `folder`, which holds the registry, and nobody else can write there.
    ///
    /// Root is not let into another user's folder: the files it would make there could not be opened by the daemon.
    ///
    /// # Errors
    /// [`NotAllowed::NotOwner`], [`NotAllowed::Open`], [`NotAllowed::Folder`]
    pub fn local(folder: &Path) -> Result<Self, NotAllowed> {
        let folder = folder.to_owned();
        let stat = match rustix::fs::stat(&folder) {
            Ok(stat) => stat,
            Err(error) => return Err(NotAllowed::Folder { folder, error: error.into() }),
        };
        let me = Self::named(geteuid().as_raw());
        if stat.st_uid != me.uid {
            return Err(NotAllowed::NotOwner { folder, owner: user_name(stat.st_uid), who: me.name });
        }
        if others_write(stat.st_mode) {
            return Err(NotAllowed::Open { folder });
        }
        Ok(me)
    }

    fn named(uid: u32) -> Self {
        Self { uid, name: user_name(uid) }
    }

    /// The user's id.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The user's name, or `uid 1000` when it has none; at most [`MAX_BY`] characters. For records, never for decisions.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The name of a user, or `uid 1000`, printable and at most [`MAX_BY`] characters long.
#[must_use]
pub fn user_name(uid: u32) -> String {
    match uzers::get_user_by_uid(uid) {
        // An escape or the mark of a cut may lengthen it.
        Some(user) => printable(&user.name().to_string_lossy(), MAX_BY - 1).chars().take(MAX_BY).collect(),
        None => format!("uid {uid}"),
    }
}

/// The same as one writes it behind `sudo -u`.
#[must_use]
pub fn user_for_sudo(uid: u32) -> String {
    if uzers::get_user_by_uid(uid).is_some() { user_name(uid) } else { format!("'#{uid}'") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_peer_is_who_the_kernel_says() {
        let (here, _there) = UnixStream::pair().unwrap();
        let operator = Operator::from_peer(&here, &Operators::new([])).unwrap();
        assert_eq!(operator.uid(), geteuid().as_raw());
    }

    #[test]
    fn a_uid_that_is_not_listed_is_refused() {
        let (here, _there) = UnixStream::pair().unwrap();
        let nobody = Operators::none_for_test();
        assert!(matches!(Operator::from_peer(&here, &nobody), Err(NotAllowed::Uid { .. })));
    }

    #[test]
    fn a_socket_without_a_peer_proves_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let listening = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        assert!(matches!(Operator::from_peer(&listening, &Operators::new([])), Err(NotAllowed::Unknown(_))));
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(Operator::from_peer(&datagrams, &Operators::new([])), Err(NotAllowed::Unknown(_))));
        assert!(!Operators::new([u32::MAX]).allow(u32::MAX), "nobody known may do nothing");
    }

    #[test]
    fn the_registry_s_folder_has_to_be_one_s_own_and_closed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Operator::local(dir.path()).is_ok());
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(Operator::local(dir.path()), Err(NotAllowed::Open { .. })));
        assert!(matches!(Operator::local(&dir.path().join("none")), Err(NotAllowed::Folder { .. })));
        if geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
            assert!(matches!(Operator::local(dir.path()), Err(NotAllowed::NotOwner { .. })));
        }
    }
}
