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
        self.alone(|| {
            let record = self.required(key)?;
            let mut message = format!("removed key {} ({})", record.name, record.fingerprint());
            if !record.grants.is_empty() {
                message.push_str(&format!(", which could fetch {}", listed(&record.grants, NAMED)));
            }
            self.commit(by, Change::KeyRemove { key: record.fingerprint() }, &message)?;
            Ok(Done { message, changed: true, warnings: Vec::new() })
        })
    }
}
