//! `pullgate key list`

use super::show::{expires, state};
use crate::cli::Context;
use crate::cli::io::Stop;
use crate::cli::session::unexpected;
use crate::cli::table::{grants, table};
use crate::front::control::protocol::{Answer, Request};

/// List the keys of an account, or all keys
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Only the keys of this account
    account: Option<String>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let keys = context.session()?.all(
            |after| Request::KeyList { account: self.account.clone(), after },
            |answer| {
                let Answer::Keys(page) = answer else { return Err(unexpected(&answer)) };
                Ok(page)
            },
        )?;
        if self.json {
            return context.io.json(&keys);
        }
        if keys.is_empty() {
            let account = self.account.as_deref().unwrap_or("ACCOUNT");
            return context
                .io
                .tell(format_args!("there are no keys; `pullgate key add {account} LABEL --key FILE` adds one"));
        }
        let rows: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let (state, expires, grants) = (state(&key).to_owned(), expires(&key), grants(&key.grants));
                [key.name, key.type_name, state, expires, grants]
            })
            .collect();
        table(["KEY", "TYPE", "STATE", "EXPIRES", "MAY FETCH"], &rows)
            .into_iter()
            .try_for_each(|line| context.io.say(line))
    }
}
