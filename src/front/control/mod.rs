//! The door for operators: a Unix socket with peer credentials.
//!
//! Who may connect: the socket file is made with mode 0600, so that only its owner and root get as far as a refusal. When
//! operators are configured it is 0666 instead, because the kernel would not let them connect otherwise; then it is
//! `SO_PEERCRED` alone that decides, which it does in both cases, before a byte of the peer is read. (0660 would need a
//! group that has just the operators in it, a second list to keep.) Operators must also be able to enter the socket's
//! folder, and the state folder is closed: give them a socket elsewhere, such as `/run/pullgate/control.sock`.
//!
//! - [`protocol`]: the frames and what is in them
//! - [`service`]: raw text to types to `admin`
//! - [`listener`]: the daemon's end; [`client`]: the command's end

pub mod client;
pub mod listener;
mod parts;
pub mod protocol;
pub mod service;
mod settings;

pub use settings::{MAX_SOCKET_PATH, Settings};
