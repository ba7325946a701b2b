//! `account list`

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
        let accounts = self.lookup.accounts()?;
        let rest = accounts.iter().filter(|account| after.is_none_or(|after| account.name > *after));
        // Only the keys of the accounts on the page are counted.
        let views = rest.map(|account| Ok(AccountView::of(account, self.lookup.count(&account.name)?)));
        Page::fill_checked(views, |view| &view.name)
    }
}
