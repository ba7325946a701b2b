//! `pullgate account list`

use crate::cli::Context;
use crate::cli::io::Stop;
use crate::cli::session::unexpected;
use crate::cli::table::{table, time};
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
        if self.json {
            return context.io.json(&accounts);
        }
        if accounts.is_empty() {
            return context.io.tell("there are no accounts; `pullgate account add ACCOUNT` adds one");
        }
        let rows: Vec<_> = accounts
            .into_iter()
            .map(|account| [account.name, account.keys.to_string(), time(account.added_at), account.added_by])
            .collect();
        table(["ACCOUNT", "KEYS", "ADDED", "BY"], &rows).into_iter().try_for_each(|line| context.io.say(line))
    }
}
