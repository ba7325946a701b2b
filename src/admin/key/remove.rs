//! `key remove`

use super::NAMED;
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, listed};
use crate::model::key_name::KeyRef;
use crate::registry::change::Change;

impl Admin {
    /// Removes a key. It is refused from the next request on, and free to be registered again.
    ///
    /// # Errors
    /// No such key, or the registry cannot write.
    pub fn key_remove(&self, by: &Operator, key: &KeyRef) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let done = self.commit(by, Change::KeyRemove { key: record.fingerprint() }, |met| {
            let record = met.unwrap_or(&record);
            let mut message = format!("removed key {} ({})", record.name, record.fingerprint());
            if !record.grants.is_empty() {
                message.push_str(&format!(", which could fetch {}", listed(&record.grants, NAMED)));
            }
            message
        })?;
        Ok(done)
    }
}
