//! Floor 1: one structured record per decision and per served fetch, allow and deny alike.
//!
//! A record is one JSON line in the audit file: time, id, and the fields of its [`Event`]. The set of events is closed;
//! the stable names in it are what operators search for.
//!
//! Who decides does not wait for the disk: records go through a queue of [`QUEUE`] to a thread that writes them in their
//! order, usually within a millisecond. When the disk does not keep up and the queue is full, whoever has a record waits for
//! at most [`PATIENCE`]; then the record goes to the log as an error, in full, and not to the file. So no record is lost in
//! silence. A stop writes what is queued; a kill -9 loses it, which is at most what was decided in the last moment. Changes of
//! the registry are answered only when their record is written, and are in the journal in any case.

pub mod chain;
pub mod check;
pub mod counters;
mod event;
pub mod files;
pub mod journald;
pub mod key;
pub mod lines;
pub mod link;
#[cfg(test)]
mod page;
pub mod query;
pub mod seen;
pub mod strangers;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use counters::{Counters, Lost};
pub use event::{Ended, Event, Source, Subject};
use strangers::Strangers;

/// The version of the record's schema; it changes when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// How many records may wait to be written.
pub const QUEUE: usize = 4096;
/// How long somebody with a record waits for a place in the queue.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// One line of the audit file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub v: u32,
    /// When it was decided, UTC.
    pub time: Timestamp,
    /// The record's id; a refusal shows it to the client.
    pub id: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// Its place in the chain of changes, if it has one.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub link: Option<link::Link>,
}

/// An id that is shown to a client before its record is written: ten hexadecimal digits, random.
#[must_use]
pub fn new_id() -> String {
    let mut bytes = [0u8; 5];
    // Without randomness ids only become less unique; a decision must not fail for that.
    if getrandom::fill(&mut bytes).is_err() {
        bytes.copy_from_slice(&Timestamp::now().as_nanosecond().to_be_bytes()[11..16]);
    }
    bytes.iter().fold(String::with_capacity(10), |mut id, byte| {
        id.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        id.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        id
    })
}

/// A record as its line, without the end of it. What makes no JSON is told in the log.
fn line(record: &Record) -> Option<String> {
    serde_json::to_string(record)
        .inspect_err(|error| tracing::error!(%error, ?record, "an audit record cannot be written as JSON"))
        .ok()
}

/// Where records go. Cheap to clone. When the last clone is dropped, everything is written.
#[derive(Debug, Clone)]
pub struct Audit {
    writer: Option<Arc<writer::Writer>>,
    counters: Counters,
    strangers: Arc<Strangers>,
}

impl Audit {
    /// Opens the audit file for appending; it is made with mode 0600 when it is missing.
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no thread to be had.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Self::open_bounded(path, strangers::Settings::default())
    }

    /// The same, with another bound on what somebody without a registered key can cause.
    ///
    /// # Errors
    /// As [`Audit::open`].
    pub fn open_bounded(path: &Path, bound: strangers::Settings) -> std::io::Result<Self> {
        let (strangers, counters) = (Arc::new(Strangers::new(bound)), Counters::default());
        let writer = writer::Writer::open(path, Arc::clone(&strangers), counters.clone())?;
        Ok(Self { writer: Some(Arc::new(writer)), counters, strangers })
    }

    /// The same, to standard output: for a service manager that keeps it. The file at `path` is that of commands which work
    /// without the daemon.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn to_stdout(path: &Path, bound: strangers::Settings) -> std::io::Result<Self> {
        let (strangers, counters) = (Arc::new(Strangers::new(bound)), Counters::default());
        let writer = writer::Writer::to_stdout(path, Arc::clone(&strangers), counters.clone())?;
        Ok(Self { writer: Some(Arc::new(writer)), counters, strangers })
    }

    /// Keeps no records: for commands that only read.
    #[must_use]
    pub fn off() -> Self {
        let strangers = Arc::new(Strangers::new(strangers::Settings::default()));
        Self { writer: None, counters: Counters::default(), strangers }
    }

    /// Hands on one record under an id from [`new_id`], to be written soon.
    ///
    /// A record that cannot be written is logged as an error in full, so that it is not lost with the disk; the decision
    /// that it tells of stands. One that somebody without a registered key caused may be counted only: see [`strangers`].
    pub fn record(&self, id: &str, event: Event) {
        self.record_at(Timestamp::now(), id, event);
    }

    /// The same of something that was at another time.
    pub fn record_at(&self, time: Timestamp, id: &str, event: Event) {
        let Some(writer) = &self.writer else { return };
        // Also what is not written.
        self.counters.count(&event);
        if !self.strangers.admits(&event) {
            self.counters.suppress();
            return;
        }
        let record = Record { v: SCHEMA, time, id: id.to_owned(), event, link: None };
        if record.event.is_chained() {
            writer.link(record);
        } else if let Some(line) = line(&record) {
            writer.put(line);
        } else {
            self.counters.lose(Lost::Form);
        }
    }

    /// What was recorded so far, in numbers.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Goes on in the file that has the name by now, as a log rotation wants it; what was handed on before stays in the old
    /// one, as a whole. Blocks while the disk does.
    ///
    /// # Errors
    /// When no such file can be opened: the old one is written on.
    pub fn reopen(&self) -> std::io::Result<()> {
        self.writer.as_ref().map_or(Ok(()), |writer| writer.reopen())
    }

    /// Waits until everything that was handed on before is in the file, or in the log. Blocks while the disk does.
    pub fn flush(&self) {
        if let Some(writer) = &self.writer {
            writer.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_that_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audit = Audit::open(&path).unwrap();
        let event = Event::Refused {
            subject: Subject { client: Some("SSH-2.0-x\n".to_owned()), ..Subject::default() },
            code: "not-granted".to_owned(),
            reason: "no such repository".to_owned(),
            asked: "acme/app".to_owned(),
            repository: None,
        };
        let id = new_id();
        audit.record(&id, event.clone());
        audit.record(&new_id(), event.clone());
        audit.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        let record: Record = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((record.id, record.event), (id, event));
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn ids_are_ten_digits_and_differ() {
        let (a, b) = (new_id(), new_id());
        assert!(a.len() == 10 && a.bytes().all(|c| c.is_ascii_hexdigit()) && a != b);
    }
}
