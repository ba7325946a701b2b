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
        self.alone(|| {
            let record = self.required(key)?;
            let message = match note.as_str() {
                "" => format!("took the note of key {} away", record.name),
                text => format!("noted beside key {}: {text}", record.name),
            };
            let change = Change::KeyNote { key: record.fingerprint(), note: note.clone() };
            let committed = self.commit(by, change, &message)?;
            Ok(match committed.changed {
                true => Done { message, changed: true, warnings: Vec::new() },
                false => Done {
                    message: format!("the note of key {} is that already", record.name),
                    changed: false,
                    warnings: Vec::new(),
                },
            })
        })
    }
}
