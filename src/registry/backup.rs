//! Taking the registry to another place, and back. The journal is the truth, so a copy of it is a backup.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::journal::bounded::Bounded;
use super::journal::replay::replay;
use super::journal::walk::{self, Fault};
use super::journal::{Journal, NAME, NEW, known};
use super::open::{LOCK, OpenError};
use super::verify::walk_live;
use super::{files, mark};

/// The name of a journal that a restored one took the place of; a number follows.
const REPLACED: &str = "journal.replaced";

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedUp {
    /// The last entry in it.
    pub seq: u64,
    /// Its size.
    pub bytes: u64,
}

/// Writes the journal of the registry in `dir` to `out`, up to the last entry that is whole. The registry may be open in a
/// daemon meanwhile, and changes: what is appended later is not in it, and what is in it belongs together.
///
/// # Errors
/// [`OpenError`]; a journal that is damaged is not backed up, since the backup could not be restored.
pub fn backup(dir: &Path, out: &mut dyn Write) -> Result<BackedUp, OpenError> {
    // When the journal is compacted meanwhile, this file is the one before, and still whole.
    let (file, end) = walk_live(&dir.join(NAME))?;
    let bytes = io::copy(&mut Bounded::new(file, end.offset), out)?;
    Ok(BackedUp { seq: end.seq, bytes })
}

/// What is allowed when a backup is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// To take the place of a registry that is not empty. Its journal is kept under another name.
    pub replace: bool,
    /// To take what stands before the damage when the file is damaged.
    pub accept_loss: bool,
}

/// Why a backup is not restored. The registry is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The registry is in use, or its place cannot be written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file cannot be read.
    #[error("{} cannot be read: {error}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is no whole journal.
    #[error("{}: {fault}", file.display())]
    Broken {
        /// Which.
        file: PathBuf,
        /// What is wrong, and where.
        fault: String,
        /// How many changes stand before that and could be taken.
        before: u64,
    },
    /// There is a registry already.
    #[error("there is a registry with {seq} changes already")]
    NotEmpty {
        /// How many entries it has; at least one, even where that cannot be said.
        seq: u64,
    },
}

impl From<io::Error> for RestoreError {
    fn from(error: io::Error) -> Self {
        Self::Open(error.into())
    }
}

/// Puts the journal in `source` in the place of the one in `dir`, after all of it was read, checked and done again. Nobody may
/// have the registry open. The index is built from it at the next start.
///
/// Returns the last entry's number.
///
/// # Errors
/// [`RestoreError`]
pub fn restore(dir: &Path, source: &Path, options: RestoreOptions) -> Result<u64, RestoreError> {
    let broken = |fault: Fault| refused(source, fault);
    // Before anything is looked at here: without it there is nothing to do.
    let file = File::open(source).map_err(|error| RestoreError::Unreadable { file: source.to_owned(), error })?;
    files::make_dir(dir)?;
    let _lock = files::lock(&dir.join(LOCK))?.ok_or(OpenError::Locked)?;
    let there = Journal::exists(dir)?;
    if there && !options.replace {
        let seq = File::open(dir.join(NAME)).map_err(Fault::Io).and_then(|file| walk::walk(file, |_| Ok(())));
        match seq.map_or(1, |end| end.seq) {
            0 => {}
            seq => return Err(RestoreError::NotEmpty { seq }),
        }
    }
    let length = match walk::walk(&file, |_| Ok(())) {
        Ok(end) if !end.torn || options.accept_loss => end.offset,
        Ok(end) => {
            let what = "the rest is cut off or was not finished".to_owned();
            return Err(broken(Fault::Damaged { offset: end.offset, seq: end.seq, what }));
        }
        Err(Fault::Damaged { offset, seq: 1.., .. }) if options.accept_loss => offset,
        Err(fault) => return Err(broken(fault)),
    };
    let path = dir.join(NEW);
    let mut new = files::private().create(true).truncate(true).open(&path)?;
    io::copy(&mut Bounded::new(file, length), &mut new)?;
    new.sync_all()?;
    let end = match replay(Bounded::new(new, length)) {
        Ok((_, end)) => end,
        Err(fault) => {
            std::fs::remove_file(&path)?;
            return Err(broken(fault));
        }
    };
    // The index of the other journal is not this one's.
    mark::take(dir)?;
    if there {
        std::fs::hard_link(dir.join(NAME), free_name(dir)?)?;
    }
    std::fs::rename(&path, dir.join(NAME))?;
    files::sync_dir(dir)?;
    known::replace(dir, end.seq)?;
    files::sync_dir(dir)?;
    Ok(end.seq)
}

/// What is wrong with a file, without the advice to restore a backup.
fn refused(file: &Path, fault: Fault) -> RestoreError {
    let file = file.to_owned();
    match fault {
        Fault::Io(error) => RestoreError::Unreadable { file, error },
        Fault::Damaged { offset, seq, what } => {
            let fault = format!("damaged at byte {offset}, after entry {seq}: {what}");
            RestoreError::Broken { file, fault, before: seq }
        }
        fault @ (Fault::Newer(_) | Fault::Short { .. }) => {
            RestoreError::Broken { file, fault: fault.to_string(), before: 0 }
        }
    }
}

fn free_name(dir: &Path) -> io::Result<PathBuf> {
    let mut number = 1u32;
    loop {
        let path = dir.join(format!("{REPLACED}-{number}"));
        if !path.try_exists()? {
            return Ok(path);
        }
        number += 1;
    }
}
