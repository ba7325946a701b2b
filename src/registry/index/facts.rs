//! What an overlay puts into the index, and the rows of the tree `facts`: a letter for the kind, then what it is about.
//!
//! ```text
//! g  account 0 group    the group's record
//! p  account/name       the public repository's record
//! n  account 0 label    the fingerprint of the key that was last removed under this name
//! t  fingerprint        what is left of a removed key
//! ```

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::{
    ConflictableTransactionError, InTransaction, IndexReader, KeyRecord, Overlay, TransactionalTree, Unavailable,
};
use super::{damaged, encoded, guarded, pair, parse_fingerprint};
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;
use crate::registry::overlay::reach;
use crate::registry::record::Tombstone;
use crate::registry::row;

fn row(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

pub(super) fn group_row(account: &AccountName, group: &GroupName) -> Vec<u8> {
    row(b'g', &pair(account.as_str(), group.as_str().as_bytes()))
}

pub(super) fn groups_row(account: Option<&AccountName>) -> Vec<u8> {
    row(b'g', &account.map(|account| pair(account.as_str(), &[])).unwrap_or_default())
}

pub(super) fn public_row(repo: &RepoPath) -> Vec<u8> {
    row(b'p', repo.as_str().as_bytes())
}

pub(super) fn publics_row(account: Option<&AccountName>) -> Vec<u8> {
    row(b'p', account.map(|account| format!("{account}/")).unwrap_or_default().as_bytes())
}

fn tomb_row(key: &Fingerprint) -> Vec<u8> {
    row(b't', key.as_bytes())
}

fn tomb_name_row(name: &KeyName) -> Vec<u8> {
    row(b'n', &pair(name.account.as_str(), name.label.as_str().as_bytes()))
}

/// Takes over what an overlay has for this tree.
pub(super) fn put(facts: &TransactionalTree, over: &Overlay) -> InTransaction<()> {
    for ((account, group), record) in &over.groups {
        match record {
            Some(record) => facts.insert(group_row(account, group), encoded(record)?)?,
            None => facts.remove(group_row(account, group))?,
        };
    }
    for (repo, record) in &over.public {
        match record {
            Some(record) => facts.insert(public_row(repo), encoded(record)?)?,
            None => facts.remove(public_row(repo))?,
        };
    }
    for (key, tomb) in &over.tombs {
        facts.insert(tomb_row(key), encoded(tomb)?)?;
    }
    for (name, key) in &over.tomb_names {
        facts.insert(tomb_name_row(name), key.as_bytes())?;
    }
    Ok(())
}

/// Takes over what an overlay has for the trees of keys.
pub(super) fn put_keys(
    keys: &TransactionalTree,
    reaches: &TransactionalTree,
    granted: &TransactionalTree,
    over: &Overlay,
) -> InTransaction<()> {
    for (fingerprint, record) in &over.keys {
        let old = match record {
            Some(record) => keys.insert(fingerprint.as_bytes(), encoded(record)?)?,
            None => keys.remove(fingerprint.as_bytes())?,
        };
        if let Some(old) = old {
            let old: KeyRecord = row::decode(&old).map_err(ConflictableTransactionError::Abort)?;
            for account in reach(&old) {
                reaches.remove(pair(account, fingerprint.as_bytes()))?;
            }
            for grant in &old.grants {
                granted.remove(pair(&grant.to_string(), fingerprint.as_bytes()))?;
            }
        }
        for account in record.iter().flat_map(reach) {
            reaches.insert(pair(account, fingerprint.as_bytes()), &[])?;
        }
        for grant in record.iter().flat_map(|record| &record.grants) {
            granted.insert(pair(&grant.to_string(), fingerprint.as_bytes()), &[])?;
        }
    }
    Ok(())
}

impl IndexReader {
    pub(super) fn fact<T: DeserializeOwned>(&self, row: &[u8]) -> Result<Option<T>, Unavailable> {
        guarded(|| self.0.facts.get(row))?.map(|value| row::decode(&value)).transpose()
    }

    pub(super) fn facts_below<T: DeserializeOwned>(&self, prefix: &[u8]) -> Result<Vec<T>, Unavailable> {
        let mut rows = self.0.facts.scan_prefix(prefix);
        let mut found = Vec::new();
        while let Some((_, value)) = guarded(|| rows.next().transpose())? {
            found.push(row::decode(&value)?);
        }
        Ok(found)
    }

    /// What is left of a removed key.
    pub(in crate::registry) fn tomb(&self, key: &Fingerprint) -> Result<Option<Tombstone>, Unavailable> {
        self.fact(&tomb_row(key))
    }

    /// The key that was last removed under this name.
    pub(in crate::registry) fn tomb_named(&self, name: &KeyName) -> Result<Option<Fingerprint>, Unavailable> {
        guarded(|| self.0.facts.get(tomb_name_row(name)))?.map(|value| parse_fingerprint(&value)).transpose()
    }

    /// The grants into an account that are held at all, each once. Goes from one grant to the next, however many keys hold it.
    pub(in crate::registry) fn grants_into(&self, account: &AccountName) -> Result<Vec<Grant>, Unavailable> {
        let start = format!("{account}/").into_bytes();
        let (mut next, mut found) = (start.clone(), BTreeSet::new());
        loop {
            let Some((row, _)) = guarded(|| self.0.granted.range(next.clone()..).next().transpose())? else { break };
            if !row.starts_with(&start) {
                break;
            }
            let text = row.iter().position(|byte| *byte == 0).and_then(|end| row.get(..end)).unwrap_or_default();
            let grant = std::str::from_utf8(text).ok().and_then(|text| Grant::parse(text).ok());
            found.insert(grant.ok_or_else(|| damaged("a row is no grant"))?);
            // The zero byte is behind the text; with a one there, it is behind every key.
            next = [text, &[1]].concat();
        }
        Ok(found.into_iter().collect())
    }
}
