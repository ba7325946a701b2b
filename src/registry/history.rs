//! What the journal says of changes that somebody missed, in words.

use std::fs::File;
use std::path::Path;

use jiff::Timestamp;

use super::change::Change;
use super::journal::bounded::Bounded;
use super::journal::entry::Entry;
use super::journal::walk::{self, Fault, Kind};
use super::journal::{NAME, known};
use super::open::OpenError;

/// How many changes of one commit are told; the rest is counted.
const TOLD: usize = 3;

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its first entry; the same as the last but for a commit that is very large.
    pub first: u64,
    /// Its last entry.
    pub seq: u64,
    /// When it was.
    pub time: Timestamp,
    /// The operator.
    pub by: String,
    /// What was done.
    pub what: String,
}

/// The number of the last change that somebody was told is done; `None` when that was not written down. While the registry is
/// open, it is the last change.
///
/// # Errors
/// The file cannot be read.
pub fn acknowledged(dir: &Path) -> std::io::Result<Option<u64>> {
    known::read(dir)
}

/// The commits behind entry `after` that the journal in `dir` has one by one, at most `most` of them and the newest; those that
/// are in a snapshot are not. For whoever has the registry open: nothing may be committed meanwhile.
///
/// # Errors
/// [`OpenError`]
pub fn history(dir: &Path, after: u64, most: usize) -> Result<Vec<Past>, OpenError> {
    let file = File::open(dir.join(NAME))?;
    let length = file.metadata()?.len();
    let mut found = std::collections::VecDeque::new();
    let mut begun: Option<(u64, Vec<String>, usize)> = None;
    walk::walk(Bounded::new(file, length), |passing| {
        if passing.kind != Kind::Entry || passing.seq <= after {
            return Ok(());
        }
        let entry: Entry = serde_json::from_slice(passing.line).map_err(|error| Fault::Io(error.into()))?;
        let (first, mut told, mut count) = begun.take().unwrap_or((entry.seq, Vec::new(), 0));
        count += entry.changes.len();
        told.extend(entry.changes.iter().map(words).take(TOLD.saturating_sub(told.len())));
        if entry.more {
            begun = Some((first, told, count));
            return Ok(());
        }
        let rest = count - told.len();
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let what = format!("{}{more}", told.join("; "));
        if found.len() == most {
            found.pop_front();
        }
        found.push_back(Past { first, seq: entry.seq, time: entry.time, by: entry.by, what });
        Ok(())
    })?;
    Ok(found.into())
}

/// A change in a few words.
fn words(change: &Change) -> String {
    match change {
        Change::AccountAdd { account } => format!("added account {account}"),
        Change::AccountRemove { account } | Change::AccountClose { account } => format!("removed account {account}"),
        Change::KeyAdd { key, name, .. } => format!("added key {name} ({})", key.fingerprint()),
        Change::KeyRemove { key } => format!("removed key {key}"),
        Change::KeyRename { key, label } => format!("renamed key {key} to {label}"),
        Change::KeyNote { key, .. } => format!("changed the note of key {key}"),
        Change::KeyGrant { key, grants } => format!("granted {} to key {key}", listed(grants)),
        Change::KeyUngrant { key, grants } => format!("took {} from key {key}", listed(grants)),
        Change::KeyExpire { key, expiry } => format!("set the expiry of key {key} to {expiry}"),
        Change::KeySuspend { key, .. } => format!("suspended key {key}"),
        Change::KeyResume { key } => format!("resumed key {key}"),
        Change::KeySources { key, .. } => format!("set the networks of key {key}"),
        Change::KeyRotate { old, new, .. } => format!("replaced key {old} by key {}", new.fingerprint()),
        Change::KeyOverlap { key, until } => format!("ended the overlap of key {key} at {until}"),
        Change::GroupAdd { account, group, repos } => format!("added {} to {account}/@{group}", listed(repos)),
        Change::GroupDrop { account, group, repos } => format!("took {} from {account}/@{group}", listed(repos)),
        Change::GroupRemove { account, group } => format!("removed group {account}/@{group}"),
        Change::RepoPublish { repo } => format!("published {repo}"),
        Change::RepoUnpublish { repo } => format!("unpublished {repo}"),
        Change::RepoRemove { repo } => format!("removed repository {repo}"),
    }
}

fn listed<T: std::fmt::Display>(items: &[T]) -> String {
    let first = items.iter().take(TOLD).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match items.len().checked_sub(TOLD) {
        Some(more @ 1..) => format!("{first} and {more} more"),
        Some(0) | None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::open;
    use super::*;
    use crate::model::name::AccountName;

    fn add(name: &str) -> Change {
        Change::AccountAdd { account: AccountName::parse(name).unwrap() }
    }

    #[test]
    fn commits_are_told_in_order_from_any_entry_on() {
        let dir = tempfile::tempdir().unwrap();
        let (_lookup, amend) = open(dir.path()).unwrap();
        amend.commit("alice", &[add("a")]).unwrap();
        amend.commit("bob", &[add("b"), add("c"), add("d"), add("e")]).unwrap();
        // Several entries, and one commit.
        amend.commit("carol", &(0..5000).map(|n| add(&format!("n{n}"))).collect::<Vec<_>>()).unwrap();
        let seq = acknowledged(dir.path()).unwrap().unwrap();
        let all = history(dir.path(), 0, 10).unwrap();
        let told: Vec<_> = all.iter().map(|past| (past.first, past.by.as_str(), past.what.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "alice", "added account a"),
                (2, "bob", "added account b; added account c; added account d and 1 more"),
                (3, "carol", "added account n0; added account n1; added account n2 and 4997 more"),
            ]
        );
        assert!(all[2].seq == seq && seq > 3, "{all:?}");
        assert_eq!(history(dir.path(), 1, 10).unwrap(), all[1..]);
        assert_eq!(history(dir.path(), 0, 1).unwrap(), all[2..]);
        assert_eq!(history(dir.path(), seq, 10).unwrap(), []);
    }
}
