//! The inner half: a new process that confines itself and then becomes the child.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::calls::Filter;
use super::profile::{Call, Order, Profile};
use super::{Report, files, limits, worker};

/// The hidden word by which this program becomes the helper. Nobody types it.
pub const WORD: &str = "__cell";

/// The hidden word by which it becomes a worker, which makes many cells.
pub(super) const WORKER: &str = "__cells";

/// The exit status when the child was not run.
pub(super) const NOT_RUN: u8 = 125;

/// Enters a cell, or makes cells for the gateway, when `args` (with the program's name first) ask for it; returns the exit
/// status if that failed or is over, and `None` when they ask for something else. Must be called before any thread is
/// started: what confines holds for one thread and those that it starts.
pub fn enter(args: &[OsString], err: &mut dyn Write) -> Option<u8> {
    let (_, rest) = args.split_first()?;
    let (word, words) = rest.split_first()?;
    let alone = || "this word is for the gateway alone".to_owned();
    let why = if word == WORD {
        Call::read(words).map_or_else(alone, run)
    } else if word == WORKER {
        match Order::of_worker(words).and_then(|order| worker::work(&order)) {
            Some(()) => return Some(0),
            None => alone(),
        }
    } else {
        return None;
    };
    // There is nobody to tell that nobody can be told.
    drop(writeln!(err, "pullgate: not run: {why}"));
    Some(NOT_RUN)
}

/// Returns only to say why it did not become the child.
fn run(call: Call) -> String {
    let report = match confine(&call) {
        Ok(report) => report,
        Err(why) => return why,
    };
    if call.order.report {
        // One write: a report that is half there is none.
        let mut out = std::io::stdout();
        if let Err(error) = out.write_all(report.line().as_bytes()).and_then(|()| out.flush()) {
            return format!("the report cannot be written: {error}");
        }
    }
    let error = Command::new(&call.program).args(&call.args).exec();
    format!("{}: {error}", call.program.display())
}

fn confine(call: &Call) -> Result<Report, String> {
    let limits = prepare(&call.order)?;
    let (landlock, calls) = wall(&call.profile, call.order.required, &Filter::new())?;
    Ok(Report { landlock, calls, limits })
}

/// What holds for a whole process: its bounds, and who it is. Says whether the bounds hold.
pub(super) fn prepare(order: &Order) -> Result<bool, String> {
    let bounds = bound(order);
    if let (true, Err(why)) = (order.required, &bounds) {
        return Err(why.clone());
    }
    // Another user is not a matter of what the kernel can do: that has to work in each mode.
    if let Some(user) = order.user {
        limits::become_user(user).map_err(|errno| format!("user {}: {errno}", user.uid))?;
    }
    Ok(bounds.is_ok())
}

/// What holds for this thread and all that it starts from here on. Says which Landlock holds, and whether the list of calls
/// does.
pub(super) fn wall(profile: &Profile, required: bool, calls: &Filter) -> Result<(Option<u32>, bool), String> {
    let landlock = files::confine(profile, required)?;
    // Last, because the calls that confine are not on the list.
    match calls.confine() {
        Ok(()) => Ok((landlock, true)),
        Err(why) if required => Err(why),
        Err(_) => Ok((landlock, false)),
    }
}

fn bound(order: &Order) -> Result<(), String> {
    limits::close_others().map_err(|error| format!("descriptors: {error}"))?;
    limits::set(&order.limits).map_err(|errno| format!("limits: {errno}"))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| format!("no new privileges: {errno}"))
}
