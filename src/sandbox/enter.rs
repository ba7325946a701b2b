//! The inner half: a new process that confines itself and then becomes the child.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::profile::Call;
use super::{Report, calls, files, limits};

/// The hidden word by which this program becomes the helper. Nobody types it.
pub const WORD: &str = "__cell";

/// The exit status when the child was not run.
const NOT_RUN: u8 = 125;

/// Enters a cell when `args` (with the program's name first) ask for it; returns the exit status if that failed, and `None`
/// when they ask for something else. Must be called before any thread is started: what confines holds for one thread and
/// those that it starts.
pub fn enter(args: &[OsString], err: &mut dyn Write) -> Option<u8> {
    let (_, rest) = args.split_first()?;
    let (word, words) = rest.split_first()?;
    if word != WORD {
        return None;
    }
    let why = match Call::read(words) {
        Some(call) => run(call),
        None => "this word is for the gateway alone".to_owned(),
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
    let required = call.order.required;
    let bounds = bound(call);
    if let (true, Err(why)) = (required, &bounds) {
        return Err(why.clone());
    }
    // Another user is not a matter of what the kernel can do: that has to work in each mode.
    if let Some(user) = call.order.user {
        limits::become_user(user).map_err(|errno| format!("user {}: {errno}", user.uid))?;
    }
    let landlock = files::confine(&call.profile, required)?;
    // Last, because the calls that confine are not on the list.
    let calls = match calls::confine() {
        Ok(()) => true,
        Err(why) if required => return Err(why),
        Err(_) => false,
    };
    Ok(Report { landlock, calls, limits: bounds.is_ok() })
}

fn bound(call: &Call) -> Result<(), String> {
    limits::close_others().map_err(|error| format!("descriptors: {error}"))?;
    limits::set(&call.order.limits).map_err(|errno| format!("limits: {errno}"))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| format!("no new privileges: {errno}"))
}
