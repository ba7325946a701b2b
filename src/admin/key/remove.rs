//! `key remove`, `account-key remove`

use super::NAMED;
use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, listed};
use crate::model::key_name::KeyRef;
use crate::registry::change::Change;
use crate::registry::record::Holder;

impl Admin {
    /// Removes a key of this kind. It is refused from the next request on, and free to be registered again.
    ///
    /// # Errors
    /// No such key, it is of the other kind, or the registry cannot write.
    pub fn key_remove(&self, by: &Operator, key: &KeyRef, holder: Holder) -> Result<Done, Faults> {
        let record = self.required(key)?;
        if record.holder != holder {
            let (name, kind, noun) = match record.holder {
                Holder::DeployKey => (&record.name, "a deploy key, which is a machine's", "key"),
                Holder::AccountKey => (&record.name, "an account key, which is a person's", "account-key"),
            };
            return Err(Fault::new(Kind::Conflict, format!("{name} is {kind}"))
                .hint(format!("if that is the one to go: pullgate {noun} remove {name}"))
                .into());
        }
        let done = self.commit(by, Change::KeyRemove { key: record.fingerprint() }, |met| {
            let record = met.unwrap_or(&record);
            let mut message = format!("removed key {} ({})", record.name, record.fingerprint());
            if !record.grants.is_empty() {
                message.push_str(&format!(", which could fetch {}", listed(&record.grants, NAMED)));
            }
            message
        })?;
        self.usage.forget(&record.fingerprint());
        Ok(done)
    }
}
