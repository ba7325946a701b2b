//! `pullgate key add`

use std::path::PathBuf;

use crate::cli::io::{Json, Stop};
use crate::cli::{Context, public_key};
use crate::front::control::protocol::{KeyAdd, Request};

/// Register a public key as a deploy key
///
/// A public key is registered once, and granted any number of repositories. Adding it again is a conflict that names its
/// holder; unless every detail is the same: then it is registered already, and nothing changes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    about: About,
    /// The public key file, or - for standard input
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    json: Json,
}

/// What is registered beside the key itself.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct About {
    /// The account that will hold the key
    account: String,
    /// The key's name in the account
    label: String,
    /// A repository or pattern that it may fetch, such as acme/app or 'acme/*'; repeatable
    #[arg(long = "grant", value_name = "REPO")]
    grants: Vec<String>,
    /// Until when it is good: 90d, 12h, a date, an RFC 3339 time, or never
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// A network that it may come from, such as 10.0.0.0/8; repeatable
    #[arg(long = "from", value_name = "CIDR")]
    sources: Vec<String>,
    /// A remark
    #[arg(long)]
    note: Option<String>,
}

impl About {
    /// The request to register this key.
    pub(super) fn request(self, key: String) -> Request {
        let Self { account, label, grants, expires, sources, note } = self;
        Request::KeyAdd(KeyAdd { account, label, key, grants, expires, sources, note })
    }

    /// `account/label`
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.account, self.label)
    }
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let key = public_key::read(&self.key, context.io)?;
        let done = context.session()?.change(self.about.request(key))?;
        context.io.done(&done, self.json)
    }
}
