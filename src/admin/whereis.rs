//! `whereis`: who holds this key.

use jiff::Timestamp;

use super::fault::{Fault, Kind};
use super::operator::Operator;
use super::view::KeyView;
use super::{Admin, Faults, was};
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyRef;

impl Admin {
    /// The registered key with this fingerprint.
    ///
    /// # Errors
    /// It is not registered, or the registry cannot say.
    pub fn whereis(&self, _by: &Operator, fingerprint: &Fingerprint) -> Result<KeyView, Faults> {
        match self.lookup.key(fingerprint)? {
            Some(record) => {
                let uses = self.usage.of(fingerprint, record.added_at);
                Ok(KeyView::of(&record, Timestamp::now()).used(uses))
            }
            None => Err(Fault::new(Kind::NotFound, self.unregistered(fingerprint)?)
                .hint("register it with `pullgate key add ACCOUNT LABEL --key FILE`")
                .into()),
        }
    }

    fn unregistered(&self, fingerprint: &Fingerprint) -> Result<String, Faults> {
        Ok(match self.lookup.tombstone(&KeyRef::Fingerprint(*fingerprint))? {
            Some(tomb) => format!("the key {fingerprint} is not registered: {}", was(&tomb)),
            None => format!("the key {fingerprint} is not registered"),
        })
    }
}
