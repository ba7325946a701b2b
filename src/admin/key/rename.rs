//! `key rename`

use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults};
use crate::model::key_name::KeyRef;
use crate::model::name::Label;
use crate::registry::change::Change;

impl Admin {
    /// Gives a key another label in its account.
    ///
    /// # Errors
    /// No such key, the label is taken, or the registry cannot write.
    pub fn key_rename(&self, by: &Operator, key: &KeyRef, label: &Label) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let change = Change::KeyRename { key: record.fingerprint(), label: label.clone() };
        let done = self.commit(by, change, |met| {
            let record = met.unwrap_or(&record);
            format!("renamed key {} to {}/{label}", record.name, record.account())
        })?;
        Ok(done.or_else(|| format!("key {} has that label already", record.name)))
    }
}
