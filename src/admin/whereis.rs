//! `whereis`: who holds this key.

use jiff::Timestamp;

use super::fault::{Fault, Kind};
use super::operator::Operator;
use super::view::KeyView;
use super::{Admin, Faults};
use crate::model::fingerprint::Fingerprint;

impl Admin {
    /// The registered key with this fingerprint.
    ///
    /// # Errors
    /// It is not registered, or the registry cannot say.
    pub fn whereis(&self, _by: &Operator, fingerprint: &Fingerprint) -> Result<KeyView, Faults> {
        match self.lookup.key(fingerprint)? {
            Some(record) => Ok(KeyView::of(&record, Timestamp::now())),
            None => Err(Fault::new(Kind::NotFound, format!("the key {fingerprint} is not registered"))
                .hint("register it with `pullgate key add ACCOUNT LABEL --key FILE`")
                .into()),
        }
    }
}
