//! `pullgate account add`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Add an account; one that is there already is left alone
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Its name, which is the first folder of its repositories
    account: String,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let done = context.session()?.change(Request::AccountAdd { account: self.account })?;
        context.io.done(&done, self.json)
    }
}
