//! `key suspend`, `key resume`

use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults};
use crate::model::key_name::KeyRef;
use crate::model::text::Note;
use crate::registry::change::Change;

impl Admin {
    /// Takes a key out of use until it is resumed: the next request is refused, on open connections too.
    ///
    /// # Errors
    /// No such key, or the registry cannot write.
    pub fn key_suspend(&self, by: &Operator, key: &KeyRef, reason: &Note) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let change = Change::KeySuspend { key: record.fingerprint(), reason: reason.clone() };
        let done = self.commit(by, change, |met| {
            let name = &met.unwrap_or(&record).name;
            match reason.as_str() {
                "" => format!("suspended key {name}"),
                text => format!("suspended key {name}: {text}"),
            }
        })?;
        let Some(suspended) = record.suspended.filter(|_| !done.changed) else { return Ok(done) };
        let kept = match (suspended.reason.as_str(), reason.as_str()) {
            (old, new) if new.is_empty() || new == old => Vec::new(),
            ("", _) => vec!["it has no reason, and none was added: resume it and suspend it again for that".to_owned()],
            (old, _) => vec![format!("its reason is still: {old}; resume it and suspend it again for another")],
        };
        Ok(done.or_else(|| format!("key {} is suspended already", record.name)).note(kept))
    }

    /// Brings a suspended key back into use.
    ///
    /// # Errors
    /// No such key, or the registry cannot write.
    pub fn key_resume(&self, by: &Operator, key: &KeyRef) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let done = self.commit(by, Change::KeyResume { key: record.fingerprint() }, |met| {
            format!("resumed key {}", met.unwrap_or(&record).name)
        })?;
        Ok(done.or_else(|| format!("key {} is not suspended", record.name)))
    }
}
