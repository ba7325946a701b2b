//! The verbs about deploy keys.

mod add;
mod grant;
mod list;
mod note;
mod remove;
mod rename;
mod show;
mod ungrant;

pub use add::NewKey;

use super::fault::{Fault, Kind};
use super::{Admin, Faults};
use crate::model::grant::Grant;
use crate::model::name::AccountName;
use crate::registry::change::Conflict;

/// How many grants a message names.
const NAMED: usize = 10;

impl Admin {
    /// Whether these grants can mean anything: every one reaches into an account that exists. Returns what has to be said
    /// about those that leave the key's own account.
    fn check_grants(&self, home: &AccountName, grants: &[Grant]) -> Result<Vec<String>, Faults> {
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        for grant in grants {
            if let Grant::Group(..) = grant {
                faults.push(
                    Fault::new(Kind::NotFound, format!("there is no group {grant}"))
                        .field("grant")
                        .hint("grant its repositories one by one, or a pattern"),
                );
                continue;
            }
            if grant.account_str() == home.as_str() {
                continue;
            }
            match AccountName::parse(grant.account_str()) {
                Ok(account) if self.lookup.account(&account)?.is_none() => {
                    faults.push(Fault::from(Conflict::NoAccount(account)).field("grant"));
                }
                Ok(_) => warnings.push(format!(
                    "{grant} is outside the key's own account {home}: allowed, because operators may grant across accounts"
                )),
                Err(error) => faults.push(Fault::new(Kind::Invalid, error.to_string()).field("grant")),
            }
        }
        Faults::check(faults)?;
        Ok(warnings)
    }
}
