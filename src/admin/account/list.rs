//! `account list`

use std::collections::BTreeMap;

use crate::admin::operator::Operator;
use crate::admin::view::{AccountView, Page};
use crate::admin::{Admin, Faults};
use crate::model::name::AccountName;

impl Admin {
    /// The accounts in the order of their names, after a name for the next page.
    ///
    /// # Errors
    /// The registry cannot say.
    pub fn account_list(&self, _by: &Operator, after: Option<&AccountName>) -> Result<Page<AccountView>, Faults> {
        let mut keys = BTreeMap::<AccountName, usize>::new();
        self.each_key(|key| *keys.entry(key.account().clone()).or_default() += 1)?;
        let accounts = self.lookup.accounts()?;
        let rest = accounts.iter().filter(|account| after.is_none_or(|after| account.name > *after));
        let views = rest.map(|account| AccountView::of(account, keys.get(&account.name).copied().unwrap_or(0)));
        Ok(Page::fill(views, false, |view| &view.name))
    }
}
