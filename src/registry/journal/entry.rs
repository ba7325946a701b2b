//! One commit in the journal: a line of JSON.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::change::Change;

/// The hash of an entry's line. Each entry holds that of the one before it, so none can be taken out or put in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    /// The hash of a line, without its end.
    pub(crate) fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "a hash is 64 lower-case hexadecimal digits";
        let mut bytes = [0; 32];
        let mut digits = text.bytes().map(|digit| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(WRONG),
        });
        for byte in &mut bytes {
            *byte = digits.next().ok_or(WRONG)?? << 4 | digits.next().ok_or(WRONG)??;
        }
        if digits.next().is_some() { Err(WRONG) } else { Ok(Self(bytes)) }
    }
}

/// One commit: what was changed, when, by whom. Changes that found everything so already are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// 1 for the first, then without a gap.
    pub(crate) seq: u64,
    /// The hash of the entry before; zeros for the first.
    pub(crate) prev: Hash,
    /// When it was checked.
    pub(crate) time: Timestamp,
    /// The operator.
    pub(crate) by: String,
    /// What changed, in order, together.
    pub(crate) changes: Vec<Change>,
}

/// As much of an entry as the chain needs: reading it costs a fraction of reading an [`Entry`].
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
}
