//! `account remove`

use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, counted, listed};
use crate::model::key_name::KeyName;
use crate::model::name::AccountName;
use crate::registry::change::{Change, Conflict};

/// How many keys a message names.
const NAMED: usize = 10;

impl Admin {
    /// Removes an account. Its keys go with it when `with_keys` says so, and so do the grants of other accounts' keys that
    /// reach into it; the answer says what went.
    ///
    /// # Errors
    /// No such account, it holds keys and `with_keys` was not said, or the registry cannot write.
    pub fn account_remove(&self, by: &Operator, account: &AccountName, with_keys: bool) -> Result<Done, Faults> {
        self.alone(|| {
            if self.lookup.account(account)?.is_none() {
                return Err(Fault::from(Conflict::NoAccount(account.clone())).into());
            }
            let mut keys: Vec<KeyName> = Vec::new();
            let mut foreign: Vec<KeyName> = Vec::new();
            self.each_key(|key| {
                if key.account() == account {
                    keys.push(key.name.clone());
                } else if key.grants.iter().any(|grant| grant.account_str() == account.as_str()) {
                    foreign.push(key.name.clone());
                }
            })?;
            if !keys.is_empty() && !with_keys {
                let fact = format!("account {account} holds {}: {}", counted(keys.len(), "key"), listed(&keys, NAMED));
                return Err(Fault::new(Kind::Conflict, fact)
                    .hint("they stop working at once when the account goes: say --yes to remove them with it")
                    .into());
            }
            let mut message = format!("removed account {account}");
            match keys.is_empty() {
                true => message.push_str(", which held no keys"),
                false => {
                    message.push_str(&format!(" and its {}: {}", counted(keys.len(), "key"), listed(&keys, NAMED)))
                }
            }
            if !foreign.is_empty() {
                message.push_str(&format!("; took the grants into it from {}", listed(&foreign, NAMED)));
            }
            self.commit(by, Change::AccountRemove { account: account.clone() }, &message)?;
            Ok(Done { message, changed: true, warnings: Vec::new() })
        })
    }
}
