//! `key show`

use jiff::Timestamp;

use crate::admin::operator::Operator;
use crate::admin::view::KeyView;
use crate::admin::{Admin, Faults};
use crate::model::key_name::KeyRef;

impl Admin {
    /// One key.
    ///
    /// # Errors
    /// No such key, or the registry cannot say.
    pub fn key_show(&self, _by: &Operator, key: &KeyRef) -> Result<KeyView, Faults> {
        Ok(KeyView::of(&self.required(key)?, Timestamp::now()))
    }
}
