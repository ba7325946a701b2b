//! `pullgate export`

use super::Context;
use super::declared::current;
use super::io::{Stop, wrote};
use crate::admin::fault::{Fault, Kind};

/// Write the registry as a file that `apply` reads
///
/// It says what the registry is, not how it came to be: of a rotation there are both keys, and the end of the old one as its
/// expiry. Which key replaced which is history, which no file can declare; it stays in the registry and in its backup.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write JSON instead of TOML
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let declared = current(&context.session()?)?;
        if self.json {
            return context.io.json(&declared);
        }
        let text = toml::to_string(&declared)
            .map_err(|error| Fault::new(Kind::Internal, format!("the registry makes no TOML: {error}")))?;
        wrote(write!(context.io.out, "{text}").and_then(|()| context.io.out.flush()))
    }
}
