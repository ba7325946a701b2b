//! `key expire`

use jiff::Timestamp;

use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults};
use crate::model::expiry::Expiry;
use crate::model::key_name::KeyRef;
use crate::registry::change::Change;

impl Admin {
    /// Says until when a key is good.
    ///
    /// # Errors
    /// No such key, the policy stands against it, or the registry cannot write.
    pub fn key_expire(&self, by: &Operator, key: &KeyRef, expiry: Expiry) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let expiry = self.policy.expiry(Some(expiry), Timestamp::now())?;
        let mut warnings = Vec::new();
        let done = self.commit(by, Change::KeyExpire { key: record.fingerprint(), expiry }, |met| {
            let record = met.unwrap_or(&record);
            if let Some(rotation) = &record.replaced_by {
                let end = Expiry::At(rotation.until);
                warnings.push(format!(
                    "{} was replaced by {}, and ends {end} whatever its expiry",
                    record.name, rotation.name
                ));
            }
            match expiry {
                Expiry::Never => format!("key {} does not expire any more", record.name),
                Expiry::At(_) => format!("key {} is good until {expiry}", record.name),
            }
        })?;
        Ok(done.or_else(|| format!("the expiry of key {} is that already: {expiry}", record.name)).warn(warnings))
    }
}
