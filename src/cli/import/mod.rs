//! `pullgate import`: keys from where they were before.
//!
//! A source is read whole into drafts, drafts become a declaration like that of `apply`, and from there on it is `apply`:
//! the difference is shown, and done in one transaction. What cannot be taken is reported with its place and its reason.

mod authorized_keys;
mod gitolite;
mod line;
mod merge;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::Context;
use super::apply::{Apply, Skipped};
use super::declared::current;
use super::io::{Stop, read_all};
use crate::admin::fault::{Fault, Kind};
use crate::model::grant::Grant;
use crate::model::name::AccountName;

/// What has keys.
const KEYS: &str =
    "name a file of public keys, a line each as in authorized_keys, or for gitolite a folder of .pub files";

/// Take keys over from another server: deploy keys of one account
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  pullgate import authorized-keys /srv/git/.ssh/authorized_keys acme --grant 'acme/*' --dry-run"
)]
pub(super) enum Verb {
    AuthorizedKeys(AuthorizedKeys),
    Gitolite(Gitolite),
}

/// Take the keys of an authorized_keys file
///
/// A key's label comes from its comment. `from=` and `expiry-time=` are carried over; options about shells and forwarding
/// have no meaning here, and the report says which of them were met. A key whose options cannot be carried over is left out,
/// and the report says why.
#[derive(Debug, clap::Args)]
pub(super) struct AuthorizedKeys {
    /// The file, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// Take the keys of a gitolite keydir
///
/// `alice.pub`, `laptop/alice.pub` and `alice@laptop.pub` are keys of alice: labels are alice, alice-2 and so on. What
/// gitolite.conf grants is not read: say --grant.
#[derive(Debug, clap::Args)]
pub(super) struct Gitolite {
    /// The keydir
    keydir: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The account that the keys go to; it is made when it is not there
    account: String,
    /// What each of them may fetch; may be repeated
    #[arg(long, value_name = "REPO")]
    grant: Vec<String>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// A key as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Draft {
    /// Where, for the report.
    place: String,
    /// The line of the key, with its options.
    line: String,
    /// What the label is made from; for nothing, the fingerprint is taken.
    called: String,
}

impl Verb {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self {
            Self::AuthorizedKeys(args) => {
                // Comments may be in any encoding.
                let bytes = read_all(&args.file, context.io)?;
                let text = String::from_utf8_lossy(&bytes);
                args.common.run(&args.file, authorized_keys::drafts(&text), Vec::new(), context)
            }
            Self::Gitolite(args) => {
                let (drafts, skipped) = gitolite::drafts(&args.keydir)?;
                args.common.run(&args.keydir, drafts, skipped, context)
            }
        }
    }
}

impl Common {
    fn run(
        self,
        from: &Path,
        drafts: Vec<Draft>,
        mut skipped: Vec<Skipped>,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Stop> {
        let account = AccountName::parse(&self.account).map_err(|error| merge::wrong("account", &error))?;
        let grants = self.grant.iter().map(|text| Grant::parse(text).map_err(|error| merge::wrong("grant", &error)));
        let grants = grants.collect::<Result<Vec<_>, _>>()?;
        let session = context.session()?;
        let have = current(&session)?;
        let (want, left_out, dropped) = merge::declare(&have, &account, &grants, drafts);
        skipped.extend(left_out);
        // Not one key: the wrong file, most likely, and no reason to make an account.
        if want.keys.is_empty() {
            if !self.json {
                skipped.iter().try_for_each(|skipped| skipped.tell(context))?;
            }
            let fault = Fault::new(Kind::Invalid, format!("{} has no key that can be taken", from.display()));
            return Err(fault.hint(KEYS).into());
        }
        let apply =
            Apply { whole: false, prune: false, dry_run: self.dry_run, yes: false, json: self.json, skipped, dropped };
        apply.run(have, want, &session, context)
    }
}
