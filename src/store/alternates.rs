//! Borrowed objects. The object store is the boundary of what a fetch can reach (protocol version 2 serves any object that
//! exists), so whose objects a repository borrows decides what its readers can read.

use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, openat};

use super::open::kind_of;
use super::{Store, StoreError, directory_of};
use crate::model::repo_path::RepoPath;

/// git gives up at the same depth (`link_alt_odb_entries`).
const MAX_DEPTH: usize = 5;
/// From how many repositories one may borrow. A pool of forks borrows from one; each of them is looked at with each fetch,
/// and is a rule of the cell.
const MOST: usize = 64;
/// The longest alternates file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Follows the alternates of a repository and says whose objects it borrows.
///
/// # Errors
/// [`StoreError::Unsafe`] when one lies outside of the store, in another account, or cannot be followed to a repository.
pub(super) fn vetted(store: &Store, name: &RepoPath, dir: BorrowedFd<'_>) -> Result<Vec<RepoPath>, StoreError> {
    let mut found = Vec::new();
    follow(store, name, dir, 0, &mut found)?;
    found.sort();
    found.dedup();
    Ok(found)
}

fn follow(
    store: &Store,
    name: &RepoPath,
    dir: BorrowedFd<'_>,
    depth: usize,
    found: &mut Vec<RepoPath>,
) -> Result<(), StoreError> {
    let Some(text) = read(dir)? else { return Ok(()) };
    if depth >= MAX_DEPTH {
        return Err(StoreError::Unsafe("its alternates are nested too deeply".to_owned()));
    }
    for line in text.split('\n').filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // git takes a quoted line apart, and what stands behind the quote for one line more; of other white space it takes nothing away.
        if line.starts_with('"') || line.contains(char::is_control) {
            return Err(StoreError::Unsafe(
                "it borrows objects by a quoted line, or one with a control character (alternates)".to_owned(),
            ));
        }
        let other = repository_at(store, name, line).ok_or_else(|| {
            StoreError::Unsafe("it borrows objects from outside of its account in the store (alternates)".to_owned())
        })?;
        if other == *name || found.contains(&other) {
            continue;
        }
        let other_dir = store.open_directory(&other).map_err(|error| {
            StoreError::Unsafe(format!("it borrows objects from {other}, which cannot be opened: {error}"))
        })?;
        if found.len() == MOST {
            return Err(StoreError::Unsafe(format!("it borrows objects from more than {MOST} repositories")));
        }
        found.push(other.clone());
        follow(store, &other, other_dir.as_fd(), depth + 1, found)?;
    }
    Ok(())
}

/// The repository of the same account whose `objects` folder a line of an alternates file means.
fn repository_at(store: &Store, name: &RepoPath, line: &str) -> Option<RepoPath> {
    let written = Path::new(line);
    let absolute = if written.is_absolute() {
        written.to_owned()
    } else {
        store.root().join(directory_of(name)).join("objects").join(written)
    };
    let plain = without_dots(&absolute)?;
    let inside = plain.strip_prefix(store.root()).ok()?.to_str()?;
    let other = RepoPath::parse(inside.strip_suffix("/objects")?).ok()?;
    // The spelling must be the store's own: what is opened as `other` is then what git opens as `line`.
    let same = store.root().join(directory_of(&other)).join("objects") == plain;
    (same && other.account_str() == name.account_str()).then_some(other)
}

/// Takes `.` and `..` out by the text alone. No component on the way may be a symbolic link, which
/// [`Store::open_directory`] makes sure of, so the text tells the truth.
fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => plain.pop().then_some(())?,
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(component),
        }
    }
    Some(plain)
}

fn read(dir: BorrowedFd<'_>) -> Result<Option<String>, StoreError> {
    for (name, wanted) in [("objects/info", FileType::Directory), ("objects/info/alternates", FileType::RegularFile)] {
        match kind_of(dir, name)? {
            None => return Ok(None),
            Some(kind) if kind == wanted => {}
            // A symbolic link leads elsewhere, and git would wait for ever for a FIFO's writer.
            Some(_) => return Err(StoreError::Unsafe(format!("its {name} is neither a file nor a folder of its own"))),
        }
    }
    // NONBLOCK: nor may the gateway wait, should a FIFO take the file's place just now.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(openat(dir, "objects/info/alternates", flags, Mode::empty())?);
    let mut text = String::new();
    let unreadable = |_| StoreError::Unsafe("its alternates file cannot be read".to_owned());
    let length = file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > MAX_FILE {
        return Err(StoreError::Unsafe("its alternates file is too long".to_owned()));
    }
    Ok(Some(text))
}
