//! Records to systemd's journal: a datagram each, in its native form (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Audit;
use super::chain::Place;
use super::counters::Counters;
use super::strangers::{self, Strangers};
use super::writer::{Disk, Writer};

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// What the records are called there: `journalctl -t pullgate-audit`.
pub const IDENTIFIER: &str = "pullgate-audit";

/// Whether the journal listens.
///
/// # Errors
/// Why not.
pub fn listens() -> io::Result<()> {
    Journal::open(Path::new(SOCKET)).map(drop)
}

/// The way into the journal. It waits when the journal does not keep up, as a disk would.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    /// By its name each time: a journal that was started anew is another socket.
    to: PathBuf,
}

impl Journal {
    /// Looks whether anybody listens there.
    pub(super) fn open(to: &Path) -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(to)?;
        Ok(Self { socket: UnixDatagram::unbound()?, to: to.to_owned() })
    }
}

impl Write for Journal {
    /// Sends the first of these lines, whole or not at all.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let line = lines.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if !line.is_empty() {
            // A record has no line break in it, so the short form does. 6 is "info" (syslog(3)).
            let head = format!("PRIORITY=6\nSYSLOG_IDENTIFIER={IDENTIFIER}\nMESSAGE=");
            self.socket.send_to(&[head.as_bytes(), line, b"\n"].concat(), &self.to)?;
        }
        Ok(lines.len().min(line.len() + 1))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for Journal {
    fn place(&self) -> Option<Place> {
        None
    }

    /// When the disk has a record is the journal's own affair.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_torn(&self) -> bool {
        false
    }
}

impl Audit {
    /// Opens the way into systemd's journal. The file at `path` is that of commands which work without the daemon.
    ///
    /// # Errors
    /// When nobody listens at [`SOCKET`], or there is no thread to be had.
    pub fn to_journal(path: &Path, bound: strangers::Settings) -> io::Result<Self> {
        Self::to_journal_at(path, bound, Path::new(SOCKET))
    }

    fn to_journal_at(path: &Path, bound: strangers::Settings, socket: &Path) -> io::Result<Self> {
        let (strangers, counters) = (Arc::new(Strangers::new(bound)), Counters::default());
        let writer = Writer::to_journal(path, socket, Arc::clone(&strangers), counters.clone())?;
        Ok(Self { writer: Some(Arc::new(writer)), counters, strangers })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::{Event, Record, new_id};

    fn heard(journal: &UnixDatagram) -> String {
        let mut bytes = [0; 8192];
        let length = journal.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn listening(at: &Path) -> UnixDatagram {
        let journal = UnixDatagram::bind(at).unwrap();
        journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        journal
    }

    fn gap(seq: u64) -> Event {
        Event::Gap { first_seq: None, seq, why: "MESSAGE=forged\nPRIORITY=0".to_owned() }
    }

    #[test]
    fn each_record_is_an_entry_and_none_makes_two() {
        let dir = tempfile::tempdir().unwrap();
        let (file, at) = (dir.path().join("audit.jsonl"), dir.path().join("socket"));
        let journal = listening(&at);
        let audit = Audit::to_journal_at(&file, strangers::Settings::default(), &at).unwrap();
        for seq in 1..=3 {
            audit.record(&new_id(), gap(seq));
        }
        audit.flush();
        for seq in 1..=3 {
            let entry = heard(&journal);
            let json = entry.strip_prefix("PRIORITY=6\nSYSLOG_IDENTIFIER=pullgate-audit\nMESSAGE=").unwrap();
            let json = json.strip_suffix('\n').unwrap();
            assert!(!json.contains('\n'), "{json}");
            assert_eq!(serde_json::from_str::<Record>(json).unwrap().event, gap(seq));
        }
        assert!(!file.exists());
    }

    #[test]
    fn a_journal_that_was_started_anew_gets_what_comes_then() {
        let dir = tempfile::tempdir().unwrap();
        let (file, at) = (dir.path().join("audit.jsonl"), dir.path().join("socket"));
        drop(listening(&at));
        assert!(Audit::to_journal_at(&file, strangers::Settings::default(), &at).is_err(), "nobody listens");
        std::fs::remove_file(&at).unwrap();
        let first = listening(&at);
        let audit = Audit::to_journal_at(&file, strangers::Settings::default(), &at).unwrap();
        audit.record(&new_id(), gap(1));
        audit.flush();
        assert!(heard(&first).contains("\"seq\":1"));
        drop(first);
        audit.record(&new_id(), gap(2));
        audit.flush();
        std::fs::remove_file(&at).unwrap();
        let second = listening(&at);
        audit.record(&new_id(), gap(3));
        audit.flush();
        assert!(heard(&second).contains("\"seq\":3"));
    }
}
