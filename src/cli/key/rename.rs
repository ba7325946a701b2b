//! `pullgate key rename`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Give a key another label in its account
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// account/label, or a fingerprint
    key: String,
    /// The new label
    label: String,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let done = context.session()?.change(Request::KeyRename { key: self.key, label: self.label })?;
        context.io.done(&done, self.json)
    }
}
