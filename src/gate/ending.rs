//! Whether a key's end is near.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Gate, Principal};
use crate::model::expiry::Expiry;

impl Gate {
    /// One line about the key's end, when that is less than `before` away. Grants and records nothing; where the registry
    /// cannot say, nothing is said.
    #[must_use]
    pub fn ends_soon(&self, who: &Principal, before: Duration) -> Option<String> {
        let record = self.current(&who.key).ok().flatten()?;
        let Expiry::At(at) = record.expiry else { return None };
        let left = at.duration_since(Timestamp::now());
        if left <= SignedDuration::ZERO || left > SignedDuration::try_from(before).ok()? {
            return None;
        }
        let span = match left.as_hours() {
            0 => "in less than an hour".to_owned(),
            hours @ 1..=47 => format!("in {hours} h"),
            hours => format!("in {} days", hours / 24),
        };
        let (name, account) = (&record.name, record.account());
        Some(format!(
            "warning: key {name} ({}) expires on {}, {span}; ask an administrator of {account} to extend or rotate it [expires-soon]",
            record.fingerprint(),
            super::refusal::last_day(at),
        ))
    }
}
