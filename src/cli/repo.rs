//! `pullgate repo …`

use clap::Subcommand;

use super::Context;
use super::io::{Json, Stop};
use super::session::unexpected;
use crate::admin::repo::RepoView;
use crate::admin::view::KeyState;
use crate::front::control::protocol::{Answer, Request};

/// Repositories of the backing store
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List the repositories of an account, or of all
    List {
        /// The account; all of them when it is left out
        account: Option<String>,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one repository, and which keys may fetch it
    Show {
        /// account/name
        repo: String,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Let every registered key fetch a repository, of any account
    Publish {
        /// account/name
        repo: String,
        #[command(flatten)]
        json: Json,
    },
    /// Leave a repository to those who hold a grant
    Unpublish {
        /// account/name
        repo: String,
        #[command(flatten)]
        json: Json,
    },
    /// Take a repository out of the registry: grants of it, groups; its files stay
    Remove {
        /// account/name
        repo: String,
        /// Take the grants away without asking
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
            Self::Show { repo, json } => {
                let answer = context.session()?.call(Request::RepoShow { repo })?;
                let Answer::Repo(repo) = answer else { return Err(unexpected(&answer).into()) };
                if json { context.io.json(&repo) } else { show(&repo, context) }
            }
            Self::Publish { repo, json } => {
                let done = context.session()?.change(Request::RepoPublish { repo })?;
                context.io.done(&done, json)
            }
            Self::Unpublish { repo, json } => {
                let done = context.session()?.change(Request::RepoUnpublish { repo })?;
                context.io.done(&done, json)
            }
            Self::Remove { repo, yes, json } => {
                context.agreed((yes, json), "The keys lose it at once. Remove it from the registry?", |with_grants| {
                    Request::RepoRemove { repo: repo.clone(), with_grants }
                })
            }
        }
    }
}

fn list(account: Option<String>, json: bool, context: &mut Context<'_, '_>) -> Result<(), Stop> {
    let repos = context.session()?.all(
        |after| Request::RepoList { account: account.clone(), after },
        |answer| {
            let Answer::Repos(page) = answer else { return Err(unexpected(&answer)) };
            Ok(page)
        },
    )?;
    let place = account.map_or_else(|| "the store".to_owned(), |account| format!("the store for {account}"));
    let row = |repo: &RepoView| {
        let state = if repo.public { format!("{}, public", state(repo)) } else { state(repo) };
        [repo.name.clone(), repo.head.clone().unwrap_or_else(|| "-".to_owned()), state]
    };
    let nothing = format!("there are no repositories in {place}");
    context.io.listing((&repos, json), ["REPOSITORY", "HEAD", "STATE"], row, nothing)
}

/// One repository, a line for each thing that is known of it.
fn show(repo: &RepoView, context: &mut Context<'_, '_>) -> Result<(), Stop> {
    let number = |number: Option<usize>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let borrows = if repo.borrows.is_empty() { "nothing".to_owned() } else { repo.borrows.join(", ") };
    let rows = [
        ("repository", repo.name.clone()),
        ("state", state(repo)),
        ("head", repo.head.clone().unwrap_or_else(|| "-".to_owned())),
        ("branches", number(repo.branches)),
        ("tags", number(repo.tags)),
        ("packs", format!("{}, {} bytes", repo.packs, repo.pack_bytes)),
        ("borrows", borrows),
    ];
    rows.iter().try_for_each(|(name, value)| context.io.say(format_args!("{name:11} {value}")))?;
    if repo.public {
        context.io.say("public      every registered key may fetch it")?;
    }
    for access in &repo.access {
        let state = match access.state {
            KeyState::Active => "",
            KeyState::Expired => " (expired)",
            KeyState::Suspended => " (suspended)",
            KeyState::Replaced => " (replaced)",
        };
        context.io.say(format_args!("fetched by  {}{state}, through {}", access.key, access.through))?;
    }
    match (repo.access.len(), repo.more_access) {
        (0, _) if !repo.public => context.io.say("fetched by  nobody: no key has a grant that covers it")?,
        (_, 0) => {}
        (_, more) => {
            context.io.say(format_args!("fetched by  {more} more: pullgate key list --grants {}", repo.name))?
        }
    }
    repo.notes.iter().try_for_each(|note| context.io.tell(format_args!("note: {note}")))
}

fn state(repo: &RepoView) -> String {
    if repo.faults.is_empty() { "served".to_owned() } else { format!("not served: {}", repo.faults.join("; ")) }
}
