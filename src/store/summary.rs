//! What an administrator wants to see of a repository: by its files, beneath the directory that was opened, without following
//! symbolic links and without a library that would obey its configuration.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use serde::Serialize;

use super::health::{DEEPEST, entries, open};
use super::open::kind_of;
use super::{BareRepo, StoreError};
use crate::model::text::printable;

/// The longest list of packed refs that is counted, in bytes: about a million refs.
const LONGEST: u64 = 64 << 20;

/// A look at a repository. What is served all the same and cannot be shown here is said in `unread`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The branch that HEAD names, without `refs/heads/`.
    pub head: Option<String>,
    /// How many branches.
    pub branches: Option<usize>,
    /// How many tags.
    pub tags: Option<usize>,
    /// How many packs.
    pub packs: usize,
    /// The size of the packs, in bytes.
    pub pack_bytes: u64,
    /// Whether a bitmap makes full clones cheap.
    pub bitmap: bool,
    /// Whether there is a commit-graph.
    pub commit_graph: bool,
    /// Why something is missing above.
    pub unread: Option<String>,
    /// Why git does not serve it although it may be opened.
    pub broken: Option<&'static str>,
}

/// Branches and tags, by their whole names: a ref may be both packed and in a file of its own.
#[derive(Debug, Default)]
struct Refs {
    names: BTreeSet<String>,
    seen: usize,
}

impl BareRepo {
    /// Looks at the repository.
    ///
    /// # Errors
    /// When one of its folders cannot be read.
    pub fn summary(&self) -> Result<Summary, StoreError> {
        let health = self.health()?;
        let head = self.read_whole("HEAD");
        let mut summary = Summary {
            head: None,
            branches: None,
            tags: None,
            packs: health.packs,
            pack_bytes: health.pack_bytes,
            bitmap: health.bitmap,
            commit_graph: health.commit_graph,
            unread: None,
            broken: head.as_ref().ok().and_then(|head| fault_of(head)),
        };
        if kind_of(self.dir(), "reftable")?.is_some() {
            summary.unread = Some("its refs are in a reftable, which only git reads".to_owned());
            return Ok(summary);
        }
        match head {
            Ok(bytes) => summary.head = branch_of(&bytes),
            Err(_) => summary.unread = Some("its HEAD is no file that can be read".to_owned()),
        }
        let mut refs = Refs::default();
        let counted = refs.packed(self.dir()).and_then(|()| refs.loose(self.dir(), "refs", "refs/", 0));
        match counted {
            Ok(()) => {
                let below = |folder| refs.names.iter().filter(|name| name.starts_with(folder)).count();
                (summary.branches, summary.tags) = (Some(below("refs/heads/")), Some(below("refs/tags/")));
            }
            Err(why) => summary.unread = Some(why.to_owned()),
        }
        Ok(summary)
    }

    /// Why git takes it for no repository, as [`Summary::broken`]; `None` also where its HEAD cannot be read.
    #[must_use]
    pub fn broken(&self) -> Option<&'static str> {
        fault_of(&self.read_whole("HEAD").ok()?)
    }
}

/// What git does not take about what is in HEAD (`validate_headref` in git's path.c).
fn fault_of(head: &[u8]) -> Option<&'static str> {
    let is_object = |text: &[u8]| matches!(text.len(), 40 | 64) && text.iter().all(u8::is_ascii_hexdigit);
    let good = match head.strip_prefix(b"ref:") {
        Some(name) => name.trim_ascii_start().starts_with(b"refs/"),
        None => is_object(head.trim_ascii_end()),
    };
    (!good).then_some("its HEAD names neither a ref nor a commit")
}

/// The branch that is named by what is in HEAD (gitrepository-layout(5)).
fn branch_of(head: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(head).ok()?.strip_prefix("ref:")?.trim().strip_prefix("refs/heads/")?;
    Some(printable(name, 200))
}

impl Refs {
    /// Takes a name, if it is one of a branch or a tag.
    fn take(&mut self, name: &str) {
        if name.starts_with("refs/heads/") || name.starts_with("refs/tags/") {
            self.names.insert(name.to_owned());
        }
    }

    /// Those in `packed-refs`: lines with an object and a name; others begin with `#` or `^` (git-pack-refs(1)).
    fn packed(&mut self, dir: BorrowedFd<'_>) -> Result<(), &'static str> {
        const UNREADABLE: &str = "its packed-refs is no file that can be read";
        // NONBLOCK: nobody waits for a FIFO's writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(dir, "packed-refs", flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(_) => return Err(UNREADABLE),
        };
        if !fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile) {
            return Err(UNREADABLE);
        }
        let (mut file, mut line) = (BufReader::new(std::fs::File::from(file).take(LONGEST + 1)), Vec::new());
        let mut bytes = 0;
        loop {
            line.clear();
            let length = file.read_until(b'\n', &mut line).map_err(|_| UNREADABLE)?;
            bytes += length as u64;
            if bytes > LONGEST {
                return Err("it has more packed refs than are counted");
            }
            if length == 0 {
                return Ok(());
            }
            if let Some((object, name)) =
                std::str::from_utf8(&line).ok().and_then(|line| line.trim_end().split_once(' '))
                && object.bytes().all(|digit| digit.is_ascii_hexdigit())
            {
                self.take(name);
            }
        }
    }

    /// Those in a file of their own.
    fn loose(&mut self, above: BorrowedFd<'_>, name: &str, path: &str, depth: usize) -> Result<(), &'static str> {
        const UNREADABLE: &str = "the folders of its refs cannot be read";
        let folder = match open(above, name) {
            Ok(folder) => folder,
            // Gone just now, or a link, which is not followed.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return Ok(()),
            Err(_) => return Err(UNREADABLE),
        };
        let entries = entries(&folder, &mut self.seen).map_err(|_| UNREADABLE)?;
        if self.seen > super::health::MOST {
            return Err("it has more loose refs than are counted");
        }
        for (name, kind) in entries {
            if kind == FileType::RegularFile {
                self.take(&format!("{path}{name}"));
            } else if kind == FileType::Directory && depth < DEEPEST {
                self.loose(folder.as_fd(), &name, &format!("{path}{name}/"), depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
