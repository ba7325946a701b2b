//! Floor 1: when each key was last used, and through which grant.
//!
//! Nothing here decides anything, so nothing here is durable at once: uses are kept in memory and written to a file of their
//! own by [`Usage::write`], which the daemon calls every [`EVERY`]. A crash loses what came after the last time.
//! The file has one line of JSON for each key that was used since the line before; the last line of a key counts. A line that
//! says `forgotten` takes the key out: it was removed from the registry.
//!
//! A fetch waits for nothing but the memory: the disk has a lock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::fingerprint::Fingerprint;
use crate::model::repo_path::RepoPath;

/// How often the daemon writes.
pub const EVERY: Duration = Duration::from_secs(30);
/// The most grants that are kept of one key: those that were used last.
const MAX_GRANTS: usize = 256;
/// The file is written anew when it is larger than this, in bytes, and twice as large as it has to be.
const SMALL: u64 = 1024 * 1024;
/// How many keys are taken from memory at a time while the file is written anew.
const PIECE: usize = 1000;

/// One use of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// When it was allowed.
    pub at: Timestamp,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// What was fetched.
    pub repository: RepoPath,
    /// The client's identification string, made printable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// What is known of one key's uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// The last one.
    pub last: Use,
    /// The last one through each grant, by the grant as it is written.
    #[serde(default)]
    pub grants: BTreeMap<String, Use>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line<U> {
    Used {
        key: Fingerprint,
        #[serde(flatten)]
        uses: U,
    },
    Forgotten {
        key: Fingerprint,
        forgotten: bool,
    },
}

/// A key, and what there is to write of it: nothing when it was forgotten.
type Shared = (Fingerprint, Option<Arc<KeyUse>>);

/// What is known. Shared values, so that whoever writes them down takes no copy while a fetch waits.
#[derive(Debug, Default)]
struct Kept {
    uses: BTreeMap<Fingerprint, Arc<KeyUse>>,
    changed: BTreeSet<Fingerprint>,
}

/// The file.
#[derive(Debug, Default)]
struct Store {
    path: Option<PathBuf>,
    /// Its size, and its size when it was last written anew.
    size: u64,
    least: u64,
    /// Whether it may end in the middle of a line, which the next one must not become a part of.
    torn: bool,
}

/// The uses of all keys. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    kept: Arc<Mutex<Kept>>,
    store: Arc<Mutex<Store>>,
}

impl Usage {
    /// Reads what was written. A missing file is an empty one; a line that cannot be read is left out, with a warning.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut kept = Kept::default();
        let mut store = Store { path: Some(path.to_owned()), ..Store::default() };
        match File::open(path) {
            Ok(mut file) => {
                store.size = file.metadata()?.len();
                store.torn = !ends_in_a_line_end(&mut file)?;
                for line in BufReader::new(file).split(b'\n') {
                    let line = line?;
                    if line.is_empty() {
                        continue;
                    }
                    match serde_json::from_slice::<Line<KeyUse>>(&line) {
                        Ok(Line::Used { key, uses }) => drop(kept.uses.insert(key, Arc::new(uses))),
                        Ok(Line::Forgotten { key, forgotten: _ }) => drop(kept.uses.remove(&key)),
                        Err(error) => tracing::warn!(%error, "a record of a key's use cannot be read: it is left out"),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self { kept: Arc::new(Mutex::new(kept)), store: Arc::new(Mutex::new(store)) })
    }

    /// Notes a use of a key, through a grant.
    pub fn note(&self, key: Fingerprint, grant: &str, what: &Use) {
        let mut kept = self.lock();
        let new = || Arc::new(KeyUse { last: what.clone(), grants: BTreeMap::new() });
        let uses = Arc::make_mut(kept.uses.entry(key).or_insert_with(new));
        uses.last = what.clone();
        uses.grants.insert(grant.to_owned(), what.clone());
        if uses.grants.len() > MAX_GRANTS
            && let Some(oldest) = uses.grants.iter().min_by_key(|(_, used)| used.at).map(|(grant, _)| grant.clone())
        {
            uses.grants.remove(&oldest);
        }
        kept.changed.insert(key);
    }

    /// Forgets a key that was removed.
    pub fn forget(&self, key: &Fingerprint) {
        let mut kept = self.lock();
        if kept.uses.remove(key).is_some() {
            kept.changed.insert(*key);
        }
    }

    /// What is known of a key's uses since it was added: what was before was another registration of it.
    #[must_use]
    pub fn of(&self, key: &Fingerprint, since: Timestamp) -> Option<KeyUse> {
        let uses = Arc::clone(self.lock().uses.get(key)?);
        let mut uses = KeyUse::clone(&uses);
        uses.grants.retain(|_, used| used.at >= since);
        (uses.last.at >= since).then_some(uses)
    }

    /// Writes what changed since the last time. Fetches go on meanwhile.
    ///
    /// # Errors
    /// When the file cannot be written; what was not written is tried again the next time.
    pub fn write(&self) -> io::Result<()> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = store.path.clone() else { return Ok(()) };
        let (changed, lines) = {
            let mut kept = self.lock();
            let changed = std::mem::take(&mut kept.changed);
            let lines: Vec<Shared> = changed.iter().map(|key| (*key, kept.uses.get(key).cloned())).collect();
            (changed, lines)
        };
        if changed.is_empty() {
            return Ok(());
        }
        let anew = store.size > SMALL && store.size > store.least.saturating_mul(2);
        let written = if anew { self.write_anew(&path, &mut store) } else { append(&path, &lines, &mut store) };
        if written.is_err() {
            self.lock().changed.extend(changed);
        }
        written
    }

    fn write_anew(&self, path: &Path, store: &mut Store) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let (mut after, mut size) = (None, 0);
        loop {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let piece: Vec<Shared> = {
                let kept = self.lock();
                let rest = kept.uses.range((start, Bound::Unbounded));
                rest.take(PIECE).map(|(key, uses)| (*key, Some(Arc::clone(uses)))).collect()
            };
            let Some((last, _)) = piece.last() else { break };
            after = Some(*last);
            let text = text(&piece)?;
            file.write_all(&text)?;
            size += text.len() as u64;
        }
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        (store.size, store.least, store.torn) = (size, size, false);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(lines: &[Shared]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for (key, uses) in lines {
        let line = match uses {
            Some(uses) => Line::Used { key: *key, uses: &**uses },
            None => Line::Forgotten { key: *key, forgotten: true },
        };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    Ok(text)
}

fn append(path: &Path, lines: &[Shared], store: &mut Store) -> io::Result<()> {
    let mut text = text(lines)?;
    if store.torn {
        text.insert(0, b'\n');
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    // Until all of it is there.
    store.torn = true;
    file.write_all(&text)?;
    store.torn = false;
    store.size = file.metadata()?.len();
    Ok(())
}

fn ends_in_a_line_end(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    file.rewind()?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(at: &str, repo: &str) -> Use {
        Use { at: at.parse().unwrap(), address: None, repository: RepoPath::parse(repo).unwrap(), client: None }
    }

    #[test]
    fn uses_survive_and_a_torn_line_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("usage.jsonl");
        let (a, b) = (Fingerprint::of_blob(b"a"), Fingerprint::of_blob(b"b"));
        let usage = Usage::open(&path).unwrap();
        usage.note(a, "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
        usage.note(a, "acme/lib", &used("2026-01-02T00:00:00Z", "acme/lib"));
        usage.write().unwrap();
        usage.note(b, "acme/*", &used("2026-01-03T00:00:00Z", "acme/app"));
        usage.note(a, "acme/*", &used("2026-01-04T00:00:00Z", "acme/x"));
        usage.write().unwrap();
        std::io::Write::write_all(&mut OpenOptions::new().append(true).open(&path).unwrap(), b"{\"key\":\"SHA2")
            .unwrap();
        let again = Usage::open(&path).unwrap();
        let start = "2020-01-01T00:00:00Z".parse().unwrap();
        for usage in [&usage, &again] {
            let uses = usage.of(&a, start).unwrap();
            assert_eq!(uses.last, used("2026-01-04T00:00:00Z", "acme/x"));
            assert_eq!(uses.grants["acme/*"], uses.last);
            assert_eq!(uses.grants["acme/lib"].repository.as_str(), "acme/lib");
            assert!(usage.of(&b, start).is_some());
            // A key that was registered anew was not used yet; nor was a grant.
            assert_eq!(usage.of(&a, "2026-02-01T00:00:00Z".parse().unwrap()), None);
            assert_eq!(usage.of(&a, "2026-01-03T00:00:00Z".parse().unwrap()).unwrap().grants.len(), 1);
        }
        // What is written behind the torn line is not swallowed by it.
        again.note(b, "acme/*", &used("2026-01-05T00:00:00Z", "acme/y"));
        again.write().unwrap();
        let third = Usage::open(&path).unwrap();
        assert_eq!(third.of(&b, start).unwrap().last, used("2026-01-05T00:00:00Z", "acme/y"));
        assert_eq!(third.of(&a, start), again.of(&a, start));
    }

    #[test]
    fn the_file_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("usage.jsonl");
        let usage = Usage::open(&path).unwrap();
        let client = Some("x".repeat(100_000));
        for second in 0..60 {
            let what = Use { client: client.clone(), ..used(&format!("2026-01-01T00:00:{second:02}Z"), "acme/app") };
            usage.note(Fingerprint::of_blob(b"a"), "acme/*", &what);
            usage.write().unwrap();
        }
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size < SMALL + 500_000, "{size}");
        let last = Usage::open(&path).unwrap().of(&Fingerprint::of_blob(b"a"), Timestamp::UNIX_EPOCH).unwrap().last;
        assert_eq!(last.at, "2026-01-01T00:00:59Z".parse().unwrap());
    }

    #[test]
    fn a_removed_key_is_forgotten_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("usage.jsonl");
        let (a, b) = (Fingerprint::of_blob(b"a"), Fingerprint::of_blob(b"b"));
        let usage = Usage::open(&path).unwrap();
        usage.note(a, "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
        usage.note(b, "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
        usage.write().unwrap();
        usage.forget(&a);
        usage.forget(&Fingerprint::of_blob(b"never seen"));
        assert_eq!(usage.of(&a, Timestamp::UNIX_EPOCH), None);
        usage.write().unwrap();
        let again = Usage::open(&path).unwrap();
        assert_eq!(again.lock().uses.keys().collect::<Vec<_>>(), [&b]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
        // It may come back.
        again.note(a, "acme/*", &used("2026-01-02T00:00:00Z", "acme/app"));
        again.write().unwrap();
        assert!(Usage::open(&path).unwrap().of(&a, Timestamp::UNIX_EPOCH).is_some());
    }

    #[test]
    fn what_cannot_be_written_is_written_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder/usage.jsonl");
        let usage = Usage::open(&path).unwrap();
        let a = Fingerprint::of_blob(b"a");
        usage.note(a, "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
        assert!(usage.write().is_err());
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        usage.write().unwrap();
        assert!(Usage::open(&path).unwrap().of(&a, Timestamp::UNIX_EPOCH).is_some());
    }

    /// A fetch notes its use while the disk is being written to.
    #[test]
    fn nobody_waits_for_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let usage = Usage::open(&dir.path().join("usage.jsonl")).unwrap();
        let disk = usage.store.lock().unwrap();
        usage.note(Fingerprint::of_blob(b"a"), "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
        assert!(usage.of(&Fingerprint::of_blob(b"a"), Timestamp::UNIX_EPOCH).is_some());
        drop(disk);
    }
}
