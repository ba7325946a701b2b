//! `pullgate account remove`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Remove an account with its keys, its groups and the grants into it; its repositories stay on the disk
///
/// Asks first when anything goes with it, and names what: its keys, its groups, its public repositories, and the keys of other
/// accounts that may fetch from it.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Its name
    account: String,
    /// Remove what goes with it without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        context.agreed(
            (self.yes, self.json),
            "All of that goes, and its keys stop working at once. Remove the account?",
            |with_keys| Request::AccountRemove { account: self.account.clone(), with_keys },
        )
    }
}
