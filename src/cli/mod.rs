//! Floor 6: what a person types. Noun, then verb; one file per verb.
//!
//! Results go to standard output, text for people to standard error. A new verb is a file, a variant of its noun and a
//! line in the match below it.

mod account;
mod account_key;
mod apply;
mod ask;
mod audit;
mod backup;
mod cache;
mod check;
mod declared;
mod exit;
mod explain;
mod export;
mod group;
mod host_key;
mod import;
mod init;
mod io;
mod key;
mod known_hosts;
mod manual;
mod plan;
mod public_key;
mod quickstart;
mod repo;
mod restore;
mod serve;
mod session;
mod table;
mod upgrade;
mod whereis;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::admin::fault::Kind;
use crate::daemon::config::{Config, ENVIRONMENT, locate};
use crate::front::control::client::CallError;
use crate::front::control::protocol::Request;
pub use declared::rewritten;
use io::Json;
pub use io::{Io, Stop, is_open_to_others};
pub use session::Session;

/// An SSH gateway that enforces read-only deploy keys for git
#[derive(Debug, Parser)]
#[command(name = "pullgate", version = env!("PULLGATE_VERSION"), after_help = exit::HELP, max_term_width = 110)]
struct Cli {
    /// The config file; else $PULLGATE_CONFIG, ./config.toml or /etc/pullgate/config.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    Quickstart(quickstart::Args),
    Init(init::Args),
    Serve(serve::Args),
    Upgrade(upgrade::Args),
    Check(check::Args),
    #[command(subcommand)]
    Account(account::Verb),
    #[command(subcommand)]
    Key(key::Verb),
    #[command(subcommand)]
    AccountKey(account_key::Verb),
    #[command(subcommand)]
    Repo(repo::Verb),
    #[command(subcommand)]
    Group(group::Verb),
    #[command(subcommand)]
    Cache(cache::Verb),
    Explain(explain::Args),
    Audit(audit::Args),
    Apply(apply::Args),
    Export(export::Args),
    #[command(subcommand)]
    Import(import::Verb),
    #[command(name = "whereis")]
    WhereIs(whereis::Args),
    KnownHosts(known_hosts::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    #[command(subcommand)]
    HostKey(host_key::Verb),
    Completions(manual::Completions),
    Man(manual::Man),
}

impl Noun {
    fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self {
            Self::Quickstart(args) => args.run(context),
            Self::Init(args) => args.run(context),
            Self::Serve(args) => args.run(context),
            Self::Upgrade(args) => args.run(context),
            Self::Check(args) => args.run(context),
            Self::Account(verb) => verb.run(context),
            Self::Key(verb) => verb.run(context),
            Self::AccountKey(verb) => verb.run(context),
            Self::Repo(verb) => verb.run(context),
            Self::Group(verb) => verb.run(context),
            Self::Cache(verb) => verb.run(context),
            Self::Explain(args) => args.run(context),
            Self::Audit(args) => args.run(context),
            Self::Apply(args) => args.run(context),
            Self::Export(args) => args.run(context),
            Self::Import(verb) => verb.run(context),
            Self::WhereIs(args) => args.run(context),
            Self::KnownHosts(args) => args.run(context),
            Self::Backup(args) => args.run(context),
            Self::Restore(args) => args.run(context),
            Self::HostKey(verb) => verb.run(context),
            Self::Completions(args) => args.run(context),
            Self::Man(args) => args.run(context),
        }
    }
}

/// What every verb works with.
#[derive(Debug)]
pub struct Context<'a, 'io> {
    /// Its standard streams.
    pub io: &'a mut Io<'io>,
    /// The config file that `--config` named.
    pub config: Option<PathBuf>,
}

impl Context<'_, '_> {
    /// The configuration.
    ///
    /// # Errors
    /// There is none, or something is wrong in it: all of it.
    pub fn load(&self) -> Result<Config, Stop> {
        let found = locate(self.config.as_deref(), std::env::var_os(ENVIRONMENT));
        Ok(found.and_then(|file| Config::load(&file)).map_err(exit::config_faults)?)
    }

    /// A way to the registry: the daemon, or the registry itself when no daemon runs.
    ///
    /// # Errors
    /// No configuration, or neither way is open.
    pub fn session(&self) -> Result<Session, Stop> {
        Ok(Session::open(&self.load()?)?)
    }

    /// Does something that takes other things with it. Without `yes`, what goes is shown first, and a person is asked.
    ///
    /// # Errors
    /// It was not agreed to, or not done.
    pub(self) fn agreed(
        &mut self,
        (yes, json): (bool, Json),
        question: &str,
        request: impl Fn(bool) -> Request,
    ) -> Result<(), Stop> {
        let session = self.session()?;
        let done = match session.change(request(yes)) {
            Err(CallError::Refused(faults)) if faults.kind() == Kind::Conflict && self.io.interactive && !yes => {
                for fault in faults.list() {
                    self.io.tell(&fault.fact)?;
                }
                if !self.io.confirm(question)? {
                    self.io.tell("nothing was changed")?;
                    return Err(Stop::Said(Kind::Conflict));
                }
                session.change(request(true))?
            }
            other => other?,
        };
        self.io.done(&done, json)
    }
}

/// Runs the program: arguments in, exit code out.
pub fn run(args: impl IntoIterator<Item = OsString>, io: &mut Io<'_>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    // Before anything else: it has to happen while this process has one thread.
    if let Some(not_run) = crate::sandbox::enter(&args, io.err) {
        return not_run;
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error, &args, io),
    };
    let mut context = Context { io, config: cli.config };
    let result = cli.noun.run(&mut context);
    exit::code(result, &args, io)
}

#[cfg(test)]
mod tests;
