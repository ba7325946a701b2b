//! The registry from the outside of its rooms: rules, durability, damage.

mod catch_up;
mod closing;
mod compaction;
mod damage;
mod frames;
mod large;
mod life;
mod model;
mod places;
mod process;
mod rules;
mod together;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;

use super::change::{Change, CommitError, Committed, Conflict};
use super::reading::Source;
use super::record::{AccountRecord, Holder, KeyRecord};
use super::{Amend, Lookup, OpenError, open};
use crate::model::expiry::Expiry;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, Label};
use crate::model::public_key::PublicKey;
use crate::model::text::Note;

/// An ed25519 public key by its number. The point need not be on the curve: nobody signs with it.
pub(super) fn key(number: u32) -> PublicKey {
    let mut blob = Vec::new();
    blob.extend_from_slice(&11u32.to_be_bytes());
    blob.extend_from_slice(b"ssh-ed25519");
    blob.extend_from_slice(&32u32.to_be_bytes());
    blob.extend_from_slice(&[7; 28]);
    blob.extend_from_slice(&number.to_be_bytes());
    let text = format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob));
    PublicKey::parse(&text).unwrap()
}

fn account(name: &str) -> AccountName {
    AccountName::parse(name).unwrap()
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| Grant::parse(text).unwrap()).collect()
}

fn account_add(text: &str) -> Change {
    Change::AccountAdd { account: account(text) }
}

fn key_add(number: u32, text: &str, granted: &[&str]) -> Change {
    Change::KeyAdd {
        key: key(number),
        name: name(text),
        holder: Holder::DeployKey,
        note: Note::default(),
        expiry: Expiry::Never,
        sources: Vec::new(),
        grants: grants(granted),
    }
}

fn commit(amend: &Amend, changes: &[Change]) -> Committed {
    amend.commit("tester", changes).unwrap()
}

fn conflict(amend: &Amend, changes: &[Change]) -> Conflict {
    match amend.commit("tester", changes) {
        Err(CommitError::Conflict(conflict)) => conflict,
        other => panic!("{other:?}"),
    }
}

/// Everything that can be looked up.
fn everything(lookup: &Lookup) -> (Vec<AccountRecord>, Vec<KeyRecord>) {
    let keys = lookup.keys(None, None, usize::MAX).unwrap();
    for record in &keys {
        assert_eq!(lookup.key(&record.fingerprint()).unwrap().as_ref(), Some(record));
        assert_eq!(lookup.named(&record.name).unwrap().as_ref(), Some(record));
    }
    (lookup.accounts().unwrap(), keys)
}

/// Whether the index answers, rather than memory.
fn from_index(lookup: &Lookup) -> bool {
    matches!(&*lookup.0.source.read().unwrap(), Source::Index(_))
}

/// Waits until the index answers.
fn settle(lookup: &Lookup) {
    let start = Instant::now();
    while !from_index(lookup) {
        assert!(start.elapsed() < Duration::from_secs(20), "the index is not built");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts that the index of a closed registry answers at once, and says what the journal does.
fn same(dir: &Path) {
    let found = super::compare(dir).unwrap();
    assert!(found.equal(), "{found:?}");
}

/// Takes the index away, so that it is built from the journal.
fn lose_index(dir: &Path) {
    drop(std::fs::remove_file(dir.join("index.clean")));
    drop(std::fs::remove_dir_all(dir.join("index")));
}

/// A registry with two accounts and three keys, settled and closed.
fn sample(dir: &Path) -> (Vec<AccountRecord>, Vec<KeyRecord>) {
    let (lookup, amend) = open(dir).unwrap();
    commit(&amend, &[account_add("acme"), account_add("beta")]);
    for number in 0..3 {
        commit(&amend, &[key_add(number, &format!("acme/k{number}"), &["acme/app", "beta/lib"])]);
    }
    settle(&lookup);
    everything(&lookup)
}

/// A number that no other call gives.
fn fresh() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
