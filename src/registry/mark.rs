//! The clean mark: a file that says what a well-stopped index looks like, to the byte.
//!
//! sled cannot be asked whether it is whole: after damage to its files it may open and silently miss rows. So the mark holds
//! a checksum of every file, is written when the index is closed and synced, and is taken away before it is opened again.
//! An index without a mark that fits it is deleted and built from the journal.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::files;
use super::index::{self, Applied, LOCKED_FILE};

/// The index's directory in the registry's.
pub(super) const INDEX: &str = "index";
const NAME: &str = "index.clean";
const NEW: &str = "index.clean.new";
/// How long closing is waited for.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// What is true of an index that was closed well.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) applied: Applied,
    /// Name, length and CRC-32C of every file, by name.
    files: Vec<(String, u64, u32)>,
}

/// Whether there is a mark at all.
pub(super) fn exists(dir: &Path) -> io::Result<bool> {
    dir.join(NAME).try_exists()
}

/// What the mark says, if it fits the index's files. `None`: the index is not to be trusted.
pub(super) fn look(dir: &Path) -> io::Result<Option<Applied>> {
    let text = match std::fs::read(dir.join(NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(mark) = serde_json::from_slice::<Mark>(&text) else { return Ok(None) };
    let fits = survey(&dir.join(INDEX), false).is_ok_and(|files| files == mark.files);
    Ok(fits.then_some(mark.applied))
}

/// Takes the mark away: from now on the index may be changed.
pub(super) fn take(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(dir.join(NAME)) {
        Ok(()) => files::sync_dir(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits until the index is closed, syncs its files, and writes the mark.
pub(super) fn put(dir: &Path, applied: Applied) -> io::Result<()> {
    let index = dir.join(INDEX);
    if !closed(&index)? {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the index does not close"));
    }
    let mark = Mark { applied, files: survey(&index, true)? };
    files::sync_dir(&index)?;
    let new = dir.join(NEW);
    let mut file = files::private().create(true).truncate(true).open(&new)?;
    file.write_all(&serde_json::to_vec(&mark)?)?;
    file.sync_all()?;
    std::fs::rename(&new, dir.join(NAME))?;
    files::sync_dir(dir)
}

/// Waits until the index is closed, and lets it write down where everything is.
pub(super) fn settle(dir: &Path) -> io::Result<()> {
    let index = dir.join(INDEX);
    if !closed(&index)? {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the index does not close"));
    }
    index::settle(&index).map_err(|error| io::Error::other(error.to_string()))
}

/// Deletes the index, and makes its directory anew. Fails when this process still has it open after a while.
pub(super) fn wipe(dir: &Path) -> io::Result<()> {
    let index = dir.join(INDEX);
    if index.join(LOCKED_FILE).is_file() && !closed(&index)? {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the broken index does not close"));
    }
    match std::fs::symlink_metadata(&index) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(&index)?,
        Ok(_) => std::fs::remove_file(&index)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    files::make_dir(&index)
}

/// Waits for the lock that the index holds as long as anything of it is open, its threads included.
fn closed(index: &Path) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        if files::lock(&index.join(LOCKED_FILE))?.is_some() {
            return Ok(true);
        }
        if start.elapsed() > CLOSE_LIMIT {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn survey(dir: &Path, sync: bool) -> io::Result<Vec<(String, u64, u32)>> {
    let mut found = Vec::new();
    let mut buffer = vec![0; 1024 * 1024];
    for item in std::fs::read_dir(dir)? {
        let item = item?;
        // Values too large for the file of all others would be in a directory; there are none.
        if !item.file_type()?.is_file() {
            continue;
        }
        let mut file = File::open(item.path())?;
        if sync {
            file.sync_all()?;
        }
        let (mut length, mut crc) = (0, 0);
        loop {
            let size = file.read(&mut buffer)?;
            if size == 0 {
                break;
            }
            length += size as u64;
            crc = crc32c::crc32c_append(crc, buffer.get(..size).unwrap_or_default());
        }
        found.push((item.file_name().to_string_lossy().into_owned(), length, crc));
    }
    found.sort();
    Ok(found)
}
