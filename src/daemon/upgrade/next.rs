//! The old daemon's end: starts the next one, and ends it again when it cannot take over.

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::heir::Heir;
use super::line::{Line, LineError, Word};
use super::{FLAG, STEP};
use crate::daemon::house::BuildError;
use crate::daemon::service;
use crate::daemon::sockets::Sockets;

/// What the daemon was started by: the same is started again, whatever file has the name by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedBy {
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<OsString>,
}

/// Why another process does not take this one's place.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// It cannot be started.
    #[error("{} cannot be started: {error}", program.display())]
    Start {
        /// What was to be started.
        program: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It cannot take over.
    #[error("the new process cannot take over: {0}")]
    Line(#[from] LineError),
    /// Two at a time.
    #[error("another process is just taking over")]
    Twice,
    /// It could not, and this one cannot go on either.
    #[error("the new process could not take over, and the registry cannot be opened again: {0}")]
    Lost(Box<BuildError>),
    /// It is too late.
    #[error("the daemon is stopping")]
    Stopping,
}

impl UpgradeError {
    /// What to do about it. The daemon serves on in any case.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Line(LineError::Failed { hint: Some(hint), .. }) => {
                format!("the old process serves on; {hint}")
            }
            Self::Line(LineError::Unknown(_)) => {
                "the old process serves on; releases that do not understand each other need a restart".to_owned()
            }
            Self::Start { .. } | Self::Line(_) => {
                "the old process serves on; the log says more, and `pullgate check` looks at config and machine"
                    .to_owned()
            }
            Self::Lost(error) => format!("the daemon ends; {}", error.hint()),
            Self::Twice => "wait for it to come to its end".to_owned(),
            Self::Stopping => "start it anew when it has stopped".to_owned(),
        }
    }
}

/// The next daemon, while it takes over. It is ended when this is dropped before it serves.
#[derive(Debug)]
pub(in crate::daemon) struct Next {
    child: Option<Child>,
    line: Line,
}

impl Next {
    /// Starts it, and hands it the sockets. Blocks while the disk does.
    pub(in crate::daemon) fn start(by: &StartedBy, sockets: &Sockets) -> Result<Self, UpgradeError> {
        let failed = |error| UpgradeError::Start { program: by.program.clone(), error };
        let (line, theirs) = Line::pair().map_err(failed)?;
        let mut command = Command::new(&by.program);
        command.args(by.arguments.iter().filter(|argument| *argument != FLAG)).arg(FLAG);
        // The watchdog is to hear of it as well, and this one's process id is not its own.
        command.env_remove("WATCHDOG_PID");
        command.stdin(Stdio::from(theirs.into_descriptor()));
        let child = command.spawn().map_err(failed)?;
        // The command has the other end, and with it in this process nobody would hear that the child is gone.
        drop(command);
        let next = Self { child: Some(child), line };
        let mut descriptors: Vec<_> = sockets.ssh.iter().map(|listener| listener.as_fd()).collect();
        descriptors.push(sockets.control.socket());
        descriptors.extend(sockets.metrics.iter().map(|listener| listener.as_fd()));
        let (ssh, managed, metrics) = (sockets.ssh.len(), sockets.managed, sockets.metrics.is_some());
        next.line.say(&Word::Sockets { ssh, managed, metrics }, &descriptors)?;
        Ok(next)
    }

    /// Waits until nothing but the registry is missing. Blocks.
    pub(in crate::daemon) fn prepared(&self) -> Result<(), UpgradeError> {
        Ok(self.line.expect(&Word::Prepared, STEP)?)
    }

    /// Lets it open the registry, and waits until it serves. Blocks.
    pub(in crate::daemon) fn released(&self) -> Result<(), UpgradeError> {
        self.line.say(&Word::Released, &[])?;
        Ok(self.line.expect(&Word::Serving, STEP)?)
    }

    /// Tells it to stop: it ends, or serves already, says so, and stops in its turn as any daemon does.
    pub(in crate::daemon) fn stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it, and whoever waits for its word.
    pub(in crate::daemon) fn kill(&self) {
        self.signal(Signal::KILL);
        // It may have left its end of the line to a process of its own.
        self.line.close();
    }

    fn signal(&self, signal: Signal) {
        // Nobody has waited for it yet: its number is its own.
        let Some(child) = &self.child else { return };
        if let Err(error) = kill_process(Pid::from_child(child), signal) {
            tracing::warn!(%error, ?signal, "a process that was to take over cannot be ended");
        }
    }

    /// Lets it be the daemon from now on, if it has not come to its end yet.
    pub(in crate::daemon) fn yours(mut self) -> Result<Heir, UpgradeError> {
        let mut child = self.child.take().ok_or(LineError::Gone)?;
        let heir = Heir::new(&child);
        service::handed_to(heir.id());
        match self.line.say(&Word::Yours, &[]) {
            Ok(()) => {}
            Err(error @ LineError::Gone) => {
                service::handed_to(std::process::id());
                self.child = Some(child);
                return Err(error.into());
            }
            Err(error) => {
                tracing::error!(%error, "the new process serves, and cannot be told that it is the daemon now")
            }
        }
        // It is to outlive this one. If it does not, somebody has to say so.
        let watch = move || match child.wait() {
            // It was stopped, or another one took its place.
            Ok(status) if status.success() => tracing::info!("the process that took over has ended well"),
            Ok(status) => tracing::error!(%status, "the process that took over has ended, before this one has"),
            Err(error) => tracing::warn!(%error, "the process that serves now cannot be watched"),
        };
        if let Err(error) = std::thread::Builder::new().name("successor".to_owned()).spawn(watch) {
            tracing::warn!(%error, "no thread to watch the process that serves now");
        }
        Ok(heir)
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Err(error) = child.kill().and_then(|()| child.wait()) {
            tracing::warn!(%error, "a process that could not take over cannot be ended");
        }
    }
}
