//! What takes more than one row of the index to answer.

use std::collections::BTreeSet;

use super::{AccountName, AccountRecord, IndexReader, KeyName, KeyRecord, Label, Tree, Unavailable};
use super::{damaged, guarded, pair, row};
use crate::registry::rules::View as _;

impl IndexReader {
    /// The key that a name leads to.
    pub(in crate::registry) fn named(&self, name: &KeyName) -> Result<Option<KeyRecord>, Unavailable> {
        // Two reads, and a commit may fall between them. It cannot do so again and again: each takes a disk's sync.
        for _ in 0..8 {
            let Some(fingerprint) = self.holder_of(name)? else { return Ok(None) };
            match self.key(&fingerprint)? {
                Some(record) if record.name == *name => return Ok(Some(record)),
                Some(_) | None => {}
            }
        }
        Err(damaged("a name leads to no key of that name"))
    }

    /// All accounts, by name.
    pub(in crate::registry) fn accounts(&self) -> Result<Vec<AccountRecord>, Unavailable> {
        self.0.accounts.iter().values().map(|value| row::decode(&guarded(|| value)?)).collect()
    }

    /// At most `limit` keys in the order of their names, of one account or of all, after a name.
    pub(in crate::registry) fn keys(
        &self,
        account: Option<&AccountName>,
        after: Option<&KeyName>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, Unavailable> {
        // The least row behind `after` is the one with a zero byte more.
        let after = after.map(|name| [pair(name.account.as_str(), name.label.as_str().as_bytes()), vec![0]].concat());
        let first = account.map(|account| pair(account.as_str(), &[])).max(after).unwrap_or_default();
        let mut rows = self.0.names.range(first..);
        let mut found = Vec::new();
        while found.len() < limit {
            let Some((row, _)) = guarded(|| rows.next().transpose())? else { break };
            let name = name_of(&row)?;
            if account.is_some_and(|account| *account != name.account) {
                break;
            }
            // `None`: it went while the list was made.
            found.extend(self.named(&name)?);
        }
        Ok(found)
    }

    pub(super) fn second_parts<T: Ord>(
        tree: &Tree,
        first: &str,
        read: impl Fn(&[u8], &[u8]) -> Result<T, Unavailable>,
    ) -> Result<BTreeSet<T>, Unavailable> {
        let prefix = pair(first, &[]);
        let mut rows = tree.scan_prefix(&prefix);
        let mut found = BTreeSet::new();
        while let Some((row, value)) = guarded(|| rows.next().transpose())? {
            found.insert(read(row.get(prefix.len()..).unwrap_or_default(), &value)?);
        }
        Ok(found)
    }
}

fn name_of(row: &[u8]) -> Result<KeyName, Unavailable> {
    let text = std::str::from_utf8(row).ok().and_then(|text| text.split_once('\0'));
    let (account, label) = text.ok_or_else(|| damaged("a row is no key's name"))?;
    match (AccountName::parse(account), Label::parse(label)) {
        (Ok(account), Ok(label)) => Ok(KeyName { account, label }),
        (Err(error), _) | (_, Err(error)) => Err(damaged(&format!("a row is no key's name: {error}"))),
    }
}
