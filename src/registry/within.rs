//! What one commit changed, out of the journal: for questions about what its audit record has no room for.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::change::Change;
use super::journal::NAME;
use super::journal::bounded::Bounded;
use super::journal::entry::Entry;
use super::journal::walk::{self, Fault, Kind};
use super::open::OpenError;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;

/// How many changes are told.
const MOST: usize = 1000;

/// The changes of the entries from `first` to `last`, in words, that are `wanted` by those words; at most 1000. `None` when
/// no journal has them one by one: what was compacted is in a journal that was kept, or in none; nor when none was found by its words,
/// and keys may have names that are not in there. A daemon may have it open.
///
/// # Errors
/// [`OpenError`]
pub fn within(
    dir: &Path,
    first: u64,
    last: u64,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Option<Vec<String>>, OpenError> {
    for file in journals(dir)? {
        if let Some(told) = of_one(&file, first, last, wanted)? {
            return Ok(Some(told));
        }
    }
    Ok(None)
}

/// The journal in use, and those that compaction left.
fn journals(dir: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let mut all = vec![dir.join(NAME)];
    for item in std::fs::read_dir(dir)? {
        let item = item?;
        let name = item.file_name().to_string_lossy().into_owned();
        let range =
            name.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.split_once('-'));
        if range.is_some_and(|(first, last)| is_number(first) && is_number(last)) {
            all.push(item.path());
        }
    }
    Ok(all)
}

fn of_one(path: &Path, first: u64, last: u64, wanted: &dyn Fn(&str) -> bool) -> Result<Option<Vec<String>>, OpenError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut told = Vec::new();
    // What keys are called that are asked for by their names; a million others need not be remembered.
    let mut names: HashMap<Fingerprint, KeyName> = HashMap::new();
    // Whether a key may be called what no addition here says.
    let mut moved = false;
    let end = walk::walk(Bounded::new(file, length), |passing| {
        if passing.kind != Kind::Entry || passing.seq > last {
            return Ok(());
        }
        let entry: Entry = serde_json::from_slice(passing.line).map_err(|error| Fault::Io(error.into()))?;
        for change in &entry.changes {
            if entry.seq >= first && told.len() < MOST {
                let words = change.words(&|key| names.get(key).cloned(), usize::MAX);
                if wanted(&words) {
                    told.push(words);
                }
            }
            moved |= matches!(change, Change::KeyRename { .. } | Change::KeyRotate { .. });
            if let Change::KeyAdd { key, name, .. } = change
                && wanted(&name.to_string())
            {
                names.insert(key.fingerprint(), name.clone());
            }
        }
        Ok(())
    })?;
    // Of keys that were added before the journal begins, or are called something else since, only the fingerprints are here.
    let is_sure = !told.is_empty() || (end.base == 0 && !moved);
    Ok((end.base < first && end.seq >= last && is_sure).then_some(told))
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
    fn changes_are_found_in_the_commit_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (_lookup, amend) = open(dir.path()).unwrap();
        amend.commit("alice", &[add("a")]).unwrap();
        // Several entries, and one commit.
        let many = amend.commit("bob", &(0..5000).map(|n| add(&format!("n{n}"))).collect::<Vec<_>>()).unwrap();
        let asked = |first, last, name: &str| {
            let wanted = |words: &str| words.ends_with(&format!(" {name}"));
            within(dir.path(), first, last, &wanted).unwrap()
        };
        assert_eq!(asked(many.first, many.seq, "n4999").unwrap(), ["added account n4999"]);
        assert_eq!(asked(many.first, many.seq, "a").unwrap(), [""; 0]);
        assert_eq!(asked(1, 1, "a").unwrap(), ["added account a"]);
        assert_eq!(asked(many.first, many.seq + 1, "a"), None, "it is not there yet");
    }
}
