//! `audit --follow`: goes on with what is written, over any kind of rotation, until nobody reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Limit;
use super::list::List;
use super::source::{Source, open, unreadable};
use crate::admin::fault::{Fault, Kind};
use crate::audit::lines::MAX_LINE;
use crate::cli::io::{Io, Stop};

/// How often to look for what was written.
const LOOK: Duration = Duration::from_millis(250);
/// How much is read at a time, in bytes.
const BLOCK: usize = 256 * 1024;
/// How many of the bytes before a place are remembered, to see that they are still those: more than a line, since lines are told
/// apart by their times and ids.
const SEEN: usize = 2048;

/// Shows the last ones, then those that come, until nobody reads any more.
pub(super) fn run(list: &mut List<'_>, source: &Source, limit: Limit, io: &mut Io<'_>) -> Result<(), Stop> {
    let Some(live) = &source.live else {
        return Err(Fault::new(Kind::Invalid, "only the file that the config names can be followed").into());
    };
    let mut tail = Tail::at_the_end(live)?;
    // What is written from here on is shown by the tail, and once.
    list.up_to(live, tail.at);
    list.all(source, limit, io)?;
    list.tell(source, limit, true, io)?;
    loop {
        tail.read(live, |line| match list.wants(line) {
            Some(_) => list.show(line, io),
            None => Ok(()),
        })?;
        wait_or_gone()?;
    }
}

/// Waits a moment. When the other end of the output is gone in that time, there is no reason to go on.
fn wait_or_gone() -> Result<(), Stop> {
    let out = io::stdout();
    // Nothing is asked for: that nobody reads any more is told in any case (poll(2)).
    let mut watched = [PollFd::new(&out, PollFlags::empty())];
    let limit = Timespec::try_from(LOOK).ok();
    match poll(&mut watched, limit.as_ref()) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
        Ok(_) if watched.iter().any(|it| it.revents().contains(PollFlags::ERR)) => return Err(Stop::NobodyReads),
        // A standard output that cannot be watched.
        Ok(_) | Err(_) => {}
    }
    std::thread::sleep(LOOK);
    Ok(())
}

/// A place in a file that somebody writes.
#[derive(Debug)]
struct Tail {
    file: Option<File>,
    at: u64,
    /// The bytes before `at`: whether they are still there says whether the file is still the one that was read.
    seen: Vec<u8>,
    /// The beginning of a line that has no end yet.
    torn: Vec<u8>,
}

impl Tail {
    /// Behind the last line that is whole: one that is just written is waited for.
    fn at_the_end(path: &Path) -> Result<Self, Fault> {
        let mut tail = Self { file: None, at: 0, seen: Vec::new(), torn: Vec::new() };
        if !path.exists() {
            return Ok(tail);
        }
        let (file, length) = open(path)?;
        let length = length.unwrap_or(0);
        let mut end = vec![0; usize::try_from(length).unwrap_or(MAX_LINE).min(MAX_LINE)];
        let from = length - end.len() as u64;
        file.read_exact_at(&mut end, from).map_err(|error| unreadable(path, &error))?;
        tail.at = memchr::memrchr(b'\n', &end).map_or(from, |at| from + at as u64 + 1);
        tail.remember(end.get(..usize::try_from(tail.at - from).unwrap_or(0)).unwrap_or_default());
        tail.file = Some(file);
        Ok(tail)
    }

    /// Reads what is new, through rotations.
    fn read(&mut self, path: &Path, mut take: impl FnMut(&[u8]) -> Result<(), Stop>) -> Result<(), Stop> {
        if let Some(file) = self.file.take() {
            self.drain(&file, path, &mut take)?;
            match (file.metadata(), path.metadata()) {
                // Moved away, and another one has its name. Whoever writes may write to the old one for a moment more, until
                // it is told of the new one: that is over when the new one has something.
                (Ok(old), Ok(new)) if (old.dev(), old.ino()) != (new.dev(), new.ino()) && new.len() > 0 => {
                    self.drain(&file, path, &mut take)?;
                    self.start_anew();
                }
                (Ok(_), Ok(_) | Err(_)) => {
                    self.file = Some(file);
                    return Ok(());
                }
                (Err(error), _) => return Err(unreadable(path, &error).into()),
            }
        }
        if path.exists() {
            let (file, _) = open(path)?;
            self.drain(&file, path, &mut take)?;
            self.file = Some(file);
        }
        Ok(())
    }

    fn start_anew(&mut self) {
        (self.at, self.seen, self.torn) = (0, Vec::new(), Vec::new());
    }

    fn is_another(&self, file: &File) -> io::Result<bool> {
        if file.metadata()?.len() < self.at {
            return Ok(true);
        }
        let mut there = vec![0; self.seen.len()];
        match file.read_exact_at(&mut there, self.at - self.seen.len() as u64) {
            Ok(()) => Ok(there != self.seen),
            // Emptied just now.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// These bytes were read; asked for again, they might be gone.
    fn remember(&mut self, read: &[u8]) {
        self.seen.extend_from_slice(read);
        self.seen.drain(..self.seen.len().saturating_sub(SEEN));
    }

    fn drain(
        &mut self,
        file: &File,
        path: &Path,
        take: &mut impl FnMut(&[u8]) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut block = vec![0; BLOCK];
        loop {
            let size = file.read_at(&mut block, self.at).map_err(|error| unreadable(path, &error))?;
            // Emptied in its place, as by copytruncate; or emptied and filled again. Looked at after the reading, for what was
            // read may be from behind the place where it was emptied.
            if self.is_another(file).map_err(|error| unreadable(path, &error))? {
                self.start_anew();
                continue;
            }
            if size == 0 {
                return Ok(());
            }
            self.at += size as u64;
            let mut rest = block.get(..size).unwrap_or_default();
            self.remember(rest);
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (line, after) = rest.split_at(end);
                self.torn.extend_from_slice(line);
                take(&std::mem::take(&mut self.torn))?;
                rest = after.get(1..).unwrap_or_default();
            }
            // Of a line that is far too long a beginning is enough: it is no record.
            let room = MAX_LINE.saturating_sub(self.torn.len()).min(rest.len());
            self.torn.extend_from_slice(rest.get(..room).unwrap_or_default());
        }
    }
}
