//! What a site asks of its keys.

use jiff::{SignedDuration, Timestamp};

use super::fault::{Fault, Kind};
use crate::model::expiry::{Expiry, span_text};

/// What a site asks of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long a key may be good from the moment when that is said; none: for ever.
    pub max_expiry: Option<SignedDuration>,
    /// How long a key is good when nothing was said; none: as long as it may be.
    pub default_expiry: Option<SignedDuration>,
    /// How long a key that was rotated goes on beside the new one.
    pub overlap: SignedDuration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_expiry: None, default_expiry: None, overlap: SignedDuration::from_hours(7 * 24) }
    }
}

impl Policy {
    /// Until when a key is good, by what was asked for or else by the default.
    ///
    /// # Errors
    /// The policy allows less.
    pub fn expiry(&self, asked: Option<Expiry>, now: Timestamp) -> Result<Expiry, Fault> {
        let after = |span| {
            let fault = |_| Fault::new(Kind::Invalid, "that time is too far away").field("expires");
            now.checked_add(span).map_err(fault)
        };
        let asked = match (asked, self.default_expiry.or(self.max_expiry)) {
            (Some(asked), _) => asked,
            (None, Some(span)) => Expiry::At(after(span)?),
            (None, None) => Expiry::Never,
        };
        let Some(max) = self.max_expiry else { return Ok(asked) };
        let latest = after(max)?;
        let within = match asked {
            Expiry::Never => false,
            Expiry::At(at) => at <= latest,
        };
        if within {
            return Ok(asked);
        }
        let max = span_text(max);
        let fact = format!("keys may be good for at most {max} here (max_expiry under [keys] in the config file)");
        Err(Fault::new(Kind::Invalid, fact)
            .field("expires")
            .hint(format!("say {max} or less; it can be said again later")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_fills_in_and_the_maximum_binds() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        let free = Policy::default();
        assert_eq!(free.expiry(None, now).unwrap(), Expiry::Never);
        let bound = Policy { max_expiry: Some(days(90)), ..free };
        assert_eq!(bound.expiry(None, now).unwrap(), Expiry::At(now + days(90)));
        assert_eq!(bound.expiry(Some(Expiry::At(now + days(90))), now).unwrap(), Expiry::At(now + days(90)));
        for asked in [Expiry::Never, Expiry::At(now + days(91))] {
            let fault = bound.expiry(Some(asked), now).unwrap_err();
            assert!(fault.fact.contains("at most 90d"), "{fault:?}");
        }
        let both = Policy { default_expiry: Some(days(30)), ..bound };
        assert_eq!(both.expiry(None, now).unwrap(), Expiry::At(now + days(30)));
        assert_eq!(
            Policy { default_expiry: Some(days(30)), ..free }.expiry(Some(Expiry::Never), now).unwrap(),
            Expiry::Never
        );
    }
}
