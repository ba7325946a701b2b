//! Floor 1: a cell for a child process. It knows no git: what a child needs is a [`Profile`] that somebody above writes.
//!
//! A cell is entered by running this very program again under a hidden word ([`enter()`]): the new process confines itself
//! and then becomes the child, or it goes on as a worker of a [`Pool`], which confines a thread for each child and lets that
//! start it. So the gateway itself starts processes with `posix_spawn`, which does not copy a large process's page tables,
//! and no code of ours runs between a fork and an exec. What holds in the cell:
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
mod worker;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use enter::{WORD, enter};
pub use job::Job;
pub use limits::no_core_dumps;
pub use pool::{Pool, Running};
pub use profile::{Allow, Limits, Profile, User};
pub use report::Report;

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

/// What the caller starts: a program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
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
    helper: PathBuf,
}

impl Cells {
    /// Cells that are entered through this very program.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::through(settings, PathBuf::from(THIS_PROGRAM))
    }

    /// Cells that are entered through `helper`, a pullgate program; for code that is itself not one.
    #[must_use]
    pub fn through(settings: Settings, helper: PathBuf) -> Self {
        Self { settings, helper }
    }

    /// The settings that they are made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How to start `program` in a cell.
    #[must_use]
    pub fn launch<A: AsRef<OsStr>>(&self, profile: &Profile, program: &Path, args: &[A]) -> Launch {
        self.launch_with(false, profile, program, args)
    }

    fn launch_with<A: AsRef<OsStr>>(&self, report: bool, profile: &Profile, program: &Path, args: &[A]) -> Launch {
        let args = args.iter().map(|arg| arg.as_ref().to_owned());
        let required = match self.settings.mode {
            Mode::Off => return Launch { program: program.to_owned(), args: args.collect() },
            Mode::Require => true,
            Mode::Prefer => false,
        };
        let order = profile::Order { required, report, limits: self.settings.limits, user: self.settings.user };
        let mut all = vec![OsString::from(WORD)];
        order.write(&mut all);
        profile.write(&mut all);
        all.push("--".into());
        all.push(program.into());
        all.extend(args);
        Launch { program: self.helper.clone(), args: all }
    }

    /// Runs `program` in a cell to its end, with nothing on its input, and says what was enforced. `None` in mode `Off`.
    ///
    /// # Errors
    /// [`CellError`]: in mode `Require` when any part of the cell is missing; in each mode when the child fails in it.
    pub fn trial(
        &self,
        profile: &Profile,
        program: &Path,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Option<Report>, CellError> {
        if self.settings.mode == Mode::Off {
            return Ok(None);
        }
        let launch = self.launch_with(true, profile, program, args);
        let output = Command::new(&launch.program)
            .args(&launch.args)
            .current_dir("/")
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .map_err(CellError::Start)?;
        let said = |bytes: &[u8]| crate::model::text::printable_bytes(bytes.trim_ascii(), 500);
        if !output.status.success() {
            return Err(CellError::Refused(format!("{} ({})", said(&output.stderr), output.status)));
        }
        match Report::read(&output.stdout) {
            Some(report) => Ok(Some(report)),
            None => Err(CellError::Refused(format!("the cell says {}", said(&output.stdout)))),
        }
    }
}
