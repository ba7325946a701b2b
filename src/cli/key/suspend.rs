//! `pullgate key suspend`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Refuse a key until it is resumed, on open connections too
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// account/label, or a fingerprint
    key: String,
    /// Why, for those who look at it later
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let done = context.session()?.change(Request::KeySuspend { key: self.key, reason: self.reason })?;
        context.io.done(&done, self.json)
    }
}
