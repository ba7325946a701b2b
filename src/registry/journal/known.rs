//! The number of the last entry that was synced, beside the journal.
//!
//! A journal that lost its end looks like a shorter journal. So the number is written down after each sync of the journal,
//! in place and without a sync of its own: it outlives the process, and after a power cut it is at most too small. A journal
//! that ends before it has lost changes that were acknowledged, and is not served from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::super::files;

/// Its name in the registry's directory.
pub(in super::super) const NAME: &str = "acknowledged";
const MAGIC: [u8; 4] = *b"pgak";
const LENGTH: usize = 16;

/// The open file.
#[derive(Debug)]
pub(super) struct Known(Option<File>);

impl Known {
    /// Opens it, or makes it. Without it the registry works, and would not notice a journal that is cut: so that is said, and
    /// no reason not to serve.
    pub(super) fn open(dir: &Path, seq: u64) -> Self {
        let path = dir.join(NAME);
        let open = || -> io::Result<File> {
            let new = !path.try_exists()?;
            let file = files::private().create(true).truncate(false).open(&path)?;
            file.write_all_at(&encode(seq), 0)?;
            if new {
                file.sync_all()?;
                files::sync_dir(dir)?;
            }
            Ok(file)
        };
        Self(open().inspect_err(failed).ok())
    }

    /// Writes the number down.
    pub(super) fn put(&mut self, seq: u64) {
        if let Some(file) = &self.0
            && let Err(error) = file.write_all_at(&encode(seq), 0)
        {
            failed(&error);
            self.0 = None;
        }
    }

    /// Makes it durable. For a clean stop.
    pub(super) fn sync(&self) {
        if let Some(file) = &self.0
            && let Err(error) = file.sync_all()
        {
            failed(&error);
        }
    }
}

fn failed(error: &io::Error) {
    tracing::warn!(%error, "the number of the last change cannot be written down: a journal that is cut would not be noticed");
}

fn encode(seq: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let number = seq.to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&MAGIC), &number).to_le_bytes();
    bytes.iter_mut().zip(MAGIC.iter().chain(&number).chain(&crc)).for_each(|(to, from)| *to = *from);
    bytes
}

/// The number that was written down; `None` when there is none that can be read.
pub(in super::super) fn read(dir: &Path) -> io::Result<Option<u64>> {
    let bytes = match std::fs::read(dir.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let number =
        bytes.get(MAGIC.len()..MAGIC.len() + 8).and_then(|number| number.try_into().ok()).map(u64::from_le_bytes);
    let good = number.filter(|number| bytes == encode(*number));
    if good.is_none() {
        tracing::warn!(file = NAME, "it is damaged, and written anew: it only says how long the journal was");
    }
    Ok(good)
}

/// Writes the number of a journal that was put in the place of another one.
pub(in super::super) fn replace(dir: &Path, seq: u64) -> io::Result<()> {
    let file = files::private().create(true).truncate(true).open(dir.join(NAME))?;
    file.write_all_at(&encode(seq), 0)?;
    file.sync_all()
}
