//! `pullgate account remove`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Remove an account and its keys; its repositories stay on the disk
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Its name
    account: String,
    /// Remove its keys without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        context.agreed((self.yes, self.json), "They stop working at once. Remove the account with them?", |with_keys| {
            Request::AccountRemove { account: self.account.clone(), with_keys }
        })
    }
}
