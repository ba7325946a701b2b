//! How a record is kept in the index and in memory: a checksum, and an encoding that is small and quick to read.
//!
//! The journal keeps JSON, which people and later versions can read. A row is never older than the index, which is built
//! again when its layout changes, so it needs no names of fields: a third of the size, and a fraction of the time.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::change::Unavailable;
use super::record::{Holder, KeyRecord};
use crate::model::fingerprint::Fingerprint;

/// The bytes of the checksum in front.
const CHECKSUM: usize = 4;

/// A record as a row: CRC-32C, then the encoding.
pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Unavailable> {
    let failed = |error: postcard::Error| Unavailable { reason: format!("a record cannot be encoded: {error}") };
    let mut row = postcard::to_extend(record, vec![0; CHECKSUM]).map_err(failed)?;
    let crc = crc32c::crc32c(row.get(CHECKSUM..).unwrap_or_default()).to_le_bytes();
    row.iter_mut().zip(crc).for_each(|(to, from)| *to = from);
    Ok(row)
}

/// The record of a row. A row that is damaged is no answer, and never no record.
pub(super) fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, Unavailable> {
    postcard::from_bytes(checked(row)?).map_err(|error| damaged(&format!("a row does not parse: {error}")))
}

/// What a key's row starts with, in the words that it has there.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Head<'a> {
    /// `account/label`.
    pub(super) name: &'a str,
    /// Whose it is.
    pub(super) holder: Holder,
    /// What it may fetch.
    #[serde(borrow)]
    pub(super) grants: Vec<&'a str>,
}

/// The beginning of a key's row, for the price of a tenth of it.
pub(super) fn head(row: &[u8]) -> Result<Head<'_>, Unavailable> {
    let (head, _) = postcard::take_from_bytes(checked(row)?)
        .map_err(|error| damaged(&format!("a row does not start as a key's does: {error}")))?;
    Ok(head)
}

fn damaged(what: &str) -> Unavailable {
    Unavailable { reason: format!("the index is damaged: {what}") }
}

/// What follows the checksum, if that is right.
fn checked(row: &[u8]) -> Result<&[u8], Unavailable> {
    let (crc, rest) = row.split_at_checked(CHECKSUM).ok_or_else(|| damaged("a row is too short"))?;
    if crc != crc32c::crc32c(rest).to_le_bytes() {
        return Err(damaged("a row's checksum is wrong"));
    }
    Ok(rest)
}

/// A row, or the record itself should it ever not encode.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Row {
    Encoded(Box<[u8]>),
    Whole(Box<KeyRecord>),
}

impl Row {
    fn of(record: &KeyRecord) -> Self {
        match encode(record) {
            Ok(row) => Self::Encoded(row.into_boxed_slice()),
            Err(error) => {
                tracing::error!(%error, "a record is kept in memory as it is");
                Self::Whole(Box::new(record.clone()))
            }
        }
    }

    fn record(&self) -> Result<KeyRecord, Unavailable> {
        match self {
            Self::Encoded(row) => decode(row),
            Self::Whole(record) => Ok((**record).clone()),
        }
    }
}

/// The record of a row that was replaced: this process encoded it, so it reads.
fn read(row: Row) -> Option<KeyRecord> {
    row.record().inspect_err(|error| tracing::error!(%error, "a record that was replaced cannot be read")).ok()
}

/// Keys in memory, as rows: a million of them take a quarter of what the records would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rows(BTreeMap<Fingerprint, Row>);

impl Rows {
    /// Of rows in the order of their fingerprints.
    pub(super) fn sorted(rows: Vec<(Fingerprint, Box<[u8]>)>) -> Self {
        Self(rows.into_iter().map(|(key, row)| (key, Row::Encoded(row))).collect())
    }

    /// Puts bytes in a key's place, whatever they are.
    #[cfg(test)]
    pub(super) fn put(&mut self, fingerprint: Fingerprint, row: &[u8]) {
        self.0.insert(fingerprint, Row::Encoded(row.into()));
    }

    /// The key with this fingerprint.
    pub(super) fn get(&self, fingerprint: &Fingerprint) -> Result<Option<KeyRecord>, Unavailable> {
        self.0.get(fingerprint).map(Row::record).transpose()
    }

    /// Puts a record in the place of the one before, which comes back.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, record: &KeyRecord) -> Option<KeyRecord> {
        self.0.insert(fingerprint, Row::of(record)).and_then(read)
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, fingerprint: &Fingerprint) -> Option<KeyRecord> {
        self.0.remove(fingerprint).and_then(read)
    }

    /// In the order of fingerprints, after one.
    pub(super) fn after(
        &self,
        after: Option<&Fingerprint>,
    ) -> impl Iterator<Item = Result<KeyRecord, Unavailable>> + use<'_> {
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(*after));
        self.0.range((start, Bound::Unbounded)).map(|(_, row)| row.record())
    }
}
