//! `account remove`

use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, NAMED, PAGE, counted, listed};
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;
use crate::registry::change::{Change, CommitError, Conflict};

/// What goes with an account.
#[derive(Debug)]
struct Going {
    keys: Vec<KeyName>,
    /// The keys of other accounts that lose grants.
    foreign: Vec<KeyName>,
    groups: Vec<Grant>,
    public: Vec<RepoPath>,
}

impl Admin {
    /// Removes an account. Its keys, its groups, what makes its repositories public and the grants of other accounts' keys
    /// that reach into it go with it when `with_all` says so; the answer says what went.
    ///
    /// # Errors
    /// No such account, something would go with it and `with_all` was not said, or the registry cannot write.
    pub fn account_remove(&self, by: &Operator, account: &AccountName, with_all: bool) -> Result<Done, Faults> {
        if self.lookup.account(account)?.is_none() {
            return Err(Fault::new(Kind::NotFound, Conflict::NoAccount(account.clone()).to_string())
                .hint("`pullgate account list` lists all accounts")
                .into());
        }
        let going = self.going_with(account)?;
        if !going.is_empty() && !with_all {
            return Err(going.stands_against(account).into());
        }
        let message = going.told(account);
        let held: Vec<_> = match with_all {
            true => going.keys.iter().map(|name| self.lookup.named(name)).collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        // Without the word, whatever came since then keeps the account.
        let change = match with_all {
            true => Change::AccountRemove { account: account.clone() },
            false => Change::AccountClose { account: account.clone() },
        };
        match self.commit(by, change, |_| message) {
            Err(CommitError::Conflict(Conflict::NotEmpty(_))) => {
                Err(self.going_with(account)?.stands_against(account).into())
            }
            other => {
                let done = other?;
                held.iter().flatten().for_each(|record| self.usage.forget(&record.fingerprint()));
                Ok(done)
            }
        }
    }

    fn going_with(&self, account: &AccountName) -> Result<Going, Fault> {
        let keys = self.names_in(account)?;
        let mut foreign: Vec<KeyName> = Vec::new();
        for key in self.lookup.reaching(account)? {
            foreign.extend(self.lookup.key(&key)?.map(|record| record.name));
        }
        foreign.sort();
        let groups = self.lookup.groups(Some(account))?.into_iter();
        let public = self.lookup.publics(Some(account))?.into_iter();
        Ok(Going {
            keys,
            foreign,
            groups: groups.map(|record| Grant::Group(record.account, record.name)).collect(),
            public: public.map(|record| record.repo).collect(),
        })
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
}

impl Going {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.foreign.is_empty() && self.groups.is_empty() && self.public.is_empty()
    }

    fn groups(&self) -> Option<String> {
        let count = counted(self.groups.len(), "group");
        (!self.groups.is_empty()).then(|| format!("{count}: {}", listed(&self.groups, NAMED)))
    }

    fn public(&self) -> Option<String> {
        let count = match self.public.len() {
            1 => "1 public repository".to_owned(),
            count => format!("{count} public repositories"),
        };
        (!self.public.is_empty()).then(|| format!("{count}: {}", listed(&self.public, NAMED)))
    }

    fn stands_against(&self, account: &AccountName) -> Fault {
        let mut parts = Vec::new();
        if !self.keys.is_empty() {
            parts.push(format!("holds {}: {}", counted(self.keys.len(), "key"), listed(&self.keys, NAMED)));
        }
        parts.extend(self.groups().map(|groups| format!("holds {groups}")));
        parts.extend(self.public().map(|public| format!("has {public}")));
        let mut facts: Vec<String> =
            (!parts.is_empty()).then(|| format!("account {account} {}", parts.join("; "))).into_iter().collect();
        if !self.foreign.is_empty() {
            let (count, have) =
                (counted(self.foreign.len(), "key"), if self.foreign.len() == 1 { "has" } else { "have" });
            let into = if parts.is_empty() { format!("account {account}") } else { "it".to_owned() };
            facts
                .push(format!("{count} of other accounts {have} grants into {into}: {}", listed(&self.foreign, NAMED)));
        }
        Fault::new(Kind::Conflict, facts.join("; "))
            .hint("all of that goes with the account, and its keys stop working at once: say --yes to remove it")
    }

    fn told(&self, account: &AccountName) -> String {
        let mut message = format!("removed account {account}");
        match self.keys.is_empty() {
            true => message.push_str(", which held no keys"),
            false => {
                message.push_str(&format!(
                    " and its {}: {}",
                    counted(self.keys.len(), "key"),
                    listed(&self.keys, NAMED)
                ));
            }
        }
        for with in self.groups().into_iter().chain(self.public()) {
            message.push_str(&format!("; with it {with}"));
        }
        if !self.foreign.is_empty() {
            let count = counted(self.foreign.len(), "key");
            let names = listed(&self.foreign, NAMED);
            message.push_str(&format!("; took the grants into it from {count} of other accounts: {names}"));
        }
        message
    }
}
