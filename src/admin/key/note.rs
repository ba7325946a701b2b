//! `key note`

use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults};
use crate::model::key_name::KeyRef;
use crate::model::text::Note;
use crate::registry::change::Change;

impl Admin {
    /// Puts a remark beside a key; an empty one takes it away.
    ///
    /// # Errors
    /// No such key, or the registry cannot write.
    pub fn key_note(&self, by: &Operator, key: &KeyRef, note: &Note) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let change = Change::KeyNote { key: record.fingerprint(), note: note.clone() };
        let done = self.commit(by, change, |met| {
            let name = &met.unwrap_or(&record).name;
            match note.as_str() {
                "" => format!("took the note of key {name} away"),
                text => format!("noted beside key {name}: {text}"),
            }
        })?;
        Ok(done.or_else(|| format!("the note of key {} is that already", record.name)))
    }
}
