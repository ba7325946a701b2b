//! `pullgate audit …`: reads the audit file, without the daemon.

mod follow;
mod list;
mod show;
mod source;
mod verify;
mod when;

use std::path::PathBuf;

use clap::Subcommand;
use ipnet::IpNet;
use jiff::Timestamp;

use super::Context;
use super::io::Stop;
use crate::admin::Faults;
use crate::admin::fault::{Fault, Kind};
use crate::audit::counters::CODES;
use crate::audit::query::{Query, WORDS};
use crate::model::grant::Grant;
use crate::model::key_name::KeyRef;
use crate::model::name::AccountName;
use crate::model::network;
use source::Source;

/// Below the help of the noun.
const EXAMPLES: &str = "\
The file that the config names is read, and the rotated ones beside it (audit.jsonl.1 and the like).
A record has to fit every filter that is given. Times are in UTC. docs/audit.md has every field.

Examples:
  pullgate audit --id 6befc06704                         what became of the fetch that was shown this id
  pullgate audit --key acme/ci --since 7d -n all         all that a key did in a week
  pullgate audit --repo 'acme/team-*' --outcome refused --follow
  pullgate audit --changes --account acme                who changed what
  pullgate audit --json --fetches --since 24h | jq -s 'map(.bytes_out) | add'
  zcat audit.jsonl.2.gz | pullgate audit --file -        packed files are not opened";

/// Who fetched what with which key, and who changed what: the records of the audit file, newest last
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    filters: Filters,
    /// How many of the last that fit, or `all` [default: 50; with --json, all]
    #[arg(short = 'n', long, value_name = "N", value_parser = limit)]
    limit: Option<Limit>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// Another file, or - for standard input; oldest first
    #[arg(long, value_name = "FILE", conflicts_with = "follow")]
    file: Vec<PathBuf>,
    /// Write the records as they are, a JSON object on each line
    #[arg(long)]
    json: bool,
}

/// What can be asked of the records.
#[derive(Debug, Subcommand)]
enum Verb {
    Verify(verify::Args),
    Key(verify::Key),
}

/// Which records are wanted, as it was typed.
#[derive(Debug, clap::Args)]
struct Filters {
    /// The id that a refusal shows to its client
    #[arg(long)]
    id: Option<String>,
    /// A key (account/label or SHA256:…), and changes that name it
    #[arg(long)]
    key: Option<String>,
    /// A repository, or a pattern as grants have, and changes that name one
    #[arg(long)]
    repo: Option<String>,
    /// Keys and repositories of an account, and changes that name one
    #[arg(long)]
    account: Option<String>,
    /// login, login-refused, refused, allowed, served, failed, client-gone, timed-out, flooded, cut, changed, …
    #[arg(long, value_name = "WORD", value_delimiter = ',', hide_possible_values = true, value_parser = WORDS)]
    outcome: Vec<String>,
    /// The code of a refusal, such as not-granted
    #[arg(long)]
    code: Option<String>,
    /// Clients at an address or in a network (CIDR)
    #[arg(long, value_name = "ADDR")]
    address: Option<String>,
    /// From then on: 2h or 7d ago, a date, a time such as 14:30 or 2027-03-01T14:30
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Until then; a date with its whole day
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Changes of the registry
    #[arg(long)]
    changes: bool,
    /// Ends of fetches
    #[arg(long)]
    fetches: bool,
}

/// How many records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    All,
    Last(usize),
}

/// The most records that are held to be shown; `all` holds none.
const MOST: usize = 100_000;
/// How many a person sees who does not say.
const SOME: usize = 50;

fn limit(text: &str) -> Result<Limit, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Limit::All),
        (_, Ok(number @ 1..=MOST)) => Ok(Limit::Last(number)),
        _ => Err(format!("write a number from 1 to {MOST}, or all")),
    }
}

impl Filters {
    /// Parses all of them, and tells all faults at once.
    fn query(self, now: Timestamp) -> Result<Query, Faults> {
        let mut faults = Vec::new();
        let query = Query {
            key: parsed(self.key, "--key", &mut faults, KeyRef::parse),
            repo: parsed(self.repo, "--repo", &mut faults, Grant::parse),
            account: parsed(self.account, "--account", &mut faults, AccountName::parse),
            outcomes: self.outcome,
            // As it stands in the client's line.
            code: parsed(self.code, "--code", &mut faults, code),
            address: parsed(self.address, "--address", &mut faults, network),
            id: self.id,
            since: parsed(self.since, "--since", &mut faults, |text| when::since(text, now)),
            until: parsed(self.until, "--until", &mut faults, |text| when::until(text, now)),
            changes: self.changes,
            fetches: self.fetches,
        };
        if let Some(Grant::Group(account, group)) = &query.repo {
            let fact = format!("{account}/@{group} is a group, and what was in it at the time is not in the records");
            let hint = format!("`pullgate group list {account}` lists what is in it now");
            faults.push(Fault::new(Kind::Invalid, fact).field("--repo").hint(hint));
        }
        if let (Some(since), Some(until)) = (query.since, query.until)
            && since > until
        {
            // To the second, as people write it; a day ends a moment before the next.
            let second = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let fact = format!("{} is after {}", second(since), second(until));
            faults.push(Fault::new(Kind::Invalid, fact).field("--since").hint("exchange them"));
        }
        Faults::check(faults).map(|()| query)
    }
}

/// One of those that a client can be shown; with brackets too, as it was shown.
fn code(text: &str) -> Result<String, String> {
    let bare = text.trim_matches(['[', ']']);
    match CODES.contains(&bare) {
        true => Ok(bare.to_owned()),
        false => Err(format!("no code of a refusal: they are {}", CODES.join(", "))),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    network::parse(text).ok_or_else(|| "no address and no network such as 10.0.0.0/8".to_owned())
}

fn parsed<T, E: std::fmt::Display>(
    text: Option<String>,
    field: &str,
    faults: &mut Vec<Fault>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let text = text?;
    parse(&text).map_err(|error| faults.push(Fault::new(Kind::Invalid, format!("'{text}': {error}")).field(field))).ok()
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self.verb {
            Some(Verb::Verify(args)) => return args.run(context),
            Some(Verb::Key(key)) => return key.run(context),
            None => {}
        }
        let query = self.filters.query(Timestamp::now())?;
        let source = Source::new(self.file, context)?;
        let limit = self.limit.unwrap_or(if self.json { Limit::All } else { Limit::Last(SOME) });
        let said = self.limit.is_some();
        let mut list = list::List::new(&query, self.json, &source);
        if self.follow {
            return follow::run(&mut list, &source, limit, context.io);
        }
        list.all(&source, limit, context.io)?;
        list.tell(&source, limit, said, context.io)
    }
}
