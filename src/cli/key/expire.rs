//! `pullgate key expire`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Say until when a key is good
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// account/label, or a fingerprint
    key: String,
    /// 90d, 12h, a date (good until the end of that day, UTC), an RFC 3339 time, or never
    #[arg(value_name = "WHEN")]
    expires: String,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let done = context.session()?.change(Request::KeyExpire { key: self.key, expires: self.expires })?;
        context.io.done(&done, self.json)
    }
}
