//! Whether a key's end is near.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::refusal::{day, last_day};
use super::{Gate, Principal};
use crate::model::expiry::Expiry;

impl Gate {
    /// One line about the key's end, when that is less than `before` away. Grants and records nothing; where the registry
    /// cannot say, nothing is said.
    #[must_use]
    pub fn ends_soon(&self, who: &Principal, before: Duration) -> Option<String> {
        let record = self.current(&who.key).ok().flatten()?;
        let Expiry::At(at) = record.expiry else { return None };
        let now = Timestamp::now();
        let left = at.duration_since(now);
        if left <= SignedDuration::ZERO || left > SignedDuration::try_from(before).ok()? {
            return None;
        }
        let span = span(now, at);
        let (name, account) = (&record.name, record.account());
        Some(format!(
            "warning: key {name} ({}) expires on {}, {span}; ask an administrator of {account} to extend or rotate it [expires-soon]",
            record.fingerprint(),
            last_day(at),
        ))
    }
}

/// How far off the end is, in words. Days are those of the calendar, so that they agree with the date beside them.
fn span(now: Timestamp, at: Timestamp) -> String {
    match at.duration_since(now).as_hours() {
        ..=0 => "in less than an hour".to_owned(),
        hours @ 1..72 => format!("in {hours} h"),
        _ => {
            let days = last_day(at).duration_since(day(now)).as_hours() / 24;
            format!("in {days} days")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_agree_with_the_date() {
        let in_words = |now: &str, at: &str| span(now.parse().unwrap(), at.parse().unwrap());
        assert_eq!(in_words("2026-11-23T12:00:00Z", "2026-11-23T12:59:59Z"), "in less than an hour");
        assert_eq!(in_words("2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z"), "in 1 h");
        assert_eq!(in_words("2026-11-23T00:00:00Z", "2026-11-25T23:59:59Z"), "in 71 h");
        // The last day is the 25th.
        assert_eq!(in_words("2026-11-23T00:00:00Z", "2026-11-26T00:00:00Z"), "in 2 days");
        // Registered for seven days a moment ago: it ends on the 30th.
        assert_eq!(in_words("2026-11-23T12:00:01Z", "2026-11-30T12:00:00Z"), "in 7 days");
        assert_eq!(in_words("2026-11-23T23:59:59Z", "2026-12-01T00:00:00Z"), "in 7 days");
    }
}
