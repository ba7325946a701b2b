//! `pullgate key …`

mod add;
mod generate;
mod grant;
mod list;
mod note;
mod remove;
mod rename;
mod secret;
mod show;
mod ungrant;

use clap::Subcommand;

use super::Context;
use super::io::Stop;
pub(super) use show::show;

/// Deploy keys: what a machine may fetch, and never push
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    Add(add::Args),
    Generate(generate::Args),
    List(list::Args),
    Show(show::Args),
    Rename(rename::Args),
    Note(note::Args),
    Grant(grant::Args),
    Ungrant(ungrant::Args),
    Remove(remove::Args),
}

impl Verb {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self {
            Self::Add(args) => args.run(context),
            Self::Generate(args) => args.run(context),
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::Rename(args) => args.run(context),
            Self::Note(args) => args.run(context),
            Self::Grant(args) => args.run(context),
            Self::Ungrant(args) => args.run(context),
            Self::Remove(args) => args.run(context),
        }
    }
}
