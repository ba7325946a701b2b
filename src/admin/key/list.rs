//! `key list`

use jiff::Timestamp;

use crate::admin::fault::Fault;
use crate::admin::operator::Operator;
use crate::admin::view::{KeyView, Page};
use crate::admin::{Admin, Faults, PAGE};
use crate::model::key_name::KeyName;
use crate::model::name::AccountName;
use crate::registry::change::Conflict;

impl Admin {
    /// The keys of one account or of all in the order of their names, after a name for the next page.
    ///
    /// # Errors
    /// No such account, or the registry cannot say.
    pub fn key_list(
        &self,
        _by: &Operator,
        account: Option<&AccountName>,
        after: Option<&KeyName>,
    ) -> Result<Page<KeyView>, Faults> {
        if let Some(account) = account
            && self.lookup.account(account)?.is_none()
        {
            return Err(Fault::from(Conflict::NoAccount(account.clone())).into());
        }
        let now = Timestamp::now();
        let keys = self.lookup.keys(account, after, PAGE)?;
        let more = keys.len() == PAGE;
        Ok(Page::fill(keys.iter().map(|key| KeyView::of(key, now)), more, |view| &view.name))
    }
}
