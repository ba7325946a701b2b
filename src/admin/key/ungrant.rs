//! `key ungrant`

use super::NAMED;
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, listed};
use crate::model::grant::Grant;
use crate::model::key_name::KeyRef;
use crate::registry::change::Change;

impl Admin {
    /// Takes grants away, spelled as they were given. What is not granted is left alone; when a pattern that stays still
    /// covers what was taken, the answer warns of it.
    ///
    /// # Errors
    /// No such key, or the registry cannot write.
    pub fn key_ungrant(&self, by: &Operator, key: &KeyRef, grants: &[Grant]) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let change = Change::KeyUngrant { key: record.fingerprint(), grants: grants.to_vec() };
        let mut warnings = Vec::new();
        let done = self.commit(by, change, |met| {
            let record = met.unwrap_or(&record);
            let (gone, absent): (Vec<_>, Vec<_>) =
                grants.iter().cloned().partition(|grant| record.grants.contains(grant));
            let mut message = match gone.is_empty() {
                true => String::new(),
                false => format!("took {} from {}", listed(&gone, NAMED), record.name),
            };
            if !absent.is_empty() {
                let not = format!("not granted to {}: {}", record.name, listed(&absent, NAMED));
                message = if message.is_empty() { not } else { format!("{message}; {not}") };
            }
            let left: Vec<_> = record.grants.iter().filter(|grant| !grants.contains(grant)).collect();
            warnings.extend(grants.iter().filter_map(|grant| still_covered(grant, &left)));
            message
        })?;
        Ok(done.warn(warnings))
    }
}

/// What to say when a repository can still be fetched after its own grant went.
fn still_covered(gone: &Grant, left: &[&Grant]) -> Option<String> {
    let Grant::Repo(path) = gone else { return None };
    let by = left.iter().find(|grant| match grant {
        Grant::Glob(glob) => glob.covers(path),
        Grant::Repo(_) | Grant::Group(..) => false,
    })?;
    Some(format!("{path} can still be fetched, through the grant {by}"))
}
