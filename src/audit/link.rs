//! One link of the chain of changes: what holds a record in its place, and what it looks like on its line.
//!
//! A record of the chain ends with its number, the hash of the link before it and its own hash:
//! `…,"n":7,"prev":"…","hash":"…"}`, and a checkpoint also with a signature. The hash is the SHA-256 of the line's bytes before
//! `,"hash"`, as they stand in the file. So no record can be edited, taken out, put in or moved without all hashes behind it
//! being made anew; and a checkpoint's signature cannot be made anew without the gateway's key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{Event, Record};
pub use crate::model::hash::Hash;

/// What is signed starts with this, so that no signature of this key can stand for anything else.
const SIGNED: &[u8] = b"pullgate-audit-checkpoint-1\0";
const PREV: &str = ",\"prev\":\"";
const HASH: &str = ",\"hash\":\"";
const SIGNATURE: &str = ",\"signature\":\"";
/// Characters of a hash.
const DIGITS: usize = 64;

impl Event {
    /// Whether its records are links of the chain.
    #[must_use]
    pub fn is_chained(&self) -> bool {
        match self {
            Self::Changed { .. } | Self::Restored { .. } | Self::Gap { .. } | Self::Checkpoint { .. } => true,
            Self::Login { .. }
            | Self::LoginRefused { .. }
            | Self::Refused { .. }
            | Self::Allowed { .. }
            | Self::Fetch { .. }
            | Self::Suppressed { .. } => false,
        }
    }
}

/// The end of a chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the last link; 0 before the first.
    pub n: u64,
    /// Its hash; zeros before the first.
    pub hash: Hash,
}

/// The fields with which a record of the chain ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// 1 for the first link, then without a gap.
    pub n: u64,
    /// The hash of the link before; zeros for the first.
    pub prev: Hash,
    /// The SHA-256 of this line before `,"hash"`.
    pub hash: Hash,
    /// Of a checkpoint: the Ed25519 signature of its hash, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// The line of a record as the next link behind `head`, signed if there is a key, and the new end of the chain.
///
/// # Errors
/// The record makes no JSON.
pub fn seal(record: &Record, head: Head, key: Option<&SigningKey>) -> Result<(String, Head), serde_json::Error> {
    let mut line = serde_json::to_string(record)?;
    line.truncate(line.len().saturating_sub(1));
    let n = head.n + 1;
    line.push_str(&format!(",\"n\":{n}{PREV}{}\"", head.hash));
    let hash = Hash::of(line.as_bytes());
    line.push_str(&format!("{HASH}{hash}\""));
    if let Some(key) = key {
        let signature = key.sign(&signed(&hash)).to_bytes();
        line.push_str(&format!("{SIGNATURE}{}\"", STANDARD.encode(signature)));
    }
    line.push('}');
    Ok((line, Head { n, hash }))
}

fn signed(hash: &Hash) -> Vec<u8> {
    [SIGNED, hash.as_bytes().as_slice()].concat()
}

/// A line that ends as a link does, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What stands on the line.
    pub link: Link,
    /// The hash that its bytes have.
    pub actual: Hash,
}

impl Sealed {
    /// Takes a line apart; `None` when it does not end as a link does.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        // The names cannot stand inside a text of JSON: there each quotation mark has a backslash before it.
        let at = memchr::memmem::rfind(line, HASH.as_bytes())?;
        let (content, end) = line.split_at_checked(at)?;
        let end = std::str::from_utf8(end).ok()?.strip_prefix(HASH)?;
        let (hash, end) = end.split_at_checked(DIGITS)?;
        let signature = match end.strip_prefix('"')? {
            "}" => None,
            more => Some(more.strip_prefix(SIGNATURE)?.strip_suffix("\"}")?.to_owned()),
        };
        let at = memchr::memmem::rfind(content, b",\"n\":")?;
        let place = std::str::from_utf8(content.get(at..)?).ok()?.strip_prefix(",\"n\":")?;
        let (n, prev) = place.split_once(PREV)?;
        let prev = prev.strip_suffix('"')?;
        let link = Link { n: n.parse().ok()?, prev: Hash::parse(prev)?, hash: Hash::parse(hash)?, signature };
        Some(Self { link, actual: Hash::of(content) })
    }

    /// Whether its own hash is that of its bytes.
    #[must_use]
    pub fn intact(&self) -> bool {
        self.actual == self.link.hash
    }

    /// Whether its signature is one of this key.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        let signature = self.link.signature.as_ref().and_then(|text| STANDARD.decode(text).ok());
        let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
        signature.is_some_and(|signature| key.verify(&signed(&self.actual), &signature).is_ok())
    }

    /// The end of the chain with it.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { n: self.link.n, hash: self.link.hash }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SCHEMA;
    use super::*;
    use crate::model::details::Details;

    fn record(what: &str) -> Record {
        let (by, what) = ("root".to_owned(), what.to_owned());
        let event = Event::Changed { by, seq: 7, first_seq: None, what, details: Details::default(), recovered: false };
        let time = "2027-03-01T08:00:00Z".parse().unwrap();
        Record { v: SCHEMA, time, id: "0123456789".to_owned(), event, link: None }
    }

    #[test]
    fn a_link_reads_back_and_knows_its_bytes() {
        let key = SigningKey::from_bytes(&[7; 32]);
        // Whatever a text says, it is no end of a line.
        let text = r#"x","n":9,"prev":"y","hash":"z"}"#;
        let (line, head) = seal(&record(text), Head { n: 41, hash: Hash::from([1; 32]) }, Some(&key)).unwrap();
        let sealed = Sealed::read(line.as_bytes()).unwrap();
        assert!(sealed.intact() && sealed.is_signed_by(&key.verifying_key()));
        assert!(!sealed.is_signed_by(&SigningKey::from_bytes(&[8; 32]).verifying_key()));
        assert_eq!((sealed.head(), head.n), (head, 42));
        let back: Record = serde_json::from_str(&line).unwrap();
        assert_eq!(back.link, Some(sealed.link));
        assert_eq!(back.event, record(text).event);
        let (line, _) = seal(&record("a"), head, None).unwrap();
        assert_eq!(Sealed::read(line.as_bytes()).unwrap().link.prev, head.hash);
    }

    #[test]
    fn any_other_byte_is_another_link_or_none() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let (line, _) = seal(&record("added account acme"), Head::default(), Some(&key)).unwrap();
        for at in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[at] ^= 1;
            let good = Sealed::read(&bytes).is_some_and(|it| it.intact() && it.is_signed_by(&key.verifying_key()));
            assert!(!good, "byte {at} of {line}");
        }
        assert!(Sealed::read(b"").is_none() && Sealed::read(b"{}").is_none());
    }
}
