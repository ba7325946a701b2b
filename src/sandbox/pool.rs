//! The outer half: workers, who make cells, and the children in them.
//!
//! A worker is a process beside the gateway (`worker.rs`). It is kept for the next child, because to start one costs more
//! than everything else that a cell costs. A child that is dropped takes its worker along, and whatever both have started.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

use super::enter::WORKER;
use super::job::{Answer, Job, Pipes};
use super::profile::Order;
use super::{Cells, Mode};

/// How many workers wait for work. Each has half a megabyte of its own.
const KEPT: usize = 8;
/// How many children one worker starts: its own processor time counts against the limit that each of them has, and what it
/// has mapped is of the version that started it.
const CHILDREN: u32 = 100;

/// Where children are started in cells. Clones share their workers.
#[derive(Debug, Clone)]
pub struct Pool {
    cells: Cells,
    idle: Arc<Mutex<Vec<Worker>>>,
}

/// A running child with the three ends of its pipes. Dropping it ends it and everything it started.
#[derive(Debug)]
pub struct Running {
    /// Where it reads from.
    pub stdin: Option<ChildStdin>,
    /// What it says.
    pub stdout: ChildStdout,
    /// What it complains of.
    pub stderr: ChildStderr,
    how: How,
}

#[derive(Debug)]
enum How {
    Alone(Group),
    /// `None` when it has ended.
    Worked(Option<Worker>, Arc<Mutex<Vec<Worker>>>),
}

/// A process that leads a group, and the group.
#[derive(Debug)]
struct Group {
    process: tokio::process::Child,
    /// `None` when the leader was waited for, and with it went the certainty that the number is still ours.
    id: Option<Pid>,
}

impl Group {
    fn start(command: &mut Command) -> std::io::Result<Self> {
        let process = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { process, id })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.id
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "the child's group is gone already");
        }
    }
}

#[derive(Debug)]
struct Worker {
    /// Dropped with it.
    _group: Group,
    /// It keeps packets apart; to the runtime, which only waits for it, it is a stream like others.
    socket: UnixStream,
    children: u32,
}

impl Pool {
    /// No worker yet: each is started when there is none to spare.
    #[must_use]
    pub fn new(cells: Cells) -> Self {
        Self { cells, idle: Arc::default() }
    }

    /// Starts a child. That it could not be confined or executed shows as its end, with status 125 and a word on its
    /// standard error.
    ///
    /// # Errors
    /// The system's, when there is no worker and none can be started.
    pub fn start(&self, job: &Job) -> std::io::Result<Running> {
        let required = match self.cells.settings().mode {
            Mode::Off => return alone(job),
            Mode::Require => true,
            Mode::Prefer => false,
        };
        let [(stdin, to), (from, stdout), (complaints, stderr)] =
            [pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?];
        let pipes = Pipes { stdin, stdout, stderr };
        let worker = loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let fresh = idle.is_none();
            let mut worker = idle.map_or_else(|| self.worker(required), Ok)?;
            worker.children += 1;
            match job.send(worker.socket.as_fd(), &pipes) {
                Ok(()) => break worker,
                // Somebody ended it while it had nothing to do.
                Err(error) if !fresh => tracing::debug!(%error, "a worker is gone"),
                Err(error) => return Err(error),
            }
        };
        Ok(Running {
            stdin: Some(ChildStdin::from_std(to.into())?),
            stdout: ChildStdout::from_std(from.into())?,
            stderr: ChildStderr::from_std(complaints.into())?,
            how: How::Worked(Some(worker), Arc::clone(&self.idle)),
        })
    }

    fn worker(&self, required: bool) -> std::io::Result<Worker> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // Theirs waits for each order.
        rustix::io::ioctl_fionbio(&theirs, false)?;
        let settings = self.cells.settings();
        let order = Order { required, report: false, limits: settings.limits, user: settings.user };
        let mut words = vec![OsString::from(WORKER)];
        order.write(&mut words);
        words.push("--".into());
        // Nothing here may need code between fork and exec (`pre_exec`, `uid`): then the standard library could not use
        // posix_spawn, and every start would copy the page tables of the whole gateway.
        let mut command = Command::new(&self.cells.helper);
        command.args(words).current_dir("/").env_clear();
        // One thread at a time allocates there: a heap for each would be made and unmade with each child (mallopt(3)).
        command.env("MALLOC_ARENA_MAX", "1");
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Worker { _group: Group::start(&mut command)?, socket: UnixStream::from_std(ours.into())?, children: 0 })
    }
}

/// Starts it without a cell.
fn alone(job: &Job) -> std::io::Result<Running> {
    use std::os::fd::AsRawFd as _;
    let mut command = Command::new(&job.program);
    command.args(&job.args).env_clear().envs(job.environment.iter().map(|(name, value)| (name, value)));
    // The directory by its open descriptor: whatever its path leads to by now.
    command.current_dir(format!("/proc/self/fd/{}", job.directory.as_raw_fd()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::start(&mut command)?;
    let lost = || std::io::Error::other("a pipe of the child is missing");
    let process = &mut group.process;
    let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
    Ok(Running { stdin, stdout: stdout.ok_or_else(lost)?, stderr: stderr.ok_or_else(lost)?, how: How::Alone(group) })
}

impl Running {
    /// Waits for the end; `None` for an end by signal. May be dropped and called again.
    ///
    /// # Errors
    /// The system's; `NotFound` when it was waited for already.
    pub async fn wait(&mut self) -> std::io::Result<Option<i32>> {
        let (worker, idle) = match &mut self.how {
            How::Alone(group) => {
                let status = group.process.wait().await?;
                group.id = None;
                return Ok(status.code());
            }
            How::Worked(worker, idle) => (worker, idle),
        };
        let answer = worker.as_ref().ok_or(ErrorKind::NotFound)?.answer().await?;
        let Some(answer) = answer else {
            // Killed, with its child.
            *worker = None;
            return Ok(None);
        };
        // What is not kept is dropped, and that ends it.
        let reusable = worker.take().filter(|worker| answer.clean && worker.children < CHILDREN);
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.extend(reusable);
        }
        Ok(answer.code)
    }
}

impl Worker {
    /// `None` when it is gone.
    async fn answer(&self) -> std::io::Result<Option<Answer>> {
        let mut bytes = [0u8; Answer::LENGTH];
        loop {
            self.socket.readable().await?;
            match self.socket.try_read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(_) => return Answer::read(&bytes).map(Some).ok_or_else(|| ErrorKind::InvalidData.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // It ended with an order unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
