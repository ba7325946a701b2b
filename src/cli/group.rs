//! `pullgate group …`

use clap::Subcommand;

use super::Context;
use super::io::{Json, Stop};
use super::session::unexpected;
use super::table::grants;
use crate::admin::group::GroupView;
use crate::front::control::protocol::{Answer, Request};

/// Below the help of the noun.
const EXAMPLE: &str = "\
Example:
  pullgate group add acme/@backend acme/api acme/worker
  pullgate key grant acme/ci-agent-7 acme/@backend";

/// Groups: named sets of repositories of one account, to be granted together
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLE)]
pub(super) enum Verb {
    /// List the groups of an account, or all groups
    List {
        /// The account; all of them when it is left out
        account: Option<String>,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Put repositories into a group, which is made when it is not there
    Add {
        /// account/@name
        group: String,
        /// Repositories of the account
        #[arg(value_name = "REPO")]
        repos: Vec<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Take repositories out of a group; or remove it, when none is named
    Remove {
        /// account/@name
        group: String,
        /// The repositories to take out; without any, the group goes, and the grants of it
        #[arg(value_name = "REPO")]
        repos: Vec<String>,
        /// Take the grants of keys away without asking
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        json: Json,
    },
}

impl Verb {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self {
            Self::List { account, json } => list(account, json, context),
            Self::Add { group, repos, json } => {
                let done = context.session()?.change(Request::GroupAdd { group, repos })?;
                context.io.done(&done, json)
            }
            Self::Remove { group, repos, yes, json } if repos.is_empty() => {
                context.agreed((yes, json), "Remove the group?", |with_grants| Request::GroupRemove {
                    group: group.clone(),
                    with_grants,
                })
            }
            Self::Remove { group, repos, yes: _, json } => {
                let done = context.session()?.change(Request::GroupDrop { group, repos })?;
                context.io.done(&done, json)
            }
        }
    }
}

fn list(account: Option<String>, json: bool, context: &mut Context<'_, '_>) -> Result<(), Stop> {
    let groups = context.session()?.all(
        |after| Request::GroupList { account: account.clone(), after },
        |answer| {
            let Answer::Groups(page) = answer else { return Err(unexpected(&answer)) };
            Ok(page)
        },
    )?;
    let row = |group: &GroupView| [group.name.clone(), group.keys.to_string(), grants(&group.repositories)];
    let nothing = "there are no groups; `pullgate group add ACCOUNT/@NAME REPO` makes one";
    context.io.listing((&groups, json), ["GROUP", "KEYS", "REPOSITORIES"], row, nothing)
}
