//! Does the daemon answer, or does the registry open.

use super::Finding;
use crate::cli::Session;
use crate::daemon::config::Config;
use crate::front::control::client::CallError;
use crate::front::control::protocol::Request;

const SUBJECT: &str = "registry";

pub(super) fn opens(config: &Config) -> Vec<Finding> {
    let session = match Session::open(config) {
        Ok(session) => session,
        Err(faults) => return bad(CallError::Refused(faults)),
    };
    let fact = match &session {
        Session::Socket(socket) => format!("a daemon answers at {}", socket.display()),
        Session::Local(..) => format!("no daemon runs; {} opens", config.registry_dir().display()),
    };
    match session.call(Request::AccountList { after: None }) {
        Ok(_) => vec![Finding::ok(SUBJECT, fact)],
        Err(error) => bad(error),
    }
}

fn bad(error: CallError) -> Vec<Finding> {
    let faults = crate::admin::Faults::from(error);
    let finding = |fault: &crate::admin::fault::Fault| {
        Finding::error(SUBJECT, fault.fact.clone(), fault.hint.clone().unwrap_or_else(|| "see the log".to_owned()))
    };
    faults.list().iter().map(finding).collect()
}
