//! The outer half: workers, who make cells, and the children in them.
//!
//! A worker is a process beside the gateway (`worker.rs`). It is kept for the next child, because to start one costs more
//! than everything else that a cell costs. A child that is dropped takes its worker along, and whatever both have started.

use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

use super::job::{Answer, End, Job, Pipes};
use super::{Cells, Spent};

/// How many children one worker starts: its own processor time counts against the limit that each of them has, and what it
/// has mapped is of the version that started it.
const CHILDREN: u32 = 100;

/// Where children are started in cells. Clones share their workers.
#[derive(Debug, Clone)]
pub struct Pool {
    cells: Cells,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    kept: usize,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Worker>,
    tally: Tally,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was started since the pool was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Children.
    pub children: u64,
    /// Children that could not be run.
    pub not_run: u64,
    /// Workers.
    pub workers: u64,
    /// Workers that ended with a child that somebody waited for, or before they got one: killed by somebody, or for memory.
    pub workers_lost: u64,
    /// Processor time of the children in cells that came to their end.
    pub cpu: Duration,
    /// The most memory that one process of theirs had in use, in bytes.
    pub peak_bytes: u64,
}

impl Tally {
    fn add(&mut self, spent: Spent) {
        self.cpu += Duration::from_micros(spent.cpu_micros);
        self.peak_bytes = self.peak_bytes.max(spent.peak_bytes);
    }
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
    Worked(Option<Worker>, Arc<Shared>),
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
    /// Of the workers that wait for work so many are kept; each has half a megabyte of its own. There is none yet: each is
    /// started when there is none to spare.
    #[must_use]
    pub fn new(cells: Cells, kept: usize) -> Self {
        Self { cells, shared: Arc::new(Shared { state: Mutex::default(), kept }) }
    }

    /// What was started so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.shared.lock().tally
    }

    /// Starts a child. That it could not be confined or executed shows as its end, and why on its standard error.
    ///
    /// # Errors
    /// The system's, when there is no worker and none can be started; `InvalidInput` for a job that is too long, or has a
    /// NUL in it.
    pub fn start(&self, job: &Job) -> std::io::Result<Running> {
        let Some(required) = self.cells.required() else {
            let running = alone(job)?;
            self.shared.lock().tally.children += 1;
            return Ok(running);
        };
        let packed = job.packed()?;
        let [(stdin, to), (from, stdout), (complaints, stderr)] =
            [pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?];
        let pipes = Pipes { stdin, stdout, stderr };
        let worker = loop {
            let idle = self.shared.lock().idle.pop();
            let fresh = idle.is_none();
            let mut worker = idle.map_or_else(|| self.worker(required), Ok)?;
            worker.children += 1;
            match packed.send(worker.socket.as_fd(), &pipes) {
                Ok(()) => break worker,
                // Somebody ended it while it had nothing to do.
                Err(error) if !fresh && is_gone(&error) => {
                    tracing::warn!(%error, "a worker that makes cells is gone; there are others");
                    self.shared.lock().tally.workers_lost += 1;
                }
                Err(error) => return Err(error),
            }
        };
        self.shared.lock().tally.children += 1;
        Ok(Running {
            stdin: Some(ChildStdin::from_std(to.into())?),
            stdout: ChildStdout::from_std(from.into())?,
            stderr: ChildStderr::from_std(complaints.into())?,
            how: How::Worked(Some(worker), Arc::clone(&self.shared)),
        })
    }

    fn worker(&self, required: bool) -> std::io::Result<Worker> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // Theirs waits for each order.
        rustix::io::ioctl_fionbio(&theirs, false)?;
        let mut command = Command::from(self.cells.worker(required, theirs));
        let worker =
            Worker { _group: Group::start(&mut command)?, socket: UnixStream::from_std(ours.into())?, children: 0 };
        self.shared.lock().tally.workers += 1;
        Ok(worker)
    }
}

/// Whether nobody is at the other end of a socket any more.
fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
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
    /// When it was not run: the system's error, or another where it was none; why stands on its standard error. `NotFound`
    /// when it was waited for already.
    pub async fn wait(&mut self) -> std::io::Result<Option<i32>> {
        let (worker, shared) = match &mut self.how {
            How::Alone(group) => {
                let status = group.process.wait().await?;
                group.id = None;
                return Ok(status.code());
            }
            How::Worked(worker, shared) => (worker, shared),
        };
        let answer = worker.as_ref().ok_or(ErrorKind::NotFound)?.answer().await?;
        let Some(Answer { end, clean, spent }) = answer else {
            // Killed, with its child.
            *worker = None;
            shared.lock().tally.workers_lost += 1;
            tracing::warn!("a worker that makes cells ended with its child");
            return Ok(None);
        };
        let ran = matches!(end, End::Ran { .. });
        // Whatever kept it from running one may be its own, and over for the next worker.
        let mut reusable = worker.take().filter(|worker| clean && ran && worker.children < CHILDREN);
        {
            let mut state = shared.lock();
            state.tally.add(spent);
            state.tally.not_run += u64::from(!ran);
            if state.idle.len() < shared.kept {
                state.idle.extend(reusable.take());
            }
        }
        // What is not kept ends here.
        drop(reusable);
        match end {
            End::Ran { code, .. } => Ok(code),
            End::NotRun { errno } => {
                let unknown = || std::io::Error::other("it could not be confined");
                Err(errno.map_or_else(unknown, std::io::Error::from_raw_os_error))
            }
        }
    }
}

impl Worker {
    /// `None` when it is gone.
    async fn answer(&self) -> std::io::Result<Option<Answer>> {
        let mut bytes = [0u8; Answer::LONGEST];
        loop {
            self.socket.readable().await?;
            match self.socket.try_read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(length) => return Answer::read(bytes.get(..length).unwrap_or_default()).map(Some),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // It ended with an order unread.
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
