//! One commit in the journal: a line of JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::change::Change;
/// Each entry holds that of the line before it, so none can be taken out or put in between.
pub(crate) use crate::model::hash::Hash;

/// One commit: what was changed, when, by whom. Changes that found everything so already are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// 1 for the first, then without a gap.
    pub(crate) seq: u64,
    /// The hash of the entry before; zeros for the first.
    pub(crate) prev: Hash,
    /// Whether the next entry belongs to the same transaction: nothing of it happened before the one without this is there.
    /// Each of these has a frame of its own. Since version 3 of the journal.
    #[serde(default, skip_serializing_if = "is_last")]
    pub(crate) more: bool,
    /// When it was checked.
    pub(crate) time: Timestamp,
    /// The operator.
    pub(crate) by: String,
    /// What changed, in order, together.
    pub(crate) changes: Vec<Change>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_last(more: &bool) -> bool {
    !more
}

/// As much of an entry as the chain needs: reading it costs a fraction of reading an [`Entry`].
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
    #[serde(default)]
    pub(crate) more: bool,
}

impl Link {
    /// Reads it. Entries that this program wrote start with both fields, which are then read without the rest.
    pub(crate) fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        Self::at_start(line).map_or_else(|| serde_json::from_slice(line), Ok)
    }

    fn at_start(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(br#"{"seq":"#)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (seq, rest) = rest.split_at_checked(digits)?;
        let (prev, rest) = rest.strip_prefix(br#","prev":""#)?.split_at_checked(64)?;
        let text = |bytes| std::str::from_utf8(bytes).ok();
        // Anything unusual is left to the other way of reading.
        let more = rest.starts_with(br#"","more":true,"time":"#);
        (more || rest.starts_with(br#"","time":"#)).then_some(())?;
        Some(Self { seq: text(seq)?.parse().ok()?, prev: Hash::try_from(text(prev)?.to_owned()).ok()?, more })
    }
}

/// The end of a snapshot: what it stands for. The chain goes on from `hash`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Base {
    /// The last entry that is in the snapshot.
    pub(crate) seq: u64,
    /// Its hash.
    pub(crate) hash: Hash,
    /// How many lines the snapshot has before this one.
    pub(crate) pieces: u64,
    /// The hash of them all, each with its line end.
    pub(crate) digest: Hash,
}

/// The line of a [`Base`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BaseLine {
    /// In it.
    pub(crate) base: Base,
}

/// How the line of a [`Base`] starts, and no other one of a snapshot.
pub(crate) const BASE_START: &[u8] = br#"{"base":"#;

/// The hash over all lines of a snapshot, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Digester {
    sha: Sha256,
    /// How many lines there were.
    pub(crate) pieces: u64,
}

impl Digester {
    /// One more line.
    pub(crate) fn line(&mut self, line: &[u8]) {
        self.sha.update(line);
        self.sha.update(b"\n");
        self.pieces += 1;
    }

    /// The hash.
    pub(crate) fn digest(self) -> Hash {
        Hash::from(<[u8; 32]>::from(self.sha.finalize()))
    }
}
