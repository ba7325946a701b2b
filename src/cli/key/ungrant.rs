//! `pullgate key ungrant`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Take grants away from a key, spelled as they were given
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
        let done = context.session()?.change(Request::KeyUngrant { key: self.key, grants: self.grants })?;
        context.io.done(&done, self.json)
    }
}
