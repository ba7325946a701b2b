//! `key sources`

use ipnet::IpNet;

use super::NAMED;
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, listed};
use crate::model::key_name::KeyRef;
use crate::registry::change::Change;

impl Admin {
    /// Says from which networks a key may come; none means anywhere.
    ///
    /// # Errors
    /// No such key, too many networks, or the registry cannot write.
    pub fn key_sources(&self, by: &Operator, key: &KeyRef, sources: &[IpNet]) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let place = match sources.is_empty() {
            true => "anywhere".to_owned(),
            false => listed(sources, NAMED),
        };
        let change = Change::KeySources { key: record.fingerprint(), sources: sources.to_vec() };
        let done =
            self.commit(by, change, |met| format!("key {} may come from {place}", met.unwrap_or(&record).name))?;
        Ok(done.or_else(|| format!("key {} may come from {place} already", record.name)))
    }
}
