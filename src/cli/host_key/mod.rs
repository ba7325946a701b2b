//! `pullgate host-key …`: a new host key, published before it is used.

mod list;
mod next;
mod promote;

use clap::Subcommand;

use super::Context;
use super::io::Stop;

/// The gateway's own keys, and how to change them without a failed build
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    List(list::Args),
    Next(next::Args),
    Promote(promote::Args),
}

impl Verb {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self {
            Self::List(args) => args.run(context),
            Self::Next(args) => args.run(context),
            Self::Promote(args) => args.run(context),
        }
    }
}
