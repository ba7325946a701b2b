//! `account-key add`: keys of people.

use super::key::NewKey;
use super::operator::Operator;
use super::{Admin, Done, Faults};
use crate::registry::record::Holder;

impl Admin {
    /// Registers a person's key, which reads every repository of its account. A public key is a deploy key or an account
    /// key, never both: the registry sees to it in the same commit.
    ///
    /// # Errors
    /// As for a deploy key; it holds no grants.
    pub fn account_key_add(&self, by: &Operator, new: NewKey) -> Result<Done, Faults> {
        self.register(by, new, Holder::AccountKey)
    }
}
