//! `pullgate repo …`: not among the nouns until a store is connected to `admin` (see `Admin::with_repos`); then it is a
//! variant of `Noun` like the others.

use clap::Subcommand;

use super::Context;
use super::io::Stop;
use super::session::unexpected;
use super::table::table;
use crate::admin::repo::RepoView;
use crate::front::control::protocol::{Answer, Request};

/// Repositories of the backing store
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the repositories of an account
    List {
        /// The account
        account: String,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one repository
    Show {
        /// account/name
        repo: String,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
}

impl Verb {
    /// Runs the verb.
    ///
    /// # Errors
    /// [`Stop`]
    pub fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self {
            Self::List { account, json } => list(&account, json, context),
            Self::Show { repo, json } => {
                let answer = context.session()?.call(Request::RepoShow { repo })?;
                let Answer::Repo(repo) = answer else { return Err(unexpected(&answer).into()) };
                if json { context.io.json(&repo) } else { lines(&[repo], context) }
            }
        }
    }
}

fn list(account: &str, json: bool, context: &mut Context<'_, '_>) -> Result<(), Stop> {
    let repos = context.session()?.all(
        |after| Request::RepoList { account: account.to_owned(), after },
        |answer| {
            let Answer::Repos(page) = answer else { return Err(unexpected(&answer)) };
            Ok(page)
        },
    )?;
    if json {
        return context.io.json(&repos);
    }
    if repos.is_empty() {
        return context.io.tell(format_args!("there are no repositories in {account}"));
    }
    lines(&repos, context)
}

fn lines(repos: &[RepoView], context: &mut Context<'_, '_>) -> Result<(), Stop> {
    let rows: Vec<_> = repos
        .iter()
        .map(|repo| {
            let state = if repo.faults.is_empty() { "served".to_owned() } else { repo.faults.join("; ") };
            [repo.name.clone(), repo.head.clone().unwrap_or_else(|| "-".to_owned()), state]
        })
        .collect();
    table(["REPOSITORY", "HEAD", "STATE"], &rows).into_iter().try_for_each(|line| context.io.say(line))
}
