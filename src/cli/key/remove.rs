//! `pullgate key remove`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Remove a key; it is refused from its next request on
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// account/label, or a fingerprint
    key: String,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let done = context.session()?.change(Request::KeyRemove { key: self.key })?;
        context.io.done(&done, self.json)
    }
}
