//! Does the daemon answer, or does the registry open; what is in it that should not be; and is the journal whole.

use jiff::Timestamp;

use super::pages::{self, Budget};
use super::{Finding, grants, keys};
use crate::cli::Session;
use crate::daemon::config::Config;
use crate::front::control::client::CallError;
use crate::front::control::protocol::{KeyFilter, Request};
use crate::registry::{self, OpenError, Verified};

const SUBJECT: &str = "registry";
const REMEDY: &str = "`pullgate restore FILE` takes a backup; docs/operations.md says what else can be done";
const NO_RIGHT: &str = "run the check as root or as the daemon's user";

pub(super) fn opens(config: &Config) -> Vec<Finding> {
    let session = match Session::open(config) {
        Ok(session) => session,
        Err(faults) => return bad(CallError::Refused(faults)),
    };
    let fact = match &session {
        Session::Socket(socket) => format!("a daemon answers at {}", socket.display()),
        Session::Local(..) => format!("no daemon runs; {} opens", config.registry_dir().display()),
    };
    if let Err(error) = session.call(Request::AccountList { after: None }) {
        return bad(error);
    }
    let mut found = vec![Finding::ok(SUBJECT, fact)];
    found.extend(contents(&session, config).unwrap_or_else(bad));
    found
}

/// One look at each key, as many as there is time for.
fn contents(session: &Session, config: &Config) -> Result<Vec<Finding>, CallError> {
    let (mut ends, mut grants) = (keys::Ends::new(Timestamp::now()), grants::Grants::new(session, config)?);
    let mut count = 0;
    let cut = pages::keys(session, &KeyFilter::default(), Budget::USUAL, |key| {
        count += 1;
        ends.look(key);
        grants.iter_mut().for_each(|grants| grants.look(key));
    })?;
    let mut found = ends.told(cut);
    found.extend(grants.iter().flat_map(|grants| grants.told(cut)));
    if cut {
        let fact = format!("there was time for the first {count} of them, by their names");
        let remedy =
            "`pullgate key list --expired` and `--expiring 30d` look at all; `pullgate repo show REPO` at one grant";
        found.push(Finding::notice("keys", fact, remedy));
    }
    Ok(found)
}

/// Reads the whole journal, also while a daemon appends to it, and the older ones that compaction left.
pub(super) fn journal(config: &Config) -> Vec<Finding> {
    const SUBJECT: &str = "journal";
    let dir = config.registry_dir();
    let mut found = Vec::new();
    match registry::verify(&dir) {
        Ok(Verified { seq, snapshot, bytes, torn: _ }) => {
            let since = if snapshot > 0 { format!(", a snapshot up to {snapshot}") } else { String::new() };
            found.push(Finding::ok(SUBJECT, format!("{seq} changes in an unbroken chain{since}, {bytes} bytes")));
        }
        Err(OpenError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return found,
        // Nothing is known of the journal then, and whoever may not read it must not be told to replace it.
        Err(OpenError::Io(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let fact = format!("{} cannot be read: {error}", dir.display());
            return vec![Finding::error(SUBJECT, fact, NO_RIGHT)];
        }
        Err(error) => found.push(Finding::error(SUBJECT, error.to_string(), REMEDY)),
    }
    match registry::archives(&dir) {
        Ok(archives) => found.extend(archives.into_iter().map(|(name, whole)| match whole {
            Ok(Verified { seq, .. }) => Finding::ok(SUBJECT, format!("{name}: older changes, whole up to {seq}")),
            Err(error) => Finding::warning(
                SUBJECT,
                format!("{name}, which only keeps older changes: {error}"),
                "the registry does not need it: take the file from a backup of the folder, or delete it",
            ),
        })),
        Err(error) => {
            let fact = format!("{} cannot be read: {error}", dir.display());
            found.push(Finding::error(SUBJECT, fact, NO_RIGHT));
        }
    }
    found
}

fn bad(error: CallError) -> Vec<Finding> {
    let faults = crate::admin::Faults::from(error);
    let finding = |fault: &crate::admin::fault::Fault| {
        Finding::error(SUBJECT, fault.fact.clone(), fault.hint.clone().unwrap_or_else(|| "see the log".to_owned()))
    };
    faults.list().iter().map(finding).collect()
}
