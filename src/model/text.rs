//! Text that a person or a peer wrote, on its way to a log or a terminal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `1 key`, `2 keys`: of what has its plural with an s.
#[must_use]
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    if count == N::from(1) { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// The longest note, in characters.
pub const MAX_NOTE: usize = 500;

/// Why a text is not a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than [`MAX_NOTE`] characters.
    #[error("a note has at most {MAX_NOTE} characters")]
    TooLong,
    /// A control or direction-changing character.
    #[error("a note is one line without control characters")]
    Control,
}

/// A remark beside a key: one printable line of at most [`MAX_NOTE`] characters; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

impl Note {
    /// Parses a note.
    ///
    /// # Errors
    /// [`NoteError`]
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let text = text.trim();
        if text.chars().count() > MAX_NOTE {
            return Err(NoteError::TooLong);
        }
        if text.chars().any(is_unsafe) {
            return Err(NoteError::Control);
        }
        Ok(Self(text.to_owned()))
    }

    /// The note's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Note {
    type Error = NoteError;
    fn try_from(text: String) -> Result<Self, NoteError> {
        Self::parse(&text)
    }
}

impl From<Note> for String {
    fn from(note: Note) -> String {
        note.0
    }
}

/// C0, C1, DEL, line and paragraph separators, and the characters that turn the writing direction or hide text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Foreign text made safe to echo: unsafe characters are written as escapes, and the rest is cut after `limit` characters.
///
/// For a client's version string, a path that was refused, a command that is not served.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count >= limit {
            out.push('…');
            break;
        }
        if is_unsafe(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// [`printable`] for bytes that may not be UTF-8.
#[must_use]
pub fn printable_bytes(bytes: &[u8], limit: usize) -> String {
    printable(&String::from_utf8_lossy(bytes), limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn notes_are_one_printable_line() {
        assert_eq!(Note::parse("  built by Jörg \u{1f600} ").unwrap().as_str(), "built by Jörg \u{1f600}");
        assert_eq!(Note::parse("").unwrap().as_str(), "");
        for bad in ["a\nb", "\u{1b}[2J", "a\u{202e}b", "a\u{9b}b", "a\u{2028}b"] {
            assert_eq!(Note::parse(bad), Err(NoteError::Control), "{bad:?}");
        }
        assert_eq!(Note::parse(&"x".repeat(MAX_NOTE + 1)), Err(NoteError::TooLong));
    }

    #[test]
    fn echoed_text_is_escaped_and_cut() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}", 80), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable_bytes(b"a\xffb", 10), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_echoed(text in any::<String>(), limit in 0usize..40) {
            let out = printable(&text, limit);
            prop_assert!(!out.chars().any(is_unsafe));
        }
    }
}
