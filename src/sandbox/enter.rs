//! The hidden word by which this program becomes a worker, and the walls of a cell.

use std::ffi::OsString;
use std::io::Write;

use super::calls::Filter;
use super::profile::{Order, Profile};
use super::{NotRun, Report, files, limits, worker};

/// The hidden word by which this program becomes a worker, which makes cells. Nobody types it.
pub(super) const WORD: &str = "__cells";

/// The exit status of a worker that does not work.
const NOT_RUN: u8 = 125;

/// Makes cells for the gateway when `args` (with the program's name first) ask for it; returns the exit status when that is
/// over or failed, and `None` when they ask for something else. Must be called before any thread is started: the bounds of
/// a process hold for a thread and those that it starts.
pub fn enter(args: &[OsString], err: &mut dyn Write) -> Option<u8> {
    let (_, rest) = args.split_first()?;
    let (word, words) = rest.split_first()?;
    if word != WORD {
        return None;
    }
    if Order::read(words).and_then(|order| worker::work(&order)).is_some() {
        return Some(0);
    }
    // There is nobody to tell that nobody can be told.
    drop(writeln!(err, "pullgate: not run: this word is for the gateway alone"));
    Some(NOT_RUN)
}

/// What holds for a whole process: its bounds, and who it is. Says whether all bounds hold.
pub(super) fn prepare(order: &Order) -> Result<bool, NotRun> {
    let bounds = bound(order);
    if let (true, Err(why)) = (order.required, &bounds) {
        return Err(why.clone());
    }
    // Another user is not a matter of what the kernel can do: that has to work in each mode.
    if let Some(user) = order.user {
        limits::become_user(user).map_err(|errno| NotRun::of(&format_args!("user {}", user.uid), errno.into()))?;
    }
    Ok(bounds.is_ok())
}

/// What holds for this thread and all that it starts from here on. Says what does; `bounds` is what [`prepare`] said.
pub(super) fn wall(profile: &Profile, required: bool, bounds: bool, calls: &Filter) -> Result<Report, NotRun> {
    let landlock = files::confine(profile, required)?;
    // Last, because the calls that confine are not on the list.
    let listed = calls.confine();
    if let (true, Err(why)) = (required, &listed) {
        return Err(NotRun::because(why));
    }
    Ok(Report { landlock, calls: listed.is_ok(), limits: bounds })
}

/// Sets every bound that can be set, and says which could not: one that fails must not cost the others.
fn bound(order: &Order) -> Result<(), NotRun> {
    let closed = limits::close_others().map_err(|error| NotRun::of(&"descriptors", error));
    let limited = limits::set(&order.limits).map_err(|errno| NotRun::of(&"limits", errno.into()));
    let kept = rustix::thread::set_no_new_privs(true);
    let kept = kept.map_err(|errno| NotRun::of(&"no new privileges", errno.into()));
    // Nobody of the same user looks into it, or takes descriptors out of it. (Into a program that it starts they may.)
    let closed_to_others = limits::no_core_dumps().map_err(|errno| NotRun::of(&"no core dumps", errno.into()));
    closed.and(limited).and(kept).and(closed_to_others)
}
