//! Until when a key is good. All times are UTC.

use std::fmt;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// The longest lifetime that can be written as a number of days, weeks or hours: about a hundred years.
const MAX_HOURS: i64 = 100 * 366 * 24;

/// Why a text says no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// Not one of the forms.
    #[error(
        "an expiry is `90d`, `12h`, `4w` (or `30m`, `45s`), a date like 2027-03-01 (good until the end of that day, UTC), an RFC 3339 time, or `never`"
    )]
    Form,
    /// The moment is not in the future.
    #[error("that time is not in the future")]
    Past,
    /// Further away than anybody means.
    #[error("that time is more than a hundred years away")]
    Far,
}

/// Never, or a moment from which on the key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Option<Timestamp>", into = "Option<Timestamp>")]
pub enum Expiry {
    /// The key does not expire.
    #[default]
    Never,
    /// From this moment on the key is refused.
    At(Timestamp),
}

impl Expiry {
    /// Parses what a person writes: a span from `now` (`90d`, `12h`, `4w`), a date (the key is good until the end of that
    /// day, UTC), an RFC 3339 time, or `never`.
    ///
    /// # Errors
    /// [`ExpiryError`]
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, ExpiryError> {
        let text = text.trim();
        if text == "never" {
            return Ok(Self::Never);
        }
        let at = if let Some(span) = read_span(text)? {
            if span.is_zero() {
                return Err(ExpiryError::Past);
            }
            now.checked_add(span).map_err(|_| ExpiryError::Far)?
        } else if let Ok(date) = text.parse::<Date>()
            && text.len() == "2027-03-01".len()
        {
            let next = date.tomorrow().map_err(|_| ExpiryError::Far)?;
            next.to_zoned(TimeZone::UTC).map_err(|_| ExpiryError::Far)?.timestamp()
        } else {
            text.parse::<Timestamp>().map_err(|_| ExpiryError::Form)?
        };
        if at <= now {
            return Err(ExpiryError::Past);
        }
        let furthest = now.checked_add(SignedDuration::from_hours(MAX_HOURS)).map_err(|_| ExpiryError::Far)?;
        if at > furthest {
            return Err(ExpiryError::Far);
        }
        Ok(Self::At(at))
    }

    /// Whether the key is refused at `now`.
    #[must_use]
    pub fn is_over(self, now: Timestamp) -> bool {
        match self {
            Self::Never => false,
            Self::At(at) => now >= at,
        }
    }
}

/// Parses a span of time such as `7d`, `12h`, `4w`, `30m`, `45s`, or `0d`.
///
/// # Errors
/// [`ExpiryError::Form`], [`ExpiryError::Far`]
pub fn span(text: &str) -> Result<SignedDuration, ExpiryError> {
    read_span(text.trim())?.ok_or(ExpiryError::Form)
}

/// A span as a person writes it: in days when it is whole days, otherwise in the largest unit that it is whole in.
#[must_use]
pub fn span_text(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    let unit = [(86400, 'd'), (3600, 'h'), (60, 'm')].into_iter().find(|(unit, _)| seconds % unit == 0);
    unit.map_or_else(|| format!("{seconds}s"), |(unit, letter)| format!("{}{letter}", seconds / unit))
}

/// `None` when the text is no span.
fn read_span(text: &str) -> Result<Option<SignedDuration>, ExpiryError> {
    let (Some(unit), Some(digits)) = (text.chars().last(), text.get(..text.len().saturating_sub(1))) else {
        return Ok(None);
    };
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return Ok(None),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let seconds = digits.parse::<i64>().ok().and_then(|n| n.checked_mul(factor)).ok_or(ExpiryError::Far)?;
    if seconds > MAX_HOURS * 3600 {
        return Err(ExpiryError::Far);
    }
    Ok(Some(SignedDuration::from_secs(seconds)))
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::At(at) => write!(f, "{}", at.strftime("%Y-%m-%d %H:%M UTC")),
        }
    }
}

impl From<Option<Timestamp>> for Expiry {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::Never, Self::At)
    }
}

impl From<Expiry> for Option<Timestamp> {
    fn from(expiry: Expiry) -> Self {
        match expiry {
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_is_read() {
        let now = at("2026-11-21T08:00:00Z");
        let parse = |text| Expiry::parse(text, now);
        assert_eq!(parse("never"), Ok(Expiry::Never));
        assert_eq!(parse("12h"), Ok(Expiry::At(at("2026-11-21T20:00:00Z"))));
        assert_eq!(parse("90d"), Ok(Expiry::At(at("2027-02-19T08:00:00Z"))));
        assert_eq!(parse("1w"), Ok(Expiry::At(at("2026-11-28T08:00:00Z"))));
        assert_eq!(parse("2027-03-01"), Ok(Expiry::At(at("2027-03-02T00:00:00Z"))));
        assert_eq!(parse("2026-11-21"), Ok(Expiry::At(at("2026-11-22T00:00:00Z"))));
        assert_eq!(parse("2027-03-01T12:00:00+02:00"), Ok(Expiry::At(at("2027-03-01T10:00:00Z"))));
        for bad in ["", "d", "90", "-3d", "9.5d", "soon", "2027-13-01", "٩d"] {
            assert_eq!(parse(bad), Err(ExpiryError::Form), "{bad}");
        }
        assert_eq!(parse("2026-11-20"), Err(ExpiryError::Past));
        assert_eq!(parse("0d"), Err(ExpiryError::Past));
        assert_eq!(parse("30m"), Ok(Expiry::At(at("2026-11-21T08:30:00Z"))));
        for text in ["7d", "0d", "36h", "90m", "45s"] {
            assert_eq!(span(text).map(span_text), Ok(text.to_owned()));
        }
        assert_eq!(span("2w").map(span_text), Ok("14d".to_owned()));
        assert_eq!(span("soon"), Err(ExpiryError::Form));
        assert_eq!(parse("99999999999999999999d"), Err(ExpiryError::Far));
        assert_eq!(parse("9999-12-31"), Err(ExpiryError::Far));
    }

    #[test]
    fn the_moment_itself_is_over() {
        let expiry = Expiry::At(at("2027-01-01T00:00:00Z"));
        assert!(!expiry.is_over(at("2026-12-31T23:59:59Z")));
        assert!(expiry.is_over(at("2027-01-01T00:00:00Z")));
        assert!(!Expiry::Never.is_over(at("9999-01-01T00:00:00Z")));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}|[0-9]{0,25}[dhwms]?") {
            drop(Expiry::parse(&text, at("2026-11-21T08:00:00Z")));
        }
    }
}
