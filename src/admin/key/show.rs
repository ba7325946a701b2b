//! `key show`

use jiff::Timestamp;

use crate::admin::operator::Operator;
use crate::admin::view::{KeyView, use_view};
use crate::admin::{Admin, Faults, was};
use crate::model::key_name::KeyRef;

impl Admin {
    /// One key.
    ///
    /// # Errors
    /// No such key, or the registry cannot say.
    pub fn key_show(&self, _by: &Operator, key: &KeyRef) -> Result<KeyView, Faults> {
        let record = self.required(key)?;
        let mut view = KeyView::of(&record, Timestamp::now());
        view.before = self.lookup.tombstone(&KeyRef::Fingerprint(record.fingerprint()))?.map(|tomb| was(&tomb));
        if let Some(rotation) = &record.replaces {
            view.old_uses = match self.lookup.key(&rotation.key)? {
                Some(old) => {
                    let uses = self.usage.of(&old.fingerprint(), old.added_at);
                    // What it was used for since the new key is there is what still has to move.
                    uses.map(|uses| {
                        uses.grants.into_iter().filter(|(_, used)| used.at >= rotation.at).map(use_view).collect()
                    })
                    .unwrap_or_default()
                }
                None => Vec::new(),
            };
        }
        Ok(view.used(self.usage.of(&record.fingerprint(), record.added_at)))
    }
}
