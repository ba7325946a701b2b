//! `key grant`

use super::NAMED;
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, listed};
use crate::model::grant::Grant;
use crate::model::key_name::KeyRef;
use crate::registry::change::Change;

impl Admin {
    /// Lets a deploy key fetch more. What it may fetch already stays as it is.
    ///
    /// # Errors
    /// No such key, it is an account key, a grant into an account that does not exist, too many grants, or the registry
    /// cannot write.
    pub fn key_grant(&self, by: &Operator, key: &KeyRef, grants: &[Grant]) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let warnings = self.check_grants(record.account(), grants)?;
        let change = Change::KeyGrant { key: record.fingerprint(), grants: grants.to_vec() };
        let done = self.commit(by, change, |met| {
            let record = met.unwrap_or(&record);
            let (old, mut new): (Vec<_>, Vec<_>) =
                grants.iter().cloned().partition(|grant| record.grants.contains(grant));
            new.sort();
            new.dedup();
            let mut message = match new.is_empty() {
                true => String::new(),
                false => format!("{} may now fetch {}", record.name, listed(&new, NAMED)),
            };
            if !old.is_empty() {
                let already = format!("already granted to {}: {}", record.name, listed(&old, NAMED));
                message = if message.is_empty() { already } else { format!("{message}; {already}") };
            }
            message
        })?;
        Ok(done.warn(warnings).note(self.absent(grants)))
    }
}
