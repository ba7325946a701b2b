//! The inner half of a [`Pool`](super::Pool): a process that makes one cell after the other.
//!
//! It is this program under a hidden word, with the bounds of a child and the user that a child is. For each child it starts
//! a thread, confines that thread, and lets it start the child by `posix_spawn`: the walls of a cell hold for a thread and
//! for what it starts, so no program is executed but the child's own. The worker leads a process group, and what it starts
//! is in it and cannot leave it; whoever ends the group ends them all.

use std::io::Write as _;
use std::os::fd::BorrowedFd;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::resource::{Usage, UsageWho, getrusage};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, chdir, fchdir, getpid, kill_current_process_group, pidfd_open,
    set_child_subreaper, waitpid,
};

use super::calls::Filter;
use super::enter::{prepare, wall};
use super::job::{Answer, End, Job, Pipes};
use super::profile::Order;
use super::{NotRun, Report, Spent};

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
        let before = of_children();
        let end = maker.run(job, pipes, gateway);
        let clean = sees_all && nothing_is_left();
        let answer = Answer { end, clean, spent: since(before) };
        if answer.send(gateway).is_err() || !answer.clean {
            end_all();
        }
    }
}

#[derive(Debug)]
struct Maker {
    prepared: Result<bool, NotRun>,
    required: bool,
    calls: Filter,
}

impl Maker {
    /// Runs a child to its end.
    fn run(&self, job: Job, pipes: Pipes, gateway: BorrowedFd<'_>) -> End {
        let complaint = pipes.stderr.try_clone();
        let started = self.start(job, pipes);
        // Its folder is none of this process's.
        let back = chdir("/").map_err(|errno| NotRun::of(&"the root folder", errno.into()));
        match started.and_then(|child| back.map(|()| child)) {
            Ok((mut child, report)) => {
                // The gateway waits for its end, and this would be one end more.
                drop(complaint);
                End::Ran { report, code: end_of(&mut child, gateway).and_then(|status| status.code()) }
            }
            Err(why) => {
                if let Ok(complaint) = complaint {
                    // There is nobody to tell that nobody can be told.
                    drop(writeln!(std::fs::File::from(complaint), "pullgate: not run: {why}"));
                }
                End::NotRun { errno: why.errno }
            }
        }
    }

    fn start(&self, job: Job, pipes: Pipes) -> Result<(Child, Report), NotRun> {
        let bounds = self.prepared.clone()?;
        // The thread and its child share the folder with this one.
        fchdir(&job.directory).map_err(|errno| NotRun::of(&"its folder", errno.into()))?;
        let mut command = Command::new(&job.program);
        command.args(&job.args).env_clear().envs(job.environment);
        command.stdin(Stdio::from(pipes.stdin)).stdout(Stdio::from(pipes.stdout)).stderr(Stdio::from(pipes.stderr));
        let (profile, failed) = (&job.profile, |error| NotRun::of(&job.program.display(), error));
        std::thread::scope(|scope| {
            let confined = move || {
                let report = wall(profile, self.required, bounds, &self.calls)?;
                Ok((command.spawn().map_err(failed)?, report))
            };
            let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, confined);
            let thread = thread.map_err(|error| NotRun::of(&"a thread", error))?;
            thread.join().unwrap_or_else(|_| Err(NotRun::because("the thread that confines is gone")))
        })
    }
}

/// What all children that have ended took; `None` where the system does not say.
fn of_children() -> Option<Usage> {
    getrusage(UsageWho::RUSAGE_CHILDREN).ok()
}

/// What was taken since.
fn since(before: Option<Usage>) -> Spent {
    let (Some(before), Some(now)) = (before, of_children()) else { return Spent::default() };
    let micros = |usage: &Usage| {
        let times = [usage.user_time(), usage.system_time()];
        times.iter().map(|time| time.tv_sec() * 1_000_000 + time.tv_usec()).sum::<i64>()
    };
    let cpu_micros = u64::try_from(micros(&now) - micros(&before)).unwrap_or_default();
    // In KiB, as getrusage(2) says.
    Spent { cpu_micros, peak_bytes: u64::try_from(now.max_rss()).unwrap_or_default() * 1024 }
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
        std::process::exit(1);
    }
}
