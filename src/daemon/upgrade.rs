//! Another process takes this one's place while clones run: a newer program, or a config that needs a restart.
//!
//! The daemon starts the program that it was started from, with the same arguments and [`FLAG`], and hands it its listening
//! sockets. What both then say to each other, in this order:
//!
//! 1. `sockets`, with the descriptors; the new one builds all of the house that needs no registry, and says `prepared`
//! 2. the old one lets nobody in any more (who connects waits in the kernel's queue), waits until those inside are decided,
//!    closes the registry, and says `released`
//! 3. the new one opens the registry and its doors, and says `serving`
//! 4. the old one tells the service manager whose turn it is, says `yours`, and brings to an end what it has begun
//!
//! Whatever fails before `yours`: the new one is ended, and the old one opens the registry again and serves on.
//!
//! A daemon that is told to stop before `serving` ends the new one, by the process that it started, and comes to its own end;
//! from then on it passes that on, as well as that the config is to be read anew: the new one has read it before.
//!
//! - `line`: what they say, and how
//! - [`next`]: the old one's end; [`successor`]: the new one's
//! - `heir`: the new one as the old one sees it when it serves

pub(super) mod ask;
pub(super) mod heir;
mod line;
pub mod next;
pub mod successor;

use std::time::Duration;

pub use line::LineError;

/// What tells the program that it is started to take a daemon's place.
pub const FLAG: &str = "--successor";

/// How long each step may take before it is given up. To open a registry of a million keys that was closed well takes some
/// seconds.
const STEP: Duration = Duration::from_secs(120);
/// How long the new one may take to end when it is told to. If it has begun to serve, it says so in this time, and is not killed.
pub(super) const LAST_WORD: Duration = Duration::from_secs(5);
