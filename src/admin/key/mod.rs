//! The verbs about keys.

mod add;
mod expire;
mod grant;
mod list;
mod note;
mod remove;
mod rename;
mod rotate;
mod show;
mod sources;
mod suspend;
mod ungrant;

pub use add::NewKey;
pub use expire::endless;
pub use list::Filter;
pub use rotate::NewRotation;

use super::fault::{Fault, Kind};
use super::{Admin, Faults, NAMED, listed};
use crate::model::grant::Grant;
use crate::model::name::AccountName;
use crate::registry::change::Conflict;

impl Admin {
    /// A note for each repository that is granted by its name and is not there: it may come, or be a slip of the pen.
    fn absent(&self, grants: &[Grant]) -> Vec<String> {
        let Some(repos) = &self.repos else { return Vec::new() };
        let exact = grants.iter().filter_map(|grant| match grant {
            Grant::Repo(path) => Some(path),
            Grant::Glob(_) | Grant::Group(..) => None,
        });
        // A store that cannot say is no reason to doubt the name.
        let absent: Vec<_> = exact.filter(|path| matches!(repos.look(path), Ok(None))).collect();
        match absent.as_slice() {
            [] => Vec::new(),
            [one] => vec![format!("there is no repository {one} yet: it can be fetched as soon as it is there")],
            many => vec![format!("these repositories are not there yet: {}", listed(many, NAMED))],
        }
    }

    /// Whether these grants can mean anything: every one reaches into an account that exists. Returns what has to be said
    /// about those that leave the key's own account.
    fn check_grants(&self, home: &AccountName, grants: &[Grant]) -> Result<Vec<String>, Faults> {
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        for grant in grants {
            if let Grant::Group(account, group) = grant
                && self.lookup.group(account, group)?.is_none()
            {
                let none = Conflict::NoGroup(account.clone(), group.clone());
                faults.push(Fault::from(none).field("grant"));
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
