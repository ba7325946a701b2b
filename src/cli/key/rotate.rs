//! `pullgate key rotate`

use std::path::PathBuf;

use crate::cli::io::Stop;
use crate::cli::{Context, public_key};
use crate::front::control::protocol::Request;

/// Replace a key by a new one, which inherits everything; the old one goes on for a while
///
/// The new key gets the grants, the note, the networks and the expiry rule of the old one. `key show` of either names the
/// other, and what the old key is still used for.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The old key: account/label, or a fingerprint
    #[arg(value_name = "KEY")]
    old: String,
    /// The new public key file, or - for standard input
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The new key's label; without it, the old one with a number behind it
    #[arg(long)]
    label: Option<String>,
    /// How long the old key goes on, such as 7d or 12h; 0d ends it at once
    #[arg(long, value_name = "SPAN")]
    overlap: Option<String>,
    /// Until when the new key is good; without it, for as long as the old one was to be
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let key = public_key::read(&self.key, context.io)?;
        let Self { old, key: _, label, overlap, expires } = self;
        let done = context.session()?.change(Request::KeyRotate { old, key, label, overlap, expires })?;
        context.io.done(&done)
    }
}
