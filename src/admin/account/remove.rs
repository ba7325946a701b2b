//! `account remove`

use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, PAGE, counted, listed};
use crate::model::key_name::KeyName;
use crate::model::name::AccountName;
use crate::registry::change::{Change, CommitError, Conflict};

/// How many keys a message names.
const NAMED: usize = 10;

impl Admin {
    /// Removes an account. Its keys go with it when `with_keys` says so, and so do the grants of other accounts' keys that
    /// reach into it; the answer says what went.
    ///
    /// # Errors
    /// No such account, it holds keys and `with_keys` was not said, or the registry cannot write.
    pub fn account_remove(&self, by: &Operator, account: &AccountName, with_keys: bool) -> Result<Done, Faults> {
        if self.lookup.account(account)?.is_none() {
            return Err(Fault::new(Kind::NotFound, Conflict::NoAccount(account.clone()).to_string())
                .hint("`pullgate account list` lists all accounts")
                .into());
        }
        let keys = self.names_in(account)?;
        if !keys.is_empty() && !with_keys {
            return Err(self.holds(account, &keys).into());
        }
        let mut foreign: Vec<KeyName> = Vec::new();
        for key in self.lookup.reaching(account)? {
            foreign.extend(self.lookup.key(&key)?.map(|record| record.name));
        }
        foreign.sort();
        let mut message = format!("removed account {account}");
        match keys.is_empty() {
            true => message.push_str(", which held no keys"),
            false => message.push_str(&format!(" and its {}: {}", counted(keys.len(), "key"), listed(&keys, NAMED))),
        }
        if !foreign.is_empty() {
            message.push_str(&format!("; took the grants into it from {}", listed(&foreign, NAMED)));
        }
        // Without the word, a key that came since then keeps the account.
        let held: Vec<_> = match with_keys {
            true => keys.iter().map(|name| self.lookup.named(name)).collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        let change = match with_keys {
            true => Change::AccountRemove { account: account.clone() },
            false => Change::AccountClose { account: account.clone() },
        };
        match self.commit(by, change, |_| message) {
            Err(CommitError::Conflict(Conflict::NotEmpty(_))) => {
                Err(self.holds(account, &self.names_in(account)?).into())
            }
            other => {
                let done = other?;
                held.iter().flatten().for_each(|record| self.usage.forget(&record.fingerprint()));
                Ok(done)
            }
        }
    }

    fn names_in(&self, account: &AccountName) -> Result<Vec<KeyName>, Fault> {
        let mut names: Vec<KeyName> = Vec::new();
        loop {
            let page = self.lookup.keys(Some(account), names.last(), PAGE)?;
            let full = page.len() == PAGE;
            names.extend(page.into_iter().map(|key| key.name));
            if !full {
                return Ok(names);
            }
        }
    }

    fn holds(&self, account: &AccountName, keys: &[KeyName]) -> Fault {
        let fact = format!("account {account} holds {}: {}", counted(keys.len(), "key"), listed(keys, NAMED));
        Fault::new(Kind::Conflict, fact)
            .hint("they stop working at once when the account goes: say --yes to remove them with it")
    }
}
