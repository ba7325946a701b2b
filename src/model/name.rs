//! The names a person types: accounts, labels, groups.
//!
//! One grammar for all of them, `[A-Za-z0-9][A-Za-z0-9._-]{0,99}`: no leading dash that a program could take for an
//! option, no leading dot, no separator, no control character, nothing that a terminal would interpret.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes (which are characters: names are ASCII).
pub const MAX_NAME: usize = 100;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the name is empty")]
    Empty,
    /// More than [`MAX_NAME`] bytes.
    #[error("the name is longer than {MAX_NAME} characters")]
    TooLong,
    /// The first character is not a letter or a digit.
    #[error("a name starts with a letter or a digit")]
    BadStart,
    /// A character outside `A-Z a-z 0-9 . _ -`.
    #[error("a name is made of letters, digits, '.', '_' and '-'")]
    BadCharacter,
    /// `.git` at the end is the spelling of a directory, `.lock` is git's own.
    #[error("a name does not end in '.git' or '.lock'")]
    Reserved,
}

/// Checks one name or path component against the grammar.
///
/// # Errors
/// [`NameError`], the first rule that the text breaks.
pub fn check(text: &str) -> Result<(), NameError> {
    let mut bytes = text.bytes();
    let Some(first) = bytes.next() else {
        return Err(NameError::Empty);
    };
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::BadStart);
    }
    if !bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err(NameError::BadCharacter);
    }
    let lower = text.to_ascii_lowercase();
    if lower.ends_with(".git") || lower.ends_with(".lock") {
        return Err(NameError::Reserved);
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses a name of at most [`MAX_NAME`] bytes.
            ///
            /// # Errors
            /// [`NameError`], the first rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The name as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name_type!(
    /// A namespace that owns repositories and keys. Case matters, as it does in the store's directories.
    AccountName
);
name_type!(
    /// The name of a key inside its account.
    Label
);
name_type!(
    /// The name of a group inside its account, without the `@`.
    GroupName
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_follow_one_grammar() {
        for good in ["a", "acme", "ci-agent-7", "A.b_c-9", "0", "gitx", "a.github"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", NameError::Empty),
            ("-x", NameError::BadStart),
            (".x", NameError::BadStart),
            ("..", NameError::BadStart),
            ("a/b", NameError::BadCharacter),
            ("a b", NameError::BadCharacter),
            ("a\n", NameError::BadCharacter),
            ("a\u{202e}", NameError::BadCharacter),
            ("app.git", NameError::Reserved),
            ("app.GIT", NameError::Reserved),
            ("refs.lock", NameError::Reserved),
        ] {
            assert_eq!(check(bad), Err(why), "{bad:?}");
        }
        assert_eq!(check(&"a".repeat(MAX_NAME)), Ok(()));
        assert_eq!(check(&"a".repeat(MAX_NAME + 1)), Err(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn whatever_parses_is_plain_ascii_and_survives_json(text in "\\PC{0,120}") {
            if let Ok(name) = Label::parse(&text) {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'/'));
                prop_assert!(!name.as_str().starts_with(['-', '.']));
                let json = serde_json::to_string(&name).unwrap();
                prop_assert_eq!(serde_json::from_str::<Label>(&json).unwrap(), name);
            }
        }
    }
}
