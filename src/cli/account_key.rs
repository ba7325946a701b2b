//! `pullgate account-key …`

use std::path::PathBuf;

use clap::Subcommand;

use super::io::{Json, Stop};
use super::{Context, key, public_key};
use crate::front::control::protocol::{KeyAdd, Request};
use crate::registry::record::Holder;

/// Below the help of the noun.
const EXAMPLE: &str = "\
Example:
  pullgate account-key add acme jo --key jo.pub
A public key is a deploy key or an account key, never both.";

/// Keys of people: each reads every repository of its account, and writes nothing
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLE)]
pub(super) enum Verb {
    /// Register a person's public key
    Add {
        /// The account
        account: String,
        /// The key's name in the account
        label: String,
        /// The public key file, or - for standard input
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Until when it is good: 90d, 12h, a date, an RFC 3339 time, or never
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// A network that it may come from, such as 10.0.0.0/8; repeatable
        #[arg(long = "from", value_name = "CIDR")]
        sources: Vec<String>,
        /// A remark
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    List(key::List),
    /// Remove a person's key; it is free at once
    Remove {
        /// account/label, or a fingerprint
        key: String,
        #[command(flatten)]
        json: Json,
    },
}

impl Verb {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self {
            Self::Add { account, label, key, expires, sources, note, json } => {
                let key = public_key::read(&key, context.io)?;
                let add = KeyAdd { account, label, key, grants: Vec::new(), expires, sources, note };
                let done = context.session()?.change(Request::AccountKeyAdd(add))?;
                context.io.done(&done, json)
            }
            Self::List(args) => args.list(Holder::AccountKey, context),
            Self::Remove { key, json } => {
                let done = context.session()?.change(Request::AccountKeyRemove { key })?;
                context.io.done(&done, json)
            }
        }
    }
}
