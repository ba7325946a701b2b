//! `pullgate account …`

mod add;
mod list;
mod remove;

use clap::Subcommand;

use super::Context;
use super::io::Stop;

/// Accounts: namespaces that own repositories and keys
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    Add(add::Args),
    List(list::Args),
    Remove(remove::Args),
}

impl Verb {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self {
            Self::Add(args) => args.run(context),
            Self::List(args) => args.run(context),
            Self::Remove(args) => args.run(context),
        }
    }
}
