//! `pullgate key rotate`

use std::path::PathBuf;

use super::hand_out::HandOut;
use super::secret::Pair;
use crate::admin::fault::{Fault, Kind};
use crate::cli::io::{Json, Stop};
use crate::cli::{Context, public_key};
use crate::front::control::protocol::Request;

/// Give a new key all that a key has; the old one goes on for a while
///
/// The new key gets the grants, the note, the networks and the expiry rule. `key show` of either names the
/// other, and what the old key is still used for. `key expire` of the old key ends its overlap sooner, or later.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("new").args(["key", "generate"]).required(true))]
#[command(after_help = "\
Examples:
  pullgate key rotate acme/ci-agent-7 --key new.pub --overlap 7d
  pullgate key rotate acme/ci-agent-7 --generate --out new-key
  pullgate key expire acme/ci-agent-7 30d                           the old key goes on for longer")]
pub(in crate::cli) struct Args {
    /// The old key: account/label, or a fingerprint
    #[arg(value_name = "KEY")]
    old: String,
    /// The new public key file, or - for standard input
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Make the new key pair; its private half is written once and stored nowhere else
    #[arg(long)]
    generate: bool,
    /// Write the new private key to this new file (mode 0600) instead of standard output, and the public one to FILE.pub
    #[arg(long, value_name = "FILE", requires = "generate")]
    out: Option<PathBuf>,
    /// The new key's label; without it, the old one with a number behind it
    #[arg(long)]
    label: Option<String>,
    /// How long the old key goes on, such as 7d or 12h; 0d ends it at once
    #[arg(long, value_name = "SPAN")]
    overlap: Option<String>,
    /// Until when the new key is good; without it, for as long as the old one was to be
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let Self { old, key, generate: _, out, label, overlap, expires, json } = self;
        let Some(key) = key else {
            let session = context.session()?;
            let pair = Pair::generate(&old)?;
            let key = pair.public.clone();
            let hand_out = HandOut { session: &session, pair, out, json, name: old.clone() };
            let request = Request::KeyRotate { old: old.clone(), key, label, overlap, expires };
            return hand_out.run(request, context.io, |_| useless(&old));
        };
        let key = public_key::read(&key, context.io)?;
        let done = context.session()?.change(Request::KeyRotate { old, key, label, overlap, expires })?;
        context.io.done(&done, json)
    }
}

/// The old key goes on for its overlap: nothing is broken yet, and the new key can be replaced in turn.
fn useless(old: &str) -> Stop {
    Fault::new(Kind::Unavailable, "the new private key cannot be written to standard output")
        .hint(format!(
            "the key that took the place of {old} is useless: `pullgate key show {old}` names it; rotate that one with \
             --generate --out FILE"
        ))
        .into()
}
