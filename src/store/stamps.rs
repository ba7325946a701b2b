//! By what a repository that has changed can be told from one that has not, without asking git.
//!
//! git writes by lock and rename, which changes directories; other tools write in place, which changes only files. So both
//! are looked at, with size and both times. Two changes within one tick of the file system's clock have the same times:
//! what is younger than that tick says nothing yet ([`Stamps::is_settled`]).

use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use sha2::{Digest as _, Sha256};

use super::BareRepo;

/// Loose refs and their folders that are looked at before it costs more than it saves.
const MOST: usize = 50_000;
/// Folders within folders; a ref's name is not longer than a path.
const DEEPEST: usize = 64;
/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Files whose every byte may change what is served.
const READ: [&str; 5] = ["config", "config.worktree", "shallow", "objects/info/alternates", "info/grafts"];
/// What else the refs are in.
const REFS: [&str; 2] = ["HEAD", "packed-refs"];

/// Why a repository cannot be watched in this way; a stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwatchable(pub &'static str);

/// A repository at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    /// Which repository, and its configuration.
    pub settings: [u8; 32],
    /// The same, and where its objects are: everything but the refs.
    pub repository: [u8; 32],
    /// The refs.
    pub refs: [u8; 32],
    youngest: Duration,
    whole_seconds: bool,
}

impl Stamps {
    /// Whether a later change of the refs must show, seen from `now`: every time stamp is older than a tick of the file
    /// system's clock, which is taken as 2 s where no fraction of a second is seen in any.
    #[must_use]
    pub fn is_settled(&self, now: SystemTime) -> bool {
        if cfg!(feature = "fault-racy-stamps") {
            return true;
        }
        let slack = if self.whole_seconds { Duration::from_secs(2) } else { SLACK };
        now.duration_since(UNIX_EPOCH).is_ok_and(|now| self.youngest + slack < now)
    }
}

/// A tick of a file system with fractions of seconds, several times over.
pub const SLACK: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Look {
    refs: Sha256,
    seen: usize,
    youngest: Duration,
    whole_seconds: bool,
}

impl BareRepo {
    /// Looks at the repository: some microseconds, and up to a millisecond for a thousand loose refs.
    ///
    /// # Errors
    /// [`Unwatchable`]
    pub fn stamps(&self) -> Result<Stamps, Unwatchable> {
        let settings = self.settings()?;
        let mut repository = settings.clone();
        // Objects that were pruned must go from what is kept as well; packs come and go with that.
        for folder in ["objects", "objects/pack"] {
            add(&mut repository, folder, self.stat(folder)?.as_ref(), true);
        }
        let mut look = Look { refs: Sha256::new(), seen: 0, youngest: Duration::ZERO, whole_seconds: true };
        // With reftable every change of a ref makes a new list, with new names in it.
        look.refs.update(self.read_whole("reftable/tables.list")?);
        for name in REFS {
            let stat = self.stat(name)?;
            // git would read it; from a pipe for as long as somebody likes.
            if stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile) {
                return Err(Unwatchable("unreadable"));
            }
            look.at(name, stat.as_ref());
        }
        look.walk(self.dir.as_fd(), "refs", 0)?;
        let Look { refs, youngest, whole_seconds, .. } = look;
        let (settings, repository) = (settings.finalize().into(), repository.finalize().into());
        Ok(Stamps { settings, repository, refs: refs.finalize().into(), youngest, whole_seconds })
    }

    /// Which repository it is, and its configuration, as in [`Stamps::settings`]: all that its capabilities depend on.
    ///
    /// # Errors
    /// [`Unwatchable`]
    pub fn settings_stamp(&self) -> Result<[u8; 32], Unwatchable> {
        Ok(self.settings()?.finalize().into())
    }

    fn settings(&self) -> Result<Sha256, Unwatchable> {
        let mut settings = Sha256::new();
        let own = rustix::fs::fstat(&self.dir).map_err(|_| Unwatchable("unreadable"))?;
        add(&mut settings, "", Some(&own), false);
        for name in READ {
            let bytes = self.read_whole(name)?;
            if name.starts_with("config") && includes(&bytes) {
                return Err(Unwatchable("config-includes"));
            }
            settings.update(bytes.len().to_le_bytes());
            settings.update(&bytes);
        }
        Ok(settings)
    }

    fn stat(&self, name: &str) -> Result<Option<Stat>, Unwatchable> {
        match statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Err(Unwatchable("symlink")),
            Ok(stat) => Ok(Some(stat)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(_) => Err(Unwatchable("unreadable")),
        }
    }

    pub(super) fn read_whole(&self, name: &str) -> Result<Vec<u8>, Unwatchable> {
        let size = match self.stat(name)? {
            None => return Ok(Vec::new()),
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => stat.st_size,
            Some(_) => return Err(Unwatchable("unreadable")),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // With room for all of it, and a byte more to see that this is all: one read, and one for the end.
        let room = u64::try_from(size).unwrap_or(0).min(LONGEST) + 1;
        let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
        let read = openat(&self.dir, name, flags, Mode::empty())
            .map(std::fs::File::from)
            .map_err(std::io::Error::from)
            .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
        match read {
            Ok(length) if length as u64 <= LONGEST => Ok(bytes),
            Ok(_) => Err(Unwatchable("long-file")),
            Err(_) => Err(Unwatchable("unreadable")),
        }
    }
}

/// Whether a configuration has parts in other files, which are not looked at. Says yes too often rather than too seldom.
fn includes(config: &[u8]) -> bool {
    memchr::memmem::find(&config.to_ascii_lowercase(), b"include").is_some()
}

/// Whether a loose ref is no symbolic one, or one of another below `refs/`.
fn stays_among_refs(folder: BorrowedFd<'_>, name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut bytes = Vec::new();
    let read = openat(folder, name, flags, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|file| std::fs::File::from(file).take(LONGEST).read_to_end(&mut bytes));
    let target = bytes.strip_prefix(b"ref:").map(|target| target.trim_ascii_start().starts_with(b"refs/"));
    read.is_ok() && target != Some(false)
}

fn add(hash: &mut Sha256, name: &str, stat: Option<&Stat>, times: bool) {
    hash.update(name.len().to_le_bytes());
    hash.update(name.as_bytes());
    let Some(stat) = stat else { return hash.update(b"-") };
    hash.update(b"+");
    hash.update(stat.st_dev.to_le_bytes());
    hash.update(stat.st_ino.to_le_bytes());
    if times {
        hash.update(stat.st_size.to_le_bytes());
        for time in [modified(stat), changed(stat)] {
            hash.update(time.as_nanos().to_le_bytes());
        }
    }
}

/// A time before 1970 is as old as can be.
fn time(seconds: i64, nanoseconds: u64) -> Duration {
    Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0))
}

fn modified(stat: &Stat) -> Duration {
    time(stat.st_mtime, stat.st_mtime_nsec)
}

fn changed(stat: &Stat) -> Duration {
    time(stat.st_ctime, stat.st_ctime_nsec)
}

impl Look {
    fn at(&mut self, name: &str, stat: Option<&Stat>) {
        add(&mut self.refs, name, stat, true);
        if let Some(stat) = stat {
            for time in [modified(stat), changed(stat)] {
                self.youngest = self.youngest.max(time);
                self.whole_seconds &= time.subsec_nanos() == 0;
            }
        }
    }

    /// A folder of refs and everything in it, in the order of the names.
    fn walk(&mut self, above: BorrowedFd<'_>, name: &str, depth: usize) -> Result<(), Unwatchable> {
        let unreadable = |_| Unwatchable("unreadable");
        if depth > DEEPEST {
            return Err(Unwatchable("deep-refs"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(above, name, flags, Mode::empty()).map_err(unreadable)?;
        self.at(name, Some(&rustix::fs::fstat(&folder).map_err(unreadable)?));
        let (mut folder, mut names) = (Dir::new(folder).map_err(unreadable)?, Vec::new());
        for entry in folder.by_ref() {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_str().map_err(|_| Unwatchable("odd-name"))?;
            if !matches!(name, "." | "..") {
                names.push(name.to_owned());
            }
        }
        self.seen += names.len();
        if self.seen > MOST {
            return Err(Unwatchable("many-loose-refs"));
        }
        names.sort_unstable();
        let folder = folder.fd().map_err(unreadable)?;
        for name in names {
            let stat = match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Gone just now: the folder has changed, and the next look finds it so.
                Err(rustix::io::Errno::NOENT) => return Err(Unwatchable("refs-changing")),
                Err(_) => return Err(Unwatchable("unreadable")),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => self.walk(folder, &name, depth + 1)?,
                FileType::RegularFile => {
                    self.at(&name, Some(&stat));
                    // Not the name of an object and a line end: it may stand for something that is not looked at.
                    if !matches!(stat.st_size, 41 | 65) && !stays_among_refs(folder, &name) {
                        return Err(Unwatchable("odd-ref"));
                    }
                }
                FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => return Err(Unwatchable("symlink")),
            }
        }
        // A folder's end: `a/b` and `a`, `b` are different refs.
        self.refs.update(b"/");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
