//! A cell that is tried before anybody is served in one.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};

use super::job::{Answer, End, Job, Pipes};
use super::{CellError, Cells, Report};

/// How long a child may take that only says what it is.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a complaint is shown, in bytes.
const COMPLAINT: usize = 500;

impl Cells {
    /// Runs a child in a cell to its end, with nothing on its input, and says what was enforced: as a
    /// [`Pool`](super::Pool) does it, with a worker of its own. `None` in mode `Off`. Blocks. What the child says has to
    /// fit into a pipe.
    ///
    /// # Errors
    /// [`CellError`]: in mode `Require` when any part of the cell is missing; in each mode when the child fails in it.
    pub fn trial(&self, job: &Job) -> Result<Option<Report>, CellError> {
        let Some(required) = self.required() else { return Ok(None) };
        let start = |errno: rustix::io::Errno| CellError::Start(errno.into());
        let (orders, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(start)?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(start);
        let ((stdin, _), (_said, stdout), (complaint, stderr)) = (pipe()?, pipe()?, pipe()?);
        let mut worker = self.worker(required, theirs).spawn().map_err(CellError::Start)?;
        let answer = job.packed().and_then(|job| {
            job.send(orders.as_fd(), &Pipes { stdin, stdout, stderr })?;
            answer(&orders)
        });
        // The worker leads its group, and was not waited for: its number is its own still.
        if let Some(group) = i32::try_from(worker.id()).ok().and_then(Pid::from_raw) {
            // It fails when all of them have ended, which is what is wanted.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
        let status = worker.wait().map_err(CellError::Start)?;
        let mut text = Vec::new();
        // Nobody can write there any more: what is there is all.
        std::fs::File::from(complaint).read_to_end(&mut text).map_err(CellError::Start)?;
        let text = crate::model::text::printable_bytes(text.trim_ascii(), COMPLAINT);
        match answer.map_err(CellError::Start)? {
            Some(Answer { end: End::Ran { report, code: Some(0) }, .. }) => Ok(Some(report)),
            Some(Answer { end: End::Ran { code: Some(code), .. }, .. }) => {
                Err(CellError::Refused(format!("{text} (exit status {code})")))
            }
            Some(Answer { end: End::Ran { code: None, .. }, .. }) => {
                Err(CellError::Refused(format!("{text} (ended by a signal)")))
            }
            Some(Answer { end: End::NotRun { .. }, .. }) => Err(CellError::Refused(text)),
            None => Err(CellError::Refused(format!("what makes the cells does not answer ({status})"))),
        }
    }
}

/// What the worker says; `None` when it is gone.
fn answer(orders: &OwnedFd) -> std::io::Result<Option<Answer>> {
    let patience = rustix::event::Timespec::try_from(PATIENCE).map_err(std::io::Error::other)?;
    let looked = || poll(&mut [PollFd::new(orders, PollFlags::IN)], Some(&patience));
    if rustix::io::retry_on_intr(looked)? == 0 {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    let mut bytes = [0; Answer::LONGEST];
    match recv(orders, bytes.as_mut_slice(), RecvFlags::empty()) {
        // It ended with its order unread.
        Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => Ok(None),
        Ok((length, _)) => Answer::read(bytes.get(..length).unwrap_or_default()).map(Some),
        Err(errno) => Err(errno.into()),
    }
}
