//! What can be set about the control socket.

use std::path::PathBuf;
use std::time::Duration;

use crate::admin::operator::Operators;

/// The longest path of a Unix socket, in bytes: `sun_path` has 108 with its terminator (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// What can be set about the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it is.
    pub socket: PathBuf,
    /// Who may administer.
    pub operators: Operators,
    /// How many connections are served at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a peer may take for one whole request, from the moment it could be sent, and for taking its answer.
    pub peer_deadline: Duration,
}

impl Settings {
    /// With the defaults for everything that no site needs to touch.
    #[must_use]
    pub fn new(socket: PathBuf, operators: Operators) -> Self {
        Self { socket, operators, max_connections: 32, peer_deadline: Duration::from_secs(10) }
    }
}
