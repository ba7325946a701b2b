//! `pullgate key …`

mod add;
mod expire;
mod generate;
mod grant;
mod hand_out;
mod list;
mod note;
mod remove;
mod rename;
mod resume;
mod rotate;
mod secret;
mod show;
mod sources;
mod suspend;
mod ungrant;

use clap::Subcommand;

use super::Context;
use super::io::Stop;
pub(super) use list::Args as List;
pub(super) use show::show;

/// Below the help of the noun.
const EXAMPLE: &str = "\
Example:
  pullgate key add acme ci-agent-7 --key ci.pub --grant acme/app --expires 90d
  pullgate key rotate acme/ci-agent-7 --key new.pub --overlap 7d";

/// The help of the noun fits a terminal of 24 lines: its options are those of every command, and are told with the verbs.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Verbs:
{subcommands}{after-help}";

/// Deploy keys: what a machine may fetch, and never push
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLE, help_template = HELP, disable_help_subcommand = true)]
pub(super) enum Verb {
    Add(add::Args),
    Generate(generate::Args),
    List(list::Args),
    Show(show::Args),
    Rename(rename::Args),
    Note(note::Args),
    Grant(grant::Args),
    Ungrant(ungrant::Args),
    Expire(expire::Args),
    Suspend(suspend::Args),
    Resume(resume::Args),
    Sources(sources::Args),
    Rotate(rotate::Args),
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
            Self::Expire(args) => args.run(context),
            Self::Suspend(args) => args.run(context),
            Self::Resume(args) => args.run(context),
            Self::Sources(args) => args.run(context),
            Self::Rotate(args) => args.run(context),
            Self::Remove(args) => args.run(context),
        }
    }
}
