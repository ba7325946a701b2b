//! What the journal says of changes that somebody missed, in words.

use std::fs::File;
use std::path::Path;

use jiff::Timestamp;

use super::journal::bounded::Bounded;
use super::journal::entry::Entry;
use super::journal::walk::{self, Fault, Kind};
use super::journal::{NAME, known};
use super::open::OpenError;
use super::words::Names;
use crate::model::details::{Details, Gathering};

/// How many changes of one commit, and names of one change, are told in its sentence.
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
    /// The changes one by one, if the sentence does not tell all of them.
    pub details: Details,
}

/// A commit on the way past.
struct Begun {
    first: u64,
    told: Vec<String>,
    count: usize,
    whole: bool,
    details: Gathering,
}

impl Begun {
    fn take(&mut self, entry: &Entry, names: Names<'_>) {
        for change in &entry.changes {
            let all = |most| change.words(names, most);
            self.count += 1;
            if self.told.len() < TOLD {
                self.told.push(all(TOLD));
                self.whole &= self.told.last() == Some(&all(usize::MAX));
            }
            let name = change.key().and_then(names);
            let accounts = change.accounts().chain(name.as_ref().map(|name| name.account.as_str()));
            self.details.put(|| all(usize::MAX), accounts);
        }
    }

    fn end(self, entry: Entry) -> Past {
        let Self { first, told, count, whole, details } = self;
        let rest = count - told.len();
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let what = format!("{}{more}", told.join("; "));
        let details = if rest == 0 && whole { Details::default() } else { details.end() };
        Past { first, seq: entry.seq, time: entry.time, by: entry.by, what, details }
    }
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
/// are in a snapshot are not. What keys are called is asked for. For whoever has the registry open: nothing may be committed meanwhile.
///
/// # Errors
/// [`OpenError`]
pub fn history(dir: &Path, after: u64, most: usize, names: Names<'_>) -> Result<Vec<Past>, OpenError> {
    let file = File::open(dir.join(NAME))?;
    let length = file.metadata()?.len();
    let mut found = std::collections::VecDeque::new();
    let mut begun: Option<Begun> = None;
    walk::walk(Bounded::new(file, length), |passing| {
        if passing.kind != Kind::Entry || passing.seq <= after {
            return Ok(());
        }
        let entry: Entry = serde_json::from_slice(passing.line).map_err(|error| Fault::Io(error.into()))?;
        let start =
            || Begun { first: entry.seq, told: Vec::new(), count: 0, whole: true, details: Gathering::default() };
        let mut commit = begun.take().unwrap_or_else(start);
        commit.take(&entry, names);
        if entry.more {
            begun = Some(commit);
            return Ok(());
        }
        if found.len() == most {
            found.pop_front();
        }
        found.push_back(commit.end(entry));
        Ok(())
    })?;
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    use super::super::change::Change;
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
        let all = history(dir.path(), 0, 10, &|_| None).unwrap();
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
        // What the sentence does not tell is told one by one.
        assert_eq!(all[0].details, Details::default());
        assert_eq!(all[1].details.told, ["b", "c", "d", "e"].map(|name| format!("added account {name}")));
        assert_eq!(all[2].details.told.len() as u64 + all[2].details.left_out, 5000);
        assert_eq!(history(dir.path(), 1, 10, &|_| None).unwrap(), all[1..]);
        assert_eq!(history(dir.path(), 0, 1, &|_| None).unwrap(), all[2..]);
        assert_eq!(history(dir.path(), seq, 10, &|_| None).unwrap(), []);
    }
}
