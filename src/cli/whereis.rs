//! `pullgate whereis`

use std::path::Path;

use super::io::Stop;
use super::session::unexpected;
use super::{Context, key, public_key};
use crate::front::control::protocol::{Answer, Request};

/// Show who holds a key
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A fingerprint (SHA256:…), a public key file, or - for standard input
    #[arg(value_name = "FINGERPRINT|FILE")]
    key: String,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let request = match self.key.starts_with("SHA256:") {
            true => Request::WhereIs { fingerprint: Some(self.key), key: None },
            false => {
                let text = public_key::read(Path::new(&self.key), context.io)?;
                Request::WhereIs { fingerprint: None, key: Some(text) }
            }
        };
        let answer = context.session()?.call(request)?;
        let Answer::Key(view) = answer else { return Err(unexpected(&answer).into()) };
        key::show(&view, self.json, context.io)
    }
}
