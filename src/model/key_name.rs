//! `KEY` as a person writes it: `account/label`, or a fingerprint.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fingerprint::{Fingerprint, FingerprintError};
use super::name::{AccountName, Label, NameError};

/// Why a text names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyNameError {
    /// There is no single slash between account and label.
    #[error("a key is named account/label, or by its fingerprint SHA256:…")]
    Shape,
    /// One of the two names is none.
    #[error("{0}")]
    Name(#[from] NameError),
    /// It starts like a fingerprint and is none.
    #[error("{0}")]
    Fingerprint(#[from] FingerprintError),
}

/// `account/label`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName {
    /// The account that holds the key.
    pub account: AccountName,
    /// The key's label in it.
    pub label: Label,
}

impl KeyName {
    /// Parses `account/label`.
    ///
    /// # Errors
    /// [`KeyNameError`]
    pub fn parse(text: &str) -> Result<Self, KeyNameError> {
        let (account, label) = text.split_once('/').ok_or(KeyNameError::Shape)?;
        if label.contains('/') {
            return Err(KeyNameError::Shape);
        }
        Ok(Self { account: AccountName::parse(account)?, label: Label::parse(label)? })
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.label)
    }
}

impl TryFrom<String> for KeyName {
    type Error = KeyNameError;
    fn try_from(text: String) -> Result<Self, KeyNameError> {
        Self::parse(&text)
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> String {
        name.to_string()
    }
}

/// A key, by either of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// `account/label`.
    Name(KeyName),
    /// `SHA256:…`.
    Fingerprint(Fingerprint),
}

impl KeyRef {
    /// Parses either form. An account cannot be called `SHA256:…`, so there is no doubt which one is meant.
    ///
    /// # Errors
    /// [`KeyNameError`]
    pub fn parse(text: &str) -> Result<Self, KeyNameError> {
        if text.starts_with("SHA256:") {
            return Ok(Self::Fingerprint(Fingerprint::parse(text)?));
        }
        Ok(Self::Name(KeyName::parse(text)?))
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Fingerprint(fingerprint) => fingerprint.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_form_is_told_apart() {
        assert!(matches!(KeyRef::parse("acme/ci"), Ok(KeyRef::Name(_))));
        let fingerprint = Fingerprint::of_blob(b"x").to_string();
        assert!(matches!(KeyRef::parse(&fingerprint), Ok(KeyRef::Fingerprint(_))));
        for bad in ["", "acme", "acme/", "/ci", "a/b/c", "acme/-ci", "SHA256:short"] {
            assert!(KeyRef::parse(bad).is_err(), "{bad}");
        }
    }
}
