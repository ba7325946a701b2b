//! Keys on their way from the index into memory.
//!
//! What is found by them is gathered first, as the text that the rows have, and put in order in the end: to parse a million
//! records and to put each name where it belongs takes several times as long.

use std::collections::{BTreeMap, HashMap};

use super::Keys;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::name::{AccountName, Label};
use crate::registry::change::Unavailable;
use crate::registry::record::Holder;
use crate::registry::row::{self, Rows};

/// A part of all keys, from some fingerprint on.
#[derive(Debug, Default)]
pub(in crate::registry) struct Loading {
    rows: Vec<(Fingerprint, Box<[u8]>)>,
    names: HashMap<Box<str>, Labels>,
    granted: Prints,
    reaching: Prints,
    people: Prints,
}

/// Keys by a text.
type Prints = HashMap<Box<str>, Vec<Fingerprint>>;

/// The labels of an account: side by side, so that sorting them stays within a few pages of memory.
#[derive(Debug, Default)]
struct Labels {
    text: String,
    /// Where each ends in the text; it starts where the one before it ends.
    ends: Vec<(usize, Fingerprint)>,
}

/// Changes the value of a text, which is made when it is not there.
fn with<T: Default>(all: &mut HashMap<Box<str>, T>, text: &str, change: impl FnOnce(&mut T)) {
    if let Some(value) = all.get_mut(text) {
        return change(value);
    }
    let mut value = T::default();
    change(&mut value);
    all.insert(text.into(), value);
}

/// Takes over the keys of another part that are behind these.
fn append(all: &mut Prints, more: Prints) {
    for (text, keys) in more {
        with(all, &text, |all| all.extend(keys));
    }
}

fn damaged(what: impl std::fmt::Display) -> Unavailable {
    Unavailable { reason: format!("the index is damaged: {what}") }
}

impl Labels {
    fn push(&mut self, label: &str, key: Fingerprint) {
        self.text.push_str(label);
        self.ends.push((self.text.len(), key));
    }

    fn each(&self) -> impl Iterator<Item = (&str, Fingerprint)> {
        let mut start = 0;
        self.ends
            .iter()
            .map(move |(end, key)| (self.text.get(std::mem::replace(&mut start, *end)..*end).unwrap_or_default(), *key))
    }

    fn sorted(&self) -> Result<BTreeMap<Label, Fingerprint>, Unavailable> {
        let mut all: Vec<_> = self.each().collect();
        all.sort_unstable();
        all.into_iter().map(|(label, key)| Ok((Label::parse(label).map_err(damaged)?, key))).collect()
    }
}

impl Loading {
    /// The next row, in the order of fingerprints.
    pub(in crate::registry) fn row(&mut self, key: Fingerprint, row: &[u8]) -> Result<(), Unavailable> {
        let head = row::head(row)?;
        let (account, label) = head.name.split_once('/').ok_or_else(|| damaged("a key has no name"))?;
        with(&mut self.names, account, |labels| labels.push(label, key));
        for grant in head.grants {
            with(&mut self.granted, grant, |keys| keys.push(key));
            // As `Grant::account_str` has it.
            let into = grant.split('/').next().unwrap_or_default();
            if into != account {
                with(&mut self.reaching, into, |keys| keys.push(key));
            }
        }
        if head.holder == Holder::AccountKey {
            with(&mut self.people, account, |keys| keys.push(key));
        }
        self.rows.push((key, row.into()));
        Ok(())
    }

    /// All of them, and those of another part that are behind these.
    pub(in crate::registry) fn finish(mut self, more: Self) -> Result<Keys, Unavailable> {
        self.rows.extend(more.rows);
        for (account, labels) in more.names {
            with(&mut self.names, &account, |all| labels.each().for_each(|(label, key)| all.push(label, key)));
        }
        append(&mut self.granted, more.granted);
        append(&mut self.reaching, more.reaching);
        append(&mut self.people, more.people);
        let Self { rows, names, granted, reaching, people } = self;
        let (found, rows) = std::thread::scope(|scope| {
            let rows = scope.spawn(|| Rows::sorted(rows));
            (found(&names, granted, reaching, people), rows.join())
        });
        Ok(Keys { rows: rows.map_err(|_| damaged("a panic while it was put in order"))?, ..found? })
    }
}

/// What is found by keys, without the keys.
fn found(
    names: &HashMap<Box<str>, Labels>,
    granted: Prints,
    reaching: Prints,
    people: Prints,
) -> Result<Keys, Unavailable> {
    let mut keys = Keys::default();
    let account = |text: &str| AccountName::parse(text).map_err(damaged);
    for (name, labels) in names {
        keys.names.insert(account(name)?, labels.sorted()?);
    }
    for (text, holders) in granted {
        let grant = Grant::parse(&text).map_err(damaged)?;
        keys.granted.entry(grant.account_str().to_owned()).or_default().insert(grant, holders.into_iter().collect());
    }
    keys.reaching = reaching.into_iter().map(|(name, holders)| (name.into(), holders.into_iter().collect())).collect();
    for (name, holders) in people {
        keys.people.insert(account(&name)?, holders.into_iter().collect());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::expiry::Expiry;
    use crate::registry::overlay::Overlay;
    use crate::registry::record::KeyRecord;

    fn record(number: u8, name: &str, holder: Holder, grants: &[&str]) -> KeyRecord {
        let key = crate::registry::tests::key(u32::from(number));
        let grants = grants.iter().map(|grant| Grant::parse(grant).unwrap()).collect();
        let name = crate::model::key_name::KeyName::parse(name).unwrap();
        KeyRecord {
            name,
            holder,
            grants,
            key,
            note: crate::model::text::Note::parse("floor 2").unwrap(),
            added_at: jiff::Timestamp::UNIX_EPOCH,
            added_by: "root".to_owned(),
            expiry: Expiry::Never,
            expiry_set: None,
            suspended: None,
            sources: vec!["10.0.0.0/8".parse().unwrap()],
            replaces: None,
            replaced_by: None,
        }
    }

    /// Rows that are read in parts come to what records come to that are put one by one, wherever the parts end.
    #[test]
    fn what_is_read_from_rows_is_what_records_come_to() {
        let records = [
            record(1, "acme/b", Holder::DeployKey, &["acme/app", "acme/@tools", "beta/x/y", "beta/*"]),
            record(2, "acme/a", Holder::DeployKey, &["acme/app", "gamma/**"]),
            record(3, "beta/b", Holder::AccountKey, &[]),
            record(4, "acme/c", Holder::AccountKey, &[]),
            record(5, "beta/a", Holder::DeployKey, &["acme/app"]),
        ];
        let all: BTreeMap<_, _> = records.into_iter().map(|record| (record.fingerprint(), Some(record))).collect();
        let names = all.iter().map(|(key, record)| (record.as_ref().unwrap().name.clone(), Some(*key))).collect();
        let mut expected = Keys::default();
        expected.apply(&Overlay { keys: all.clone(), names, ..Overlay::default() });
        for parted in 0..=all.len() {
            let (mut low, mut high) = (Loading::default(), Loading::default());
            for (number, (key, record)) in all.iter().enumerate() {
                let row = row::encode(record.as_ref().unwrap()).unwrap();
                if number < parted { &mut low } else { &mut high }.row(*key, &row).unwrap();
            }
            assert_eq!(low.finish(high).unwrap(), expected, "{parted}");
        }
    }

    #[test]
    fn a_row_that_is_damaged_is_no_key() {
        let mut row = row::encode(&record(1, "acme/b", Holder::DeployKey, &["acme/app"])).unwrap();
        let key = Fingerprint::from_bytes([1; 32]);
        assert!(Loading::default().row(key, &row).is_ok());
        row[9] ^= 1;
        assert!(Loading::default().row(key, &row).is_err());
        assert!(Loading::default().row(key, &row::encode(&"acme").unwrap()).is_err());
    }
}
