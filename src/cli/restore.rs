//! `pullgate restore`

use std::path::PathBuf;

use super::Context;
use super::io::{Stop, unreadable};
use super::session::{no_chain, not_local};
use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::{NotAllowed, Operator};
use crate::audit::{Audit, Event, new_id};
use crate::front::control::client::Client;
use crate::registry::{self, OpenError, RestoreError, RestoreOptions};

/// Put a backup in the registry's place, while no daemon runs
///
/// The file is read whole and checked first. The next start of the daemon builds its index from it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pullgate restore /backup/registry-2027-03-01
  pullgate restore --force state/registry/journal    go on with a journal that lost its end, without what was lost")]
pub(super) struct Args {
    /// A file that `pullgate backup` wrote, or a journal
    file: PathBuf,
    /// Replace a registry that is not empty; its journal is kept as journal.replaced-N
    #[arg(long)]
    force: bool,
    /// Take what stands before the damage when the file is damaged
    #[arg(long)]
    accept_loss: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let config = context.load()?;
        if Client::connect(&config.control.socket)?.is_some() {
            return Err(running().into());
        }
        let by = Operator::local(&config.state_dir).map_err(|error| match error {
            NotAllowed::NotOwner { ref owner, .. } => Fault::new(Kind::Denied, error.to_string()).hint(format!(
                "run it as {owner}, who has to be able to read the file: sudo -u {owner} pullgate restore …"
            )),
            other @ (NotAllowed::Uid { .. }
            | NotAllowed::Unknown(_)
            | NotAllowed::Open { .. }
            | NotAllowed::Folder { .. }) => not_local(other),
        })?;
        let audit = Audit::open(&config.audit_file).map_err(|error| {
            let file = config.audit_file.display();
            Fault::new(Kind::Unavailable, format!("the audit file {file} cannot be opened: {error}"))
                .hint("without it nothing would be recorded: mend its folder or `file` under [audit]")
        })?;
        // What was recorded of the registry that goes is not compared with it: it may be what is broken.
        audit.chain(&config.audit_chain(), None).map_err(|error| no_chain(&error.into()))?;
        let options = RestoreOptions { replace: self.force, accept_loss: self.accept_loss };
        let seq = registry::restore(&config.registry_dir(), &self.file, options).map_err(fault)?;
        let file = self.file.display();
        let what = format!("restore: the registry is that of {file}, with {seq} changes");
        audit.record(&new_id(), Event::Restored { by: by.name().to_owned(), seq, what });
        if self.json {
            return context.io.json(&serde_json::json!({ "file": self.file, "changes": seq }));
        }
        context.io.say(format_args!("restored {seq} changes from {file}; start the daemon"))
    }
}

fn running() -> Fault {
    Fault::new(Kind::Conflict, "a daemon is running with this registry")
        .hint("stop it first, then restore, then start it")
}

fn fault(error: RestoreError) -> Fault {
    let fact = error.to_string();
    match error {
        RestoreError::Open(OpenError::Locked) => running(),
        RestoreError::Open(_) => Fault::new(Kind::Unavailable, fact).hint("`pullgate check` looks at the installation"),
        RestoreError::Unreadable { file, error } => {
            unreadable(&file, &error).hint("name a file that `pullgate backup` wrote; nothing was changed")
        }
        RestoreError::Broken { before, .. } => {
            Fault::new(Kind::Invalid, format!("{fact}; nothing was changed")).hint(match before {
                0 => "take another backup: none of this one can be taken",
                _ => "take another backup, or give --accept-loss to take what stands before the damage",
            })
        }
        RestoreError::NotEmpty { .. } => Fault::new(Kind::Conflict, fact)
            .hint("--force replaces it, and keeps its journal beside the new one as journal.replaced-N"),
    }
}
