//! `pullgate key note`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Put a remark beside a key; an empty one takes it away
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// account/label, or a fingerprint
    key: String,
    /// One line of text
    note: String,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let done = context.session()?.change(Request::KeyNote { key: self.key, note: self.note })?;
        context.io.done(&done, self.json)
    }
}
