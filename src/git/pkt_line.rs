//! pkt-lines, as git's `protocol-common` documentation defines them: four hexadecimal digits of length, which count
//! themselves, and then the payload.

use bytes::Bytes;

/// The longest payload of one pkt-line, in bytes (`LARGE_PACKET_DATA_MAX` in git's `pkt-line.h`).
pub const MAX_PAYLOAD: usize = 65_516;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_length_counts_itself() {
        assert_eq!(err("no").as_ref(), b"000bERR no\n");
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
