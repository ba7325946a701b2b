//! What an overlay puts into the index, and the rows of the tree `facts`: a letter for the kind, then what it is about.
//!
//! ```text
//! g  account 0 group    the group's record
//! h  account 0 print    nothing: this key is an account key of the account
//! p  account/name       the public repository's record
//! n  account 0 label    the fingerprint of the key that was last removed under this name
//! t  fingerprint        what is left of a removed key
//! ```

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::{ConflictableTransactionError, InTransaction, IndexReader, KeyRecord, Overlay, Unavailable};
use super::{Rows, Tallies, Tally, damaged, encoded, guarded, pair, parse_fingerprint};
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName};
use crate::model::repo_path::RepoPath;
use crate::registry::overlay::reach;
use crate::registry::record::{Holder, Tombstone};
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

/// An account key, by its account.
fn person_row(account: &str, key: &[u8]) -> Vec<u8> {
    row(b'h', &pair(account, key))
}

fn name_row(name: &KeyName) -> Vec<u8> {
    pair(name.account.as_str(), name.label.as_str().as_bytes())
}

/// Takes over all that an overlay has.
pub(super) fn put<T: Rows>(rows: &Tallies<'_, T>, over: &Overlay) -> InTransaction<()> {
    put_keys(rows, over)?;
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
    for (name, fingerprint) in &over.names {
        match fingerprint {
            Some(fingerprint) => rows.names.put(&name_row(name), fingerprint.as_bytes())?,
            None => rows.names.take(&name_row(name))?,
        };
    }
    for (name, record) in &over.accounts {
        match record {
            Some(record) => rows.accounts.put(name.as_str().as_bytes(), &encoded(record)?)?,
            None => rows.accounts.take(name.as_str().as_bytes())?,
        };
    }
    Ok(())
}

/// Lets no name lead to a key that changes.
pub(super) fn clear_names<T: Rows>(rows: &Tallies<'_, T>, over: &Overlay) -> InTransaction<()> {
    over.names.keys().try_for_each(|name| rows.names.take(&name_row(name)).map(drop))
}

/// Takes over what an overlay has for the trees of keys.
///
/// Of the rows that are derived from keys only those are touched that come or go, and tree by tree in their own order: a page
/// that many of them are on is then written once and not for each, which at a million keys is most of the work.
fn put_keys<T: Rows>(rows: &Tallies<'_, T>, over: &Overlay) -> InTransaction<()> {
    let (mut before, mut after) = (Derived::default(), Derived::default());
    for (fingerprint, record) in &over.keys {
        let key = fingerprint.as_bytes();
        let old = match record {
            Some(record) => rows.keys.put(key, &encoded(record)?)?,
            None => rows.keys.take(key)?,
        };
        if let Some(old) = old {
            before.add(&row::decode(&old).map_err(ConflictableTransactionError::Abort)?, key);
        }
        if let Some(record) = record {
            after.add(record, key);
        }
    }
    change(&rows.reach, &before.reach, &after.reach)?;
    change(&rows.granted, &before.granted, &after.granted)?;
    change(&rows.facts, &before.people, &after.people)
}

/// The rows that follow from keys, tree by tree.
#[derive(Default)]
struct Derived {
    reach: BTreeSet<Vec<u8>>,
    granted: BTreeSet<Vec<u8>>,
    people: BTreeSet<Vec<u8>>,
}

impl Derived {
    fn add(&mut self, record: &KeyRecord, key: &[u8]) {
        self.reach.extend(reach(record).into_iter().map(|account| pair(account, key)));
        self.granted.extend(record.grants.iter().map(|grant| pair(&grant.to_string(), key)));
        if record.holder == Holder::AccountKey {
            self.people.insert(person_row(record.account().as_str(), key));
        }
    }
}

/// Rows without values that were there, and that are to be.
fn change<T: Rows>(tree: &Tally<'_, T>, before: &BTreeSet<Vec<u8>>, after: &BTreeSet<Vec<u8>>) -> InTransaction<()> {
    before.difference(after).try_for_each(|row| tree.take(row).map(drop))?;
    after.difference(before).try_for_each(|row| tree.put(row, &[]).map(drop))
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

    /// The account keys of an account.
    pub(in crate::registry) fn people(&self, account: &AccountName) -> Result<BTreeSet<Fingerprint>, Unavailable> {
        let prefix = person_row(account.as_str(), &[]);
        let mut rows = self.0.facts.scan_prefix(&prefix);
        let mut found = BTreeSet::new();
        while let Some((row, _)) = guarded(|| rows.next().transpose())? {
            found.insert(parse_fingerprint(row.get(prefix.len()..).unwrap_or_default())?);
        }
        Ok(found)
    }

    /// How many keys an account holds.
    pub(in crate::registry) fn count(&self, account: &AccountName) -> Result<usize, Unavailable> {
        let mut rows = self.0.names.scan_prefix(pair(account.as_str(), &[]));
        let mut count = 0;
        while guarded(|| rows.next().transpose())?.is_some() {
            count += 1;
        }
        Ok(count)
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
