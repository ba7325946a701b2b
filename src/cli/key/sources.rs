//! `pullgate key sources`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Say from which networks a key may come
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// account/label, or a fingerprint
    key: String,
    /// Networks such as 10.0.0.0/8 or 2001:db8::/32, or single addresses
    #[arg(value_name = "CIDR", required_unless_present = "anywhere")]
    sources: Vec<String>,
    /// From anywhere
    #[arg(long, conflicts_with = "sources")]
    anywhere: bool,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let done = context.session()?.change(Request::KeySources { key: self.key, sources: self.sources })?;
        context.io.done(&done, self.json)
    }
}
