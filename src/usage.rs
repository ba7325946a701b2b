//! Floor 1: when each key was last used, and through which grant.
//!
//! Nothing here decides anything, so nothing here is durable at once: uses are kept in memory and written to a file of their
//! own by [`Usage::write`], which the daemon calls every [`EVERY`]. A crash loses what came after the last time.
//! The file has one line of JSON for each key that was used since the line before; the last line of a key counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
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

#[derive(Serialize, Deserialize)]
struct Line {
    key: Fingerprint,
    #[serde(flatten)]
    uses: KeyUse,
}

#[derive(Debug, Default)]
struct Kept {
    uses: HashMap<Fingerprint, KeyUse>,
    changed: HashSet<Fingerprint>,
    /// The file's size, and its size when it was last written anew.
    size: u64,
    least: u64,
}

/// The uses of all keys. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    kept: Arc<Mutex<Kept>>,
    path: Option<Arc<PathBuf>>,
}

impl Usage {
    /// Reads what was written. A missing file is an empty one; a line that cannot be read is left out, with a warning.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut kept = Kept::default();
        match File::open(path) {
            Ok(file) => {
                kept.size = file.metadata()?.len();
                for line in BufReader::new(file).split(b'\n') {
                    match serde_json::from_slice::<Line>(&line?) {
                        Ok(line) => drop(kept.uses.insert(line.key, line.uses)),
                        Err(error) => tracing::warn!(%error, "a record of a key's use cannot be read: it is left out"),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self { kept: Arc::new(Mutex::new(kept)), path: Some(Arc::new(path.to_owned())) })
    }

    /// Notes a use of a key, through a grant.
    pub fn note(&self, key: Fingerprint, grant: &str, what: &Use) {
        let mut kept = self.lock();
        let uses = kept.uses.entry(key).or_insert_with(|| KeyUse { last: what.clone(), grants: BTreeMap::new() });
        uses.last = what.clone();
        uses.grants.insert(grant.to_owned(), what.clone());
        if uses.grants.len() > MAX_GRANTS
            && let Some(oldest) = uses.grants.iter().min_by_key(|(_, used)| used.at).map(|(grant, _)| grant.clone())
        {
            uses.grants.remove(&oldest);
        }
        kept.changed.insert(key);
    }

    /// What is known of a key's uses since it was added: what was before was another registration of it.
    #[must_use]
    pub fn of(&self, key: &Fingerprint, since: Timestamp) -> Option<KeyUse> {
        let mut uses = self.lock().uses.get(key)?.clone();
        uses.grants.retain(|_, used| used.at >= since);
        (uses.last.at >= since).then_some(uses)
    }

    /// Writes what changed since the last time.
    ///
    /// # Errors
    /// When the file cannot be written; what was not written is tried again the next time.
    pub fn write(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut kept = self.lock();
        if kept.changed.is_empty() {
            return Ok(());
        }
        if kept.size > SMALL && kept.size > kept.least.saturating_mul(2) {
            return write_anew(path, &mut kept);
        }
        let text = lines(kept.changed.iter().filter_map(|key| Some((key, kept.uses.get(key)?))))?;
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path.as_path())?;
        file.write_all(&text)?;
        kept.size = file.metadata()?.len();
        kept.changed.clear();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lines<'a>(uses: impl Iterator<Item = (&'a Fingerprint, &'a KeyUse)>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for (key, uses) in uses {
        serde_json::to_writer(&mut text, &Line { key: *key, uses: uses.clone() })?;
        text.push(b'\n');
    }
    Ok(text)
}

fn write_anew(path: &Path, kept: &mut Kept) -> io::Result<()> {
    let new = path.with_extension("new");
    let text = lines(kept.uses.iter())?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    kept.size = text.len() as u64;
    kept.least = kept.size;
    kept.changed.clear();
    Ok(())
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
}
