//! `pullgate key list`, `pullgate account-key list`

use super::show::{expires, state};
use crate::admin::view::KeyView;
use crate::cli::Context;
use crate::cli::io::Stop;
use crate::cli::session::unexpected;
use crate::cli::table::{grants, table, time};
use crate::front::control::protocol::{Answer, KeyFilter, Request};
use crate::registry::record::Holder;

/// List the keys of an account, or all keys
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Only the keys of this account
    #[arg(conflicts_with = "of")]
    account: Option<String>,
    /// The same
    #[arg(long = "account", value_name = "ACCOUNT", id = "of")]
    of: Option<String>,
    /// Only keys that were not used for so long, such as 90d
    #[arg(long, value_name = "SPAN")]
    unused: Option<String>,
    /// Only keys that end within this time, such as 30d
    #[arg(long, value_name = "SPAN")]
    expiring: Option<String>,
    /// Only keys whose time is over
    #[arg(long)]
    expired: bool,
    /// Only suspended keys
    #[arg(long)]
    suspended: bool,
    /// Only keys that may fetch this repository
    #[arg(long, value_name = "REPO")]
    grants: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Only what comes after this key, in the order of names
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "write a number from 1 on, or leave it out for all".to_owned())
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        self.list(Holder::DeployKey, context)
    }

    pub(in crate::cli) fn list(self, holder: Holder, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let Self { account, of, unused, expiring, expired, suspended, grants, limit, after, json } = self;
        let account = account.or(of);
        let filter = KeyFilter { holder: Some(holder), unused, expiring, expired, suspended, grants };
        let is_filtered = filter != KeyFilter { holder: Some(holder), ..KeyFilter::default() } || after.is_some();
        let session = context.session()?;
        let (mut keys, mut after) = (Vec::new(), after);
        let most = limit.unwrap_or(usize::MAX);
        loop {
            let request = Request::KeyList { account: account.clone(), after, filter: filter.clone() };
            let answer = session.call(request)?;
            let Answer::Keys(page) = answer else { return Err(unexpected(&answer).into()) };
            keys.extend(page.items);
            after = page.next;
            if after.is_none() || keys.len() >= most {
                break;
            }
        }
        let more = after.is_some() || keys.len() > most;
        keys.truncate(most);
        if json {
            return context.io.json(&keys);
        }
        if keys.is_empty() {
            let account = account.as_deref().unwrap_or("ACCOUNT");
            let noun = if holder == Holder::DeployKey { "key" } else { "account-key" };
            return context.io.tell(match is_filtered {
                true => "there are no such keys".to_owned(),
                false => format!("there are no keys; `pullgate {noun} add {account} LABEL --key FILE` adds one"),
            });
        }
        let rows: Vec<_> = keys.iter().map(|key| row(key, holder)).collect();
        table(["KEY", "TYPE", "STATE", "EXPIRES", "LAST USED", "MAY FETCH"], &rows)
            .into_iter()
            .try_for_each(|line| context.io.say(line))?;
        match keys.last() {
            Some(last) if more => context.io.tell(format_args!("there may be more: --after {}", last.name)),
            Some(_) | None => Ok(()),
        }
    }
}

fn row(key: &KeyView, holder: Holder) -> [String; 6] {
    let fetches = match holder {
        Holder::DeployKey => grants(&key.grants),
        Holder::AccountKey => "all of its account".to_owned(),
    };
    let used = key.last_used.as_ref().map_or_else(|| "never".to_owned(), |last| time(last.at));
    [key.name.clone(), key.type_name.clone(), state(key).to_owned(), expires(key), used, fetches]
}
