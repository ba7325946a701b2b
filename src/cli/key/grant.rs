//! `pullgate key grant`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Let a key fetch more repositories
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// account/label, or a fingerprint
    key: String,
    /// Repositories or patterns, such as acme/app or 'acme/*'
    #[arg(required = true, value_name = "REPO")]
    grants: Vec<String>,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let done = context.session()?.change(Request::KeyGrant { key: self.key, grants: self.grants })?;
        context.io.done(&done, self.json)
    }
}
