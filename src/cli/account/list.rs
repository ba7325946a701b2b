//! `pullgate account list`

use crate::admin::view::AccountView;
use crate::cli::Context;
use crate::cli::io::Stop;
use crate::cli::session::unexpected;
use crate::cli::table::time;
use crate::front::control::protocol::{Answer, Request};

/// List the accounts
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let accounts = context.session()?.all(
            |after| Request::AccountList { after },
            |answer| {
                let Answer::Accounts(page) = answer else { return Err(unexpected(&answer)) };
                Ok(page)
            },
        )?;
        let row = |account: &AccountView| {
            [account.name.clone(), account.keys.to_string(), time(account.added_at), account.added_by.clone()]
        };
        let nothing = "there are no accounts; `pullgate account add ACCOUNT` adds one";
        context.io.listing((&accounts, self.json), ["ACCOUNT", "KEYS", "ADDED", "BY"], row, nothing)
    }
}
