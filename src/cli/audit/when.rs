//! A time that is over, as a person writes it.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::model::expiry::span;

/// A text that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write how long ago (30m, 2h, 7d), a date (2027-03-01), or a time (14:30, 2027-03-01T14:30), in UTC")]
pub(super) struct NotATime;

/// The beginning of what was written: of a day its first moment.
pub(super) fn since(text: &str, now: Timestamp) -> Result<Timestamp, NotATime> {
    match date(text) {
        Some(date) => utc(date.to_datetime(Time::midnight())),
        None => moment(text, now),
    }
}

/// The end of what was written: of a day its last moment.
pub(super) fn until(text: &str, now: Timestamp) -> Result<Timestamp, NotATime> {
    match date(text) {
        Some(date) => utc(date.to_datetime(Time::MAX)),
        None => moment(text, now),
    }
}

fn date(text: &str) -> Option<Date> {
    text.parse().ok().filter(|_| text.len() == "2027-03-01".len())
}

fn utc(time: DateTime) -> Result<Timestamp, NotATime> {
    time.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| NotATime)
}

fn moment(text: &str, now: Timestamp) -> Result<Timestamp, NotATime> {
    if let Ok(span) = span(text) {
        return now.checked_sub(span).map_err(|_| NotATime);
    }
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    if text.len() <= "14:30:00".len()
        && let Ok(time) = text.parse::<Time>()
    {
        return utc(now.to_zoned(TimeZone::UTC).date().to_datetime(time));
    }
    text.parse::<DateTime>().map_err(|_| NotATime).and_then(utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2027-03-02T08:00:00Z");
        for (text, expected) in [
            ("2h", "2027-03-02T06:00:00Z"),
            ("7d", "2027-02-23T08:00:00Z"),
            ("2027-03-01", "2027-03-01T00:00:00Z"),
            ("02:30", "2027-03-02T02:30:00Z"),
            ("2027-03-01T14:30", "2027-03-01T14:30:00Z"),
            ("2027-03-01 14:30:05", "2027-03-01T14:30:05Z"),
            ("2027-03-01T14:30:00+02:00", "2027-03-01T12:30:00Z"),
        ] {
            assert_eq!(since(text, now), Ok(at(expected)), "{text}");
        }
        assert_eq!(until("2027-03-01", now), Ok(at("2027-03-01T23:59:59.999999999Z")));
        assert_eq!(until("2h", now), since("2h", now));
        for bad in ["", "h", "soon", "2027-13-01", "-2h", "25:00", "99999999999999999999d"] {
            assert_eq!(since(bad, now), Err(NotATime), "{bad}");
        }
    }
}
