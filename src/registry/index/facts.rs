//! What an overlay puts into the index, and the rows of the tree `facts`: a letter for the kind, then what it is about.
//!
//! ```text
//! g  account 0 group    the group's record
//! p  account/name       the public repository's record
//! n  account 0 label    the fingerprint of the key that was last removed under this name
//! t  fingerprint        what is left of a removed key
//! ```

use serde::de::DeserializeOwned;

use super::{InTransaction, IndexReader, Overlay, Places, Rows, Tallies, Tree, Unavailable};
use super::{encoded, guarded, pair, parse_fingerprint};
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;
use crate::registry::record::Tombstone;
use crate::registry::row;

fn row(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

fn group_row(account: &AccountName, group: &GroupName) -> Vec<u8> {
    row(b'g', &pair(account.as_str(), group.as_str().as_bytes()))
}

fn public_row(repo: &RepoPath) -> Vec<u8> {
    row(b'p', repo.as_str().as_bytes())
}

fn tomb_row(key: &Fingerprint) -> Vec<u8> {
    row(b't', key.as_bytes())
}

fn tomb_name_row(name: &KeyName) -> Vec<u8> {
    row(b'n', &pair(name.account.as_str(), name.label.as_str().as_bytes()))
}

/// Takes over all that an overlay has.
pub(super) fn put<T: Rows>(rows: &Tallies<'_, T>, over: &Overlay) -> InTransaction<()> {
    for (fingerprint, record) in &over.keys {
        match record {
            Some(record) => rows.keys.put(fingerprint.as_bytes(), &encoded(record)?)?,
            None => rows.keys.take(fingerprint.as_bytes())?,
        };
    }
    for ((account, group), record) in &over.groups {
        match record {
            Some(record) => rows.facts.put(&group_row(account, group), &encoded(record)?)?,
            None => rows.facts.take(&group_row(account, group))?,
        };
    }
    for (repo, record) in &over.public {
        match record {
            Some(record) => rows.facts.put(&public_row(repo), &encoded(record)?)?,
            None => rows.facts.take(&public_row(repo))?,
        };
    }
    for (key, tomb) in &over.tombs {
        rows.facts.put(&tomb_row(key), &encoded(tomb)?)?;
    }
    for (name, key) in &over.tomb_names {
        rows.facts.put(&tomb_name_row(name), key.as_bytes())?;
    }
    for (name, record) in &over.accounts {
        match record {
            Some(record) => rows.accounts.put(name.as_str().as_bytes(), &encoded(record)?)?,
            None => rows.accounts.take(name.as_str().as_bytes())?,
        };
    }
    Ok(())
}

/// The groups and public repositories.
pub(super) fn places(facts: &Tree) -> Result<Places, Unavailable> {
    Ok(Places::new(below(facts, b"g")?, below(facts, b"p")?))
}

fn below<T: DeserializeOwned>(facts: &Tree, prefix: &[u8]) -> Result<Vec<T>, Unavailable> {
    let mut rows = facts.scan_prefix(prefix);
    let mut found = Vec::new();
    while let Some((_, value)) = guarded(|| rows.next().transpose())? {
        found.push(row::decode(&value)?);
    }
    Ok(found)
}

impl IndexReader {
    fn fact<T: DeserializeOwned>(&self, row: &[u8]) -> Result<Option<T>, Unavailable> {
        guarded(|| self.trees.facts.get(row))?.map(|value| row::decode(&value)).transpose()
    }

    /// What is left of a removed key.
    pub(in crate::registry) fn tomb(&self, key: &Fingerprint) -> Result<Option<Tombstone>, Unavailable> {
        self.fact(&tomb_row(key))
    }

    /// The key that was last removed under this name.
    pub(in crate::registry) fn tomb_named(&self, name: &KeyName) -> Result<Option<Fingerprint>, Unavailable> {
        guarded(|| self.trees.facts.get(tomb_name_row(name)))?.map(|value| parse_fingerprint(&value)).transpose()
    }
}
