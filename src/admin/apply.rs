//! `apply`: many changes together, which the command made out of a file.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::fault::{Fault, Kind};
use super::operator::Operator;
use super::view::Page;
use super::{Admin, Done, Faults, changed, counted};
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;
use crate::registry::change::{Change, Conflict};

/// How many faults are told.
const TOLD: usize = 50;

impl Admin {
    /// Commits changes together: all of them, or none. What single verbs check is checked here too: the policy about expiry,
    /// and that grants reach into accounts and groups that are there and do not go with these very changes.
    ///
    /// # Errors
    /// Every fault that was found, or the rule that stands against a change, or the registry cannot write.
    pub fn apply(&self, by: &Operator, changes: Vec<Change>) -> Result<Done, Faults> {
        self.check_all(&changes)?;
        let message = format!("applied {}", counted(changes.len(), "change"));
        let removed: Vec<_> = changes.iter().filter_map(removes).collect();
        let details = self.details(&changes)?;
        let committed = self.amend.commit_all(by.name(), changes)?;
        removed.iter().for_each(|key| self.usage.forget(key));
        if committed.changed {
            self.recorded(changed(by.name().to_owned(), &committed, message.clone(), details));
        }
        Ok(Done::new(message, committed.changed))
    }

    /// Checks the same, and changes nothing.
    ///
    /// # Errors
    /// What stands against it, as [`Self::apply`] says it.
    pub fn apply_dry(&self, by: &Operator, changes: &[Change]) -> Result<Done, Faults> {
        self.check_all(changes)?;
        self.lookup.would(by.name(), changes)?;
        Ok(Done::new(format!("{} can be applied", counted(changes.len(), "change")), false))
    }

    /// The names of the public repositories, after a name for the next page.
    ///
    /// # Errors
    /// The registry cannot say.
    pub fn public_list(&self, _by: &Operator, after: Option<&RepoPath>) -> Result<Page<String>, Faults> {
        let publics = self.lookup.publics(None)?.into_iter();
        let rest = publics.map(|record| record.repo).filter(|repo| after.is_none_or(|after| repo > after));
        Ok(Page::fill(rest.map(|repo| repo.to_string()), false, |name| name))
    }

    fn check_all(&self, changes: &[Change]) -> Result<(), Faults> {
        let now = Timestamp::now();
        let mut faults = Vec::new();
        let mut accounts: BTreeMap<&str, bool> = BTreeMap::new();
        let mut groups: BTreeMap<(&AccountName, &GroupName), bool> = BTreeMap::new();
        for change in changes {
            if let Change::AccountAdd { account } = change {
                accounts.insert(account.as_str(), true);
            } else if let Change::GroupAdd { account, group, .. } = change {
                groups.insert((account, group), true);
            } else if let Change::AccountRemove { account } | Change::AccountClose { account } = change {
                accounts.insert(account.as_str(), false);
            } else if let Change::GroupRemove { account, group } = change {
                groups.insert((account, group), false);
            }
        }
        for change in changes {
            if faults.len() >= TOLD {
                break;
            }
            let expiry = change.expiry();
            let grants = change.grants();
            if let Some(expiry) = expiry
                && let Err(fault) = self.policy.expiry(Some(expiry), now)
            {
                faults.push(fault);
            }
            for grant in grants {
                if !accounts.contains_key(grant.account_str())
                    && let Ok(account) = AccountName::parse(grant.account_str())
                {
                    accounts.insert(grant.account_str(), self.lookup.account(&account)?.is_some());
                }
                if accounts.get(grant.account_str()) == Some(&false) {
                    let fact = format!("{grant}: there is no account {}", grant.account_str());
                    faults.push(Fault::new(Kind::NotFound, fact).field("grants"));
                }
                let Grant::Group(account, group) = grant else { continue };
                let there = match (groups.get(&(account, group)), accounts.get(account.as_str())) {
                    (Some(there), _) => *there,
                    (None, Some(false)) => false,
                    (None, Some(true) | None) => self.lookup.group(account, group)?.is_some(),
                };
                if !there {
                    faults.push(Fault::from(Conflict::NoGroup(account.clone(), group.clone())).field("grants"));
                }
            }
        }
        Faults::check(faults)
    }
}

/// The key that a change takes away.
fn removes(change: &Change) -> Option<Fingerprint> {
    if let Change::KeyRemove { key } = change { Some(*key) } else { None }
}
