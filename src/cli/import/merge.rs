//! Drafts to a declaration: names that are free, keys that are new, and a reason for each that is left out.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Draft, line};
use crate::admin::fault::{Fault, Kind};
use crate::cli::apply::{Dropped, Skipped};
use crate::cli::declared::{Declared, DeclaredKey, Moment};
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, Label, MAX_NAME};
use crate::model::public_key::PublicKey;
use crate::model::text::{Note, printable};
use crate::registry::record::Holder;

/// A value of the command line that is wrong.
pub(super) fn wrong(field: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(Kind::Invalid, error.to_string()).field(field)
}

/// What the registry should have, and what is left out. A key that the account has already keeps its label and its
/// grants, and gets the new ones too: so importing twice changes nothing.
pub(super) fn declare(
    have: &Declared,
    account: &AccountName,
    grants: &[Grant],
    drafts: Vec<Draft>,
) -> (Declared, Vec<Skipped>, Vec<Dropped>) {
    let mut desk = Desk {
        account,
        grants,
        holders: have.keys.iter().map(|key| (key.key.fingerprint(), key)).collect(),
        taken: have.keys.iter().map(|key| key.name.clone()).collect(),
        numbers: HashMap::new(),
        seen: HashMap::new(),
        dropped: BTreeMap::new(),
    };
    let mut want = Declared { accounts: vec![account.clone()], ..Declared::default() };
    let mut skipped = Vec::new();
    for draft in drafts {
        match desk.take(&draft) {
            Ok(key) => want.keys.push(key),
            Err(why) => skipped.push(Skipped::new(&draft.place, &why)),
        }
    }
    let dropped = desk.dropped.into_iter().map(|((option, why), of)| {
        let (place, more) = (of.0, of.1);
        Dropped { option, why: why.to_owned(), place, more }
    });
    let dropped = dropped.collect();
    (want, skipped, dropped)
}

const NO_SHELL: &str = "it has no meaning here, where there is no shell and no forwarding";
const KEPT: &str = "the key was registered already, and keeps what it has: `pullgate key show` tells it";

struct Desk<'a> {
    account: &'a AccountName,
    grants: &'a [Grant],
    holders: HashMap<Fingerprint, &'a DeclaredKey>,
    taken: HashSet<KeyName>,
    /// The last number behind a label.
    numbers: HashMap<String, usize>,
    /// Where each key was found first.
    seen: HashMap<Fingerprint, String>,
    /// Options that are not carried over, and why; where the first one was, and how many more.
    dropped: BTreeMap<(String, &'static str), (String, u64)>,
}

impl Desk<'_> {
    fn take(&mut self, draft: &Draft) -> Result<DeclaredKey, String> {
        let line = line::split(&draft.line).ok_or("it is not a line with a public key")?;
        let meaning = line::meaning(&line.options)?;
        let key = PublicKey::parse(line.key).map_err(|error| error.to_string())?;
        let fingerprint = key.fingerprint();
        if let Some(first) = self.seen.get(&fingerprint) {
            return Err(format!("{first} has the same key"));
        }
        for option in &meaning.without_effect {
            self.drop_option(option, NO_SHELL, draft);
        }
        let key = match self.holders.get(&fingerprint).copied() {
            Some(holder) if holder.name.account != *self.account || holder.kind != Holder::DeployKey => {
                return Err(format!("it is registered already, as {}", holder.name));
            }
            Some(holder) => {
                let mut key = holder.clone();
                if !meaning.from.is_empty() && meaning.from != key.from {
                    self.drop_option("from", KEPT, draft);
                }
                if meaning.expires.is_some() && meaning.expires != key.expires.map(|moment| moment.0) {
                    self.drop_option("expiry-time", KEPT, draft);
                }
                let more: Vec<_> = self.grants.iter().filter(|grant| !key.grants.contains(grant)).cloned().collect();
                key.grants.extend(more);
                key
            }
            None => DeclaredKey {
                name: self.name(&draft.called, fingerprint).ok_or("there is no label for it")?,
                key,
                kind: Holder::DeployKey,
                grants: self.grants.to_vec(),
                from: meaning.from,
                expires: meaning.expires.map(Moment),
                // A comment that can be no note, as an empty one, is none.
                note: Note::parse(&printable(line.comment, 100)).ok(),
                suspended: None,
                replaced: None,
            },
        };
        self.seen.insert(fingerprint, draft.place.clone());
        Ok(key)
    }

    fn drop_option(&mut self, option: &str, why: &'static str, draft: &Draft) {
        let option = printable(&option.to_ascii_lowercase(), 40);
        let first = || (draft.place.clone(), 0);
        self.dropped.entry((option, why)).and_modify(|of| of.1 += 1).or_insert_with(first);
    }

    /// A label that nobody has: what the key is called, made a name; with a number when it is taken.
    fn name(&mut self, called: &str, fingerprint: Fingerprint) -> Option<KeyName> {
        /// Room for a number at the end.
        const LONGEST: usize = MAX_NAME - 8;
        let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
        let base: String = called.chars().map(kept).take(LONGEST).collect();
        let base = match Label::parse(base.trim_matches(['-', '.', '_'])) {
            Ok(label) => label.to_string(),
            Err(_) => {
                let print = fingerprint.to_string();
                let print = print.trim_start_matches("SHA256:").chars().filter(char::is_ascii_alphanumeric);
                format!("key-{}", print.take(12).collect::<String>())
            }
        };
        let number = self.numbers.entry(base.clone()).or_default();
        loop {
            *number += 1;
            let label = if *number == 1 { base.clone() } else { format!("{base}-{number}") };
            let name = KeyName { account: self.account.clone(), label: Label::parse(&label).ok()? };
            if self.taken.insert(name.clone()) {
                return Some(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
