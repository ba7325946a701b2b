//! Floor 1: a cell for a child process. It knows no git: what a child needs is a [`Profile`] that somebody above writes.
//!
//! Cells are made by workers: this very program, run again under a hidden word ([`enter()`]). A worker confines a thread for
//! each child and lets that start it; a [`Pool`] keeps workers for the next child. So the gateway itself starts processes
//! with `posix_spawn`, which does not copy a large process's page tables, and no code of ours runs between a fork and an
//! exec. What holds in the cell:
//!
//! - files: only those that the profile names (Landlock), and nothing is written but devices that it names;
//! - system calls: only those of a list (`calls.rs`); no network, no signals to anybody, no new privileges or namespaces;
//! - limits: memory, CPU time, no core dumps, no files of any size;
//! - descriptors: the three standard ones and no other;
//! - the process group: its own, in which it and all that it starts stay.

mod calls;
mod enter;
mod files;
mod job;
mod limits;
mod pool;
mod profile;
mod report;
mod trial;
mod worker;

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub use enter::enter;
pub use job::Job;
pub use limits::no_core_dumps;
pub use pool::{Pool, Running, Tally};
use profile::Order;
pub use profile::{Allow, Limits, Profile, User};
pub use report::Report;
use report::Spent;

/// How much confinement an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// No child without a whole cell: the gateway does not start where the kernel cannot make one.
    #[default]
    Require,
    /// As much of a cell as the kernel can make, and a warning at every start where that is not all of it.
    Prefer,
    /// No cell.
    Off,
}

/// What can be set about cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// How much confinement.
    pub mode: Mode,
    /// Bounds of every child.
    pub limits: Limits,
    /// Who the child is, where the gateway is root; else, and when left out, who the gateway is.
    pub user: Option<User>,
}

/// This program, by the kernel's own name for it: the file may have been replaced since by another version.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Why a child was not run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NotRun {
    /// For operators.
    why: String,
    /// The system's error (errno(3)), if it was one: a shortage may be over soon, whatever else it is will not.
    errno: Option<i32>,
}

impl NotRun {
    /// Something that the system refused.
    fn of(what: &dyn Display, error: std::io::Error) -> Self {
        Self { why: format!("{what}: {error}"), errno: error.raw_os_error() }
    }

    fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), errno: None }
    }
}

impl Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Why there is no cell.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The trial could not be started.
    #[error("a cell cannot be tried: {0}")]
    Start(std::io::Error),
    /// The kernel refused a part of it, or the child did not work in it.
    #[error("a child cannot be confined here: {0}")]
    Refused(String),
}

/// Makes cells of one mode. A null implementation is its `Off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    settings: Settings,
    program: PathBuf,
}

impl Cells {
    /// Cells that are made by this very program.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::through(settings, PathBuf::from(THIS_PROGRAM))
    }

    /// Cells that are made by `program`, a pullgate program; for code that is itself not one.
    #[must_use]
    pub fn through(settings: Settings, program: PathBuf) -> Self {
        Self { settings, program }
    }

    /// The settings that they are made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether every part of a cell has to hold; `None` when there are none.
    fn required(&self) -> Option<bool> {
        match self.settings.mode {
            Mode::Off => None,
            Mode::Require => Some(true),
            Mode::Prefer => Some(false),
        }
    }

    /// How a worker is started, whose orders come by this socket.
    fn worker(&self, required: bool, orders: OwnedFd) -> Command {
        let order = Order { required, limits: self.settings.limits, user: self.settings.user };
        let mut words = vec![OsString::from(enter::WORD)];
        order.write(&mut words);
        // Nothing here may need code between fork and exec (`pre_exec`, `uid`): then the standard library could not use
        // posix_spawn, and every start would copy the page tables of the whole gateway.
        let mut command = Command::new(&self.program);
        command.args(words).current_dir("/").env_clear().process_group(0);
        // One thread at a time allocates there, and no thread but the worker's own may be there: what it gives up (its user, its
        // groups, its rights) it gives up for itself alone, and another thread would keep them.
        command.env("_RJEM_MALLOC_CONF", "background_thread:false,narenas:1");
        command.stdin(Stdio::from(orders)).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}
