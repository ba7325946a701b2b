//! Keys and names by number.

use base64::Engine as _;
use pullgate::model::expiry::Expiry;
use pullgate::model::grant::Grant;
use pullgate::model::key_name::KeyName;
use pullgate::model::name::AccountName;
use pullgate::model::public_key::PublicKey;
use pullgate::model::text::Note;
use pullgate::registry::change::Change;
use pullgate::registry::record::Holder;

/// An ed25519 public key by its number. The point need not be on the curve: nobody signs with it.
pub(crate) fn key(number: u32) -> PublicKey {
    PublicKey::parse(&key_text(number)).unwrap()
}

pub(crate) fn key_text(number: u32) -> String {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend_from_slice(&[9; 28]);
    blob.extend_from_slice(&number.to_be_bytes());
    format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob))
}

pub(crate) fn account(name: &str) -> Change {
    Change::AccountAdd { account: AccountName::parse(name).unwrap() }
}

pub(crate) fn add(number: u32, name: &str, note: &str, grants: &[&str]) -> Change {
    Change::KeyAdd {
        key: key(number),
        name: KeyName::parse(name).unwrap(),
        holder: Holder::DeployKey,
        note: Note::parse(note).unwrap(),
        expiry: Expiry::Never,
        sources: Vec::new(),
        grants: self::grants(grants),
    }
}

pub(crate) fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| Grant::parse(text).unwrap()).collect()
}
