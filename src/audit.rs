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

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use counters::{Counters, Lost};

use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::repo_path::RepoPath;
use strangers::Strangers;

/// The version of the record's schema; it changes when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// How many records may wait to be written.
pub const QUEUE: usize = 4096;
/// How long somebody with a record waits for a place in the queue.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Who asked, as far as it was known when it was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The key's name, if it is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyName>,
    /// The key's fingerprint, if one was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Where the connection came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The client's identification string, made printable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// git ended with status 0.
    Served,
    /// git ended with another status.
    Failed,
    /// The client went away before the end.
    ClientGone,
    /// One of our clocks ran out.
    TimedOut,
    /// The client sent more than it may.
    Flooded,
}

/// Where the pack of a fetch came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cache", content = "why", rename_all = "kebab-case")]
pub enum Source {
    /// All of it was kept already.
    Hit,
    /// From the work that another fetch had begun.
    Joined,
    /// From work that others could join.
    Miss,
    /// From a git of its own; a stable word why.
    Bypass(String),
}

/// What happened. Closed: a new kind of record is a new variant and a line in the documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A registered key proved itself and was let in.
    Login {
        /// Who.
        #[serde(flatten)]
        subject: Subject,
    },
    /// Nobody was let in on this connection.
    LoginRefused {
        /// Who tried.
        #[serde(flatten)]
        subject: Subject,
        /// Why, as a stable word.
        reason: String,
    },
    /// A request of somebody who was let in was refused.
    Refused {
        /// Who asked.
        #[serde(flatten)]
        subject: Subject,
        /// The code that the client was shown, without brackets.
        code: String,
        /// The true reason, which may say more than the client was told.
        reason: String,
        /// What was asked for, made printable.
        asked: String,
    },
    /// A fetch was allowed. Its end has a record of its own, under the same id.
    Allowed {
        /// Who.
        #[serde(flatten)]
        subject: Subject,
        /// What.
        repository: RepoPath,
        /// The git protocol version, 0 to 2.
        protocol: u8,
    },
    /// A fetch that was allowed has ended.
    Fetch {
        /// Who.
        #[serde(flatten)]
        subject: Subject,
        /// What.
        repository: RepoPath,
        /// The git protocol version, 0 to 2.
        protocol: u8,
        /// How it ended.
        outcome: Ended,
        /// Bytes to the client.
        bytes_out: u64,
        /// Bytes from the client.
        bytes_in: u64,
        /// Milliseconds from the decision to the end.
        duration_ms: u64,
        /// Where the pack came from, if there was one and the cache was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
        /// The code that the client was shown, without brackets, if the fetch came to no good end and it was told why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// The registry was changed.
    Changed {
        /// The operator.
        by: String,
        /// The journal's sequence number.
        seq: u64,
        /// The first one, of a change that is so large that it has several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_seq: Option<u64>,
        /// What was done, in words.
        what: String,
        /// Whether the record was made from the journal at a later start, because the process ended before it was written.
        #[serde(default, skip_serializing_if = "is_false")]
        recovered: bool,
    },
    /// Another registry was put in the place of this one; what follows is counted from its last change.
    Restored {
        /// The operator.
        by: String,
        /// The sequence number of its journal.
        seq: u64,
        /// What was done, in words.
        what: String,
    },
    /// Changes of which no record of their own could be made.
    Gap {
        /// The first of them, if any are missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_seq: Option<u64>,
        /// The last one; what follows is counted from here.
        seq: u64,
        /// Why, in words.
        why: String,
    },
    /// The gateway signed how far the chain of changes goes.
    Checkpoint {
        /// The change up to which each has a record in the chain.
        seq: u64,
        /// How many records of changes the chain has had.
        changes: u64,
        /// The public half of the audit key, as OpenSSH writes it, without a comment.
        key: String,
    },
    /// Records that were left out, since somebody without a registered key can cause as many as they like.
    Suppressed {
        /// The event that they would have been.
        of: String,
        /// Why that happened, as a stable word: the reason of a refused login, or a code.
        reason: String,
        /// Where they came from, an IPv4 address or a /64 of IPv6; left out for all networks that were not counted apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<IpNet>,
        /// How many.
        count: u64,
        /// When the first of them was.
        since: Timestamp,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

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
