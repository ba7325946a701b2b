//! Floor 1: when each key was last used, and through which grant.
//!
//! Nothing here decides anything, so nothing here is durable at once: uses are kept in memory and written to a file of their
//! own by [`Usage::write`], which the daemon calls every [`EVERY`]. A crash loses what came after the last time.
//! The file has one line for each key that was used since the line before; the last line of a key counts. A line that
//! says `forgotten` takes the key out: it was removed from the registry. A line is JSON, a tab, and the CRC-32C of the JSON in
//! eight hexadecimal digits; lines of older versions end behind the JSON.
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
    /// Reads what was written. A missing file is an empty one; lines that cannot be read are left out, with a warning that
    /// says how many they are.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut kept = Kept::default();
        let mut store = Store { path: Some(path.to_owned()), ..Store::default() };
        let (mut damaged, mut why) = (0_u64, String::new());
        match File::open(path) {
            Ok(mut file) => {
                store.size = file.metadata()?.len();
                store.torn = !ends_in_a_line_end(&mut file)?;
                for line in BufReader::new(file).split(b'\n') {
                    let line = line?;
                    if line.is_empty() {
                        continue;
                    }
                    match parse(&line) {
                        Ok(Line::Used { key, uses }) => drop(kept.uses.insert(key, Arc::new(uses))),
                        Ok(Line::Forgotten { key, forgotten: _ }) => drop(kept.uses.remove(&key)),
                        Err(error) => {
                            (damaged, why) = (damaged + 1, error);
                        }
                    }
                }
                if damaged > 0 {
                    let file = path.display();
                    tracing::warn!(%file, lines = damaged, why, "records of keys' uses cannot be read: they are left out");
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
        let line = serde_json::to_vec(&line)?;
        text.extend_from_slice(&line);
        text.extend_from_slice(checksum(&line).as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

/// What stands behind the JSON of a line. No raw tab can be in the JSON.
fn checksum(json: &[u8]) -> String {
    format!("\t{:08x}", crc32c::crc32c(json))
}

fn parse(line: &[u8]) -> Result<Line<KeyUse>, String> {
    let (json, sum) = match line.iter().rposition(|byte| *byte == b'\t') {
        Some(at) => line.split_at(at),
        None => (line, &[][..]),
    };
    if !sum.is_empty() && sum != checksum(json).as_bytes() {
        return Err("the checksum of a line does not fit".to_owned());
    }
    serde_json::from_slice(json).map_err(|error| error.to_string())
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
mod tests;
