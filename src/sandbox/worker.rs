//! The inner half of a [`Pool`](super::Pool): a process that makes one cell after the other.
//!
//! It is this program under a hidden word, with the bounds of a child and the user that a child is. For each child it starts
//! a thread, confines that thread, and lets it start the child by `posix_spawn`: the walls of a cell hold for a thread and
//! for what it starts, so no program is executed but the child's own. The worker leads a process group, and what it starts
//! is in it and cannot leave it; whoever ends the group ends them all.

use std::io::Write as _;
use std::os::fd::BorrowedFd;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, chdir, fchdir, getpid, kill_current_process_group, pidfd_open,
    set_child_subreaper, waitpid,
};

use super::calls::Filter;
use super::enter::{NOT_RUN, prepare, wall};
use super::job::{Answer, Job, Pipes};
use super::profile::Order;

/// The stack of the thread that starts a child: it calls a few functions deep. In bytes.
const STACK: usize = 256 * 1024;

/// Makes cells until the gateway wants no more of them or is gone. `None` when this was not started by the gateway.
pub(super) fn work(order: &Order) -> Option<()> {
    // It ends its whole group, which therefore has to be its own. (One of another process namespace has the number 0, which
    // `rustix` does not expect.)
    if nix::unistd::getpgrp() != nix::unistd::getpid() {
        return None;
    }
    let gateway = rustix::stdio::stdin();
    let maker = Maker { prepared: prepare(order), required: order.required, calls: Filter::new() };
    // What a child leaves behind becomes this process's to see.
    let sees_all = set_child_subreaper(Some(getpid())).is_ok();
    loop {
        let (job, pipes) = match Job::receive(gateway) {
            Ok(Some(received)) => received,
            Ok(None) => return Some(()),
            Err(_) => return None,
        };
        let code = maker.run(job, pipes, gateway);
        let answer = Answer { code, clean: sees_all && nothing_is_left() };
        if answer.send(gateway).is_err() || !answer.clean {
            end_all();
        }
    }
}

#[derive(Debug)]
struct Maker {
    prepared: Result<bool, String>,
    required: bool,
    calls: Filter,
}

impl Maker {
    /// Runs a child to its end.
    fn run(&self, job: Job, pipes: Pipes, gateway: BorrowedFd<'_>) -> Option<i32> {
        let complaint = pipes.stderr.try_clone();
        let started = self.start(job, pipes);
        // Its folder is none of this process's.
        let back = chdir("/").map_err(|errno| format!("the root folder: {errno}"));
        match started.and_then(|child| back.map(|()| child)) {
            Ok(mut child) => {
                // The gateway waits for its end, and this would be one end more.
                drop(complaint);
                end_of(&mut child, gateway).and_then(|status| status.code())
            }
            Err(why) => {
                if let Ok(complaint) = complaint {
                    // There is nobody to tell that nobody can be told.
                    drop(writeln!(std::fs::File::from(complaint), "pullgate: not run: {why}"));
                }
                Some(NOT_RUN.into())
            }
        }
    }

    fn start(&self, job: Job, pipes: Pipes) -> Result<Child, String> {
        self.prepared.as_ref().map_err(Clone::clone)?;
        // The thread and its child share the folder with this one.
        fchdir(&job.directory).map_err(|errno| format!("its folder: {errno}"))?;
        let mut command = Command::new(&job.program);
        command.args(&job.args).env_clear().envs(job.environment);
        command.stdin(Stdio::from(pipes.stdin)).stdout(Stdio::from(pipes.stdout)).stderr(Stdio::from(pipes.stderr));
        let (profile, failed) = (&job.profile, |error: std::io::Error| format!("{}: {error}", job.program.display()));
        std::thread::scope(|scope| {
            let confined = move || {
                wall(profile, self.required, &self.calls)?;
                command.spawn().map_err(failed)
            };
            let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, confined);
            let thread = thread.map_err(|error| format!("a thread: {error}"))?;
            thread.join().unwrap_or_else(|_| Err("the thread that confines is gone".to_owned()))
        })
    }
}

/// Waits for a child's end. Ends everything when the gateway is gone before.
fn end_of(child: &mut Child, gateway: BorrowedFd<'_>) -> Option<ExitStatus> {
    // A kernel that has no such descriptor lets this process wait without looking; it sees the gateway's end afterwards.
    let ended = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(ended) = ended.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
        loop {
            // Of the gateway only that it hangs up, which is told unasked: it has nothing to say before it has its answer.
            let mut both = [PollFd::new(&ended, PollFlags::IN), PollFd::from_borrowed_fd(gateway, PollFlags::empty())];
            let polled = poll(&mut both, None);
            let [ended, gateway] = both.map(|polled| polled.revents());
            match polled {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => break,
                Ok(_) => {}
            }
            if !gateway.is_empty() {
                end_all();
            }
            if !ended.is_empty() {
                break;
            }
        }
    }
    child.wait().ok()
}

/// Whether no child of this process is left, nor of a child.
fn nothing_is_left() -> bool {
    loop {
        match waitpid(None, WaitOptions::NOHANG) {
            // One that had ended.
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return false,
            Err(errno) => return errno == rustix::io::Errno::CHILD,
        }
    }
}

/// Ends this process and everything that it has started.
fn end_all() {
    if kill_current_process_group(Signal::KILL).is_err() {
        std::process::exit(NOT_RUN.into());
    }
}
