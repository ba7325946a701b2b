//! How far a chain goes, kept beside it: a log rotation may have packed the file with its last link.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::audit::files::family;
use crate::audit::lines::Forward;
use crate::audit::link::{Head, Sealed};
use crate::audit::seen::Seen;
use crate::audit::{Event, Record};

/// A place in an audit file: whatever the file is called by now, it is this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file's inode number.
    pub inode: u64,
    /// The byte after the last link.
    pub end: u64,
}

/// How far a chain goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    #[serde(flatten)]
    pub(super) head: Head,
    pub(super) seen: Seen,
    /// How many records of changes the chain has had.
    pub(super) changes: u64,
    /// How many of them came after the last checkpoint.
    pub(super) unsigned: u64,
    pub(super) place: Option<Place>,
}

impl Standing {
    /// What was written down; `None` when nothing was, or it is no use any more.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = serde_json::from_slice(&text);
        Ok(read
            .inspect_err(|error| {
                let file = path.display();
                tracing::warn!(%error, %file, "it is damaged: the end of the chain is looked for in the audit files");
            })
            .ok())
    }

    /// Writes it down: the old one or the new one is there, whatever ends this process.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("chain.new");
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?.write_all(&text)?;
        std::fs::rename(&new, path)
    }

    /// The chain has one more link.
    pub(super) fn take(&mut self, event: &Event, head: Head) {
        self.head = head;
        match event {
            Event::Changed { first_seq, seq, .. } => {
                self.seen.note(first_seq.unwrap_or(*seq), *seq);
                self.news();
            }
            Event::Gap { first_seq: Some(first), seq, .. } => {
                self.seen.note(*first, *seq);
                self.news();
            }
            Event::Gap { first_seq: None, seq, .. } | Event::Restored { seq, .. } => {
                self.seen = Seen::up_to(*seq);
                self.news();
            }
            Event::Checkpoint { seq, changes, .. } => {
                self.seen.begin(*seq);
                (self.changes, self.unsigned) = (*changes, 0);
            }
            Event::Login { .. }
            | Event::LoginRefused { .. }
            | Event::Refused { .. }
            | Event::Allowed { .. }
            | Event::Fetch { .. }
            | Event::Suppressed { .. } => {}
        }
    }

    fn news(&mut self) {
        self.changes += 1;
        self.unsigned += 1;
    }
}

/// Goes on from what was written down to what the audit files have beyond it: a process that was killed had written a link and
/// not yet that it had. Without anything written down, all of the files are read.
pub(super) fn catch_up(known: Option<Standing>, audit_file: &Path) -> io::Result<Standing> {
    let files = family(audit_file)?.plain;
    let (mut standing, place) = match known {
        Some(standing) => (standing.clone(), standing.place),
        None => (Standing::default(), None),
    };
    let anew = standing.head.n == 0;
    let mut reading = anew;
    for path in files {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        let mut from = 0;
        if !reading {
            match place {
                Some(place) if place.inode == meta.ino() => {
                    reading = true;
                    // Shorter than it was, so it was emptied: then all that is in it came later.
                    from = if place.end <= meta.len() { place.end } else { 0 };
                }
                Some(_) | None => continue,
            }
        }
        file.seek(SeekFrom::Start(from))?;
        read_on(&mut standing, file, from, meta.ino(), anew)?;
    }
    Ok(standing)
}

fn read_on(standing: &mut Standing, file: File, from: u64, inode: u64, anew: bool) -> io::Result<()> {
    let mut lines = Forward::new(file);
    while let Some(line) = lines.next_line()? {
        let Some(sealed) = Sealed::read(line.bytes).filter(|sealed| line.whole && sealed.intact()) else { continue };
        let next = sealed.link.n == standing.head.n + 1 && sealed.link.prev == standing.head.hash;
        // What is wrong with a chain is for `audit verify` to say; here its last link is looked for.
        if !next && (!anew || sealed.link.n <= standing.head.n) {
            continue;
        }
        if let Ok(record) = serde_json::from_slice::<Record>(line.bytes) {
            standing.take(&record.event, sealed.head());
            standing.place = Some(Place { inode, end: from + line.end });
        }
    }
    Ok(())
}
