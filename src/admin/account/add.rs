//! `account add`

use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults};
use crate::model::name::AccountName;
use crate::registry::change::Change;

impl Admin {
    /// Adds an account. One that is there already is left alone.
    ///
    /// # Errors
    /// The registry cannot write.
    pub fn account_add(&self, by: &Operator, account: &AccountName) -> Result<Done, Faults> {
        let message = format!("added account {account}");
        let done = self.commit(by, Change::AccountAdd { account: account.clone() }, |_| message)?;
        Ok(done.or_else(|| format!("account {account} is there already")))
    }
}
