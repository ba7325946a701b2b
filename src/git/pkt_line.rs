//! pkt-lines, as git's `protocol-common` documentation defines them: four hexadecimal digits of length, which count
//! themselves, and then the payload.

use bytes::Bytes;

/// The longest payload of one pkt-line, in bytes (`LARGE_PACKET_DATA_MAX` in git's `pkt-line.h`).
pub const MAX_PAYLOAD: usize = 65_516;

/// What a pkt-line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
    /// A line with this payload, line end included.
    Text(&'a [u8]),
}

/// What the four digits at the start of these bytes say, the digits counted; `None` when they are none, or none that a
/// line begins with (`packet_read_with_status` in git's `pkt-line.c`).
#[must_use]
pub fn length(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.get(..4)?;
    let value = digits.iter().try_fold(0usize, |sum, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(sum * 16 + usize::try_from(value).ok()?)
    })?;
    matches!(value, 0 | 1 | 4..=65_520).then_some(value)
}

/// The first pkt-line of these bytes, and what comes behind it; `None` when it is not whole, or is none.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(Line<'_>, &[u8])> {
    let length = length(bytes)?;
    let (line, rest) = bytes.split_at_checked(length.max(4))?;
    Some(match length {
        0 => (Line::Flush, rest),
        1 => (Line::Delimiter, rest),
        _ => (Line::Text(line.get(4..)?), rest),
    })
}

/// An `ERR` line: git prints its text as `fatal: remote error: <text>` and nothing else. A longer text is cut.
#[must_use]
pub fn err(text: &str) -> Bytes {
    let mut end = text.len().min(MAX_PAYLOAD - "ERR \n".len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    let length = "0000ERR \n".len() + text.len();
    Bytes::from(format!("{length:04x}ERR {text}\n"))
}

/// The text of an `ERR` line, if these bytes are one and nothing else.
#[must_use]
pub fn error_of(bytes: &[u8]) -> Option<&[u8]> {
    match split(bytes)? {
        (Line::Text(text), []) => Some(text.strip_prefix(b"ERR ")?.trim_ascii_end()),
        (Line::Text(_) | Line::Flush | Line::Delimiter, _) => None,
    }
}

/// The end of a pack that cannot be completed: a line of side band 3, which git prints as `fatal: remote error: <text>` and
/// nothing else. A longer text is cut.
#[must_use]
pub fn broken_off(text: &str) -> Bytes {
    let text = text.get(..text.len().min(200)).unwrap_or_default();
    Bytes::from(format!("{:04x}\u{3}{text}\n", "0000\u{3}\n".len() + text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_length_counts_itself() {
        assert_eq!(err("no").as_ref(), b"000bERR no\n");
    }

    #[test]
    fn an_error_is_one_line_alone() {
        assert_eq!(error_of(&err("no such thing")), Some(&b"no such thing"[..]));
        for none in [&b"0000"[..], b"0008NAK\n", b"000bERR no\n0000", b"000bERR no", b"", b"0007ERR"] {
            assert_eq!(error_of(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_broken_pack_ends_in_band_three() {
        assert_eq!(broken_off("no").as_ref(), b"0008\x03no\n");
    }

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(split(b"0000x"), Some((Line::Flush, &b"x"[..])));
        assert_eq!(split(b"0001"), Some((Line::Delimiter, &b""[..])));
        assert_eq!(split(b"0004"), Some((Line::Text(b""), &b""[..])));
        assert_eq!(split(b"0006a\n0000"), Some((Line::Text(b"a\n"), &b"0000"[..])));
        for none in [&b"0002"[..], b"0003", b"fff1", b"+005a", b"0006a", b"000", b""] {
            assert_eq!(split(none), None);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_one_valid_line(text in "\\PC{0,50}", times in 0usize..4000) {
            let line = err(&text.repeat(times));
            let length = usize::from_str_radix(std::str::from_utf8(&line[..4]).unwrap(), 16).unwrap();
            prop_assert_eq!(length, line.len());
            prop_assert!(line.len() <= MAX_PAYLOAD + 4);
        }
    }
}
