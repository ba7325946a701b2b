//! Checking a chain of changes: is each record where it was put, as it was written, and is all of it signed.

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::chain::CHECKPOINT_CHANGES;
use super::key;
use super::link::{Hash, Head, Link, Sealed};
use super::seen::Seen;
use super::{Event, Record};
use crate::model::fingerprint::Fingerprint;

/// How many links may follow the last checkpoint. A few more than the gateway leaves: it waits for changes that are on their
/// way.
const MOST_UNSIGNED: u64 = CHECKPOINT_CHANGES * 2;
/// For how long a link may go without being signed, while the gateway goes on writing: longer than it waits itself.
const LONGEST_UNSIGNED: SignedDuration = SignedDuration::from_mins(70);
/// How many faults and gaps are told.
const TOLD: usize = 20;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file; none for what concerns all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The line in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong, in words.
    pub what: String,
}

/// Changes without a record of their own, as the gateway itself told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// When it was told.
    pub time: Timestamp,
    /// The first change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
    /// The last one.
    pub seq: u64,
    /// Why.
    pub why: String,
}

/// What a chain was found to be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// Whether nothing is wrong. Gaps are told and no fault.
    pub good: bool,
    /// What is wrong, the first one first; at most twenty, and see `more_faults`.
    pub faults: Vec<Fault>,
    /// How many faults there are beside them.
    pub more_faults: u64,
    /// The first link that was there; 1 when the chain is there from its beginning.
    pub first_link: Option<u64>,
    /// How many links were good before the first fault.
    pub good_links: u64,
    /// How many links there were.
    pub links: u64,
    /// The end of the chain, `N:HASH`: whoever keeps it elsewhere can ask later whether it is still there.
    pub head: Option<String>,
    /// How many records of changes.
    pub changes: u64,
    /// How many of them were made from the journal at a later start.
    pub recovered: u64,
    /// How many checkpoints with a good signature.
    pub checkpoints: u64,
    /// The last link that a good signature covers.
    pub signed_up_to: Option<u64>,
    /// The fingerprints of the keys that signed.
    pub keys: Vec<Fingerprint>,
    /// Whether they had to be keys that are known from elsewhere: pinned, or the gateway's own.
    pub keys_known: bool,
    /// Changes without a record of their own, as the gateway itself told; at most twenty.
    pub gaps: Vec<Gap>,
    /// Records of changes from before the chain began.
    pub before: u64,
    /// Lines that look like a change and are no record: writes that were not finished, or what somebody made of them.
    pub torn: u64,
    /// Lines in all.
    pub lines: u64,
    /// The change up to which each has a record.
    pub recorded_up_to: Option<u64>,
    /// The last change in the registry's journal; none when it was not compared.
    pub registry: Option<u64>,
}

/// A check on its way.
#[derive(Debug)]
pub struct Check {
    /// Who may sign; none: whoever signs first.
    known: Vec<VerifyingKey>,
    pinned: Option<Head>,
    met_pinned: bool,
    head: Option<Head>,
    seen: Seen,
    verdict: Verdict,
    /// The time of the first change that is not signed.
    unsigned_since: Option<Timestamp>,
    unsigned: u64,
    /// The latest time of any record.
    latest: Option<Timestamp>,
}

impl Check {
    /// A check in which only these keys may sign; with none of them, the first that signs. A pinned head has to be in the chain.
    #[must_use]
    pub fn new(known: Vec<VerifyingKey>, pinned: Option<Head>) -> Self {
        let verdict = Verdict { keys_known: !known.is_empty(), ..Verdict::default() };
        let (head, seen) = (None, Seen::default());
        let (met_pinned, unsigned_since, unsigned, latest) = (false, None, 0, None);
        Self { known, pinned, met_pinned, head, seen, verdict, unsigned_since, unsigned, latest }
    }

    /// The next line.
    pub fn line(&mut self, file: &Path, number: u64, bytes: &[u8]) {
        self.verdict.lines += 1;
        let fault = |what: String| Fault { file: Some(file.to_owned()), line: Some(number), what };
        let sealed = match Sealed::read(bytes) {
            Some(sealed) => sealed,
            None => {
                self.unsealed(bytes, fault);
                return;
            }
        };
        let before = self.verdict.faults.len();
        self.place(&sealed, &fault);
        self.verdict.links += 1;
        self.head = Some(sealed.head());
        if self.pinned == self.head {
            self.met_pinned = true;
        }
        match serde_json::from_slice::<Record>(bytes) {
            Ok(record) => self.record(&record, &sealed, &fault),
            Err(_) if sealed.intact() => self.wrong(fault("this link is no record of this version".to_owned())),
            Err(_) => {}
        }
        if before == 0 && self.verdict.faults.is_empty() {
            self.verdict.good_links += 1;
        }
    }

    /// A line that is no link: one that has to be one tells that somebody was here. What is no record at all may be a write that
    /// was not finished; a link that was lost so is missing by its number.
    fn unsealed(&mut self, bytes: &[u8], fault: impl Fn(String) -> Fault) {
        let event = memchr::memmem::find(bytes, b"\"event\":\"").and_then(|at| bytes.get(at + 9..)).unwrap_or_default();
        let chained = ["changed\"", "restored\"", "gap\"", "checkpoint\""];
        let time = |bytes| serde_json::from_slice::<Record>(bytes).ok().map(|record| record.time);
        if !chained.iter().any(|name| event.starts_with(name.as_bytes())) {
            // Only the last of them matters, and only behind what is not signed.
            if self.unsigned > 0 {
                self.latest = time(bytes).or(self.latest);
            }
        } else if time(bytes).is_none() {
            self.verdict.torn += 1;
        } else if self.head.is_none() {
            self.verdict.before += 1;
        } else {
            self.wrong(fault("this record is not in the chain: it was put in, or its end was changed".to_owned()));
        }
    }

    /// Whether a link is the next, and says itself what it says.
    fn place(&mut self, sealed: &Sealed, fault: &impl Fn(String) -> Fault) {
        let Link { n, prev, .. } = sealed.link;
        if !sealed.intact() {
            self.wrong(fault(format!("link {n} is not what was written: it was edited")));
        }
        let Some(head) = self.head else {
            self.verdict.first_link = Some(n);
            if n == 1 && prev != Hash::default() {
                self.wrong(fault("link 1 names a link before it".to_owned()));
            }
            return;
        };
        if n > head.n.saturating_add(1) {
            self.wrong(fault(match (head.n + 1, n - 1) {
                (first, last) if first == last => format!("link {first} is missing before link {n}"),
                (first, last) => format!("links {first} to {last} are missing before link {n}"),
            }));
        } else if n <= head.n {
            self.wrong(fault(format!("link {n} stands behind link {}: moved, or put in twice", head.n)));
        } else if prev != head.hash {
            self.wrong(fault(format!(
                "link {n} follows another link {} than the one before it: that was replaced",
                head.n
            )));
        }
    }

    fn record(&mut self, record: &Record, sealed: &Sealed, fault: &impl Fn(String) -> Fault) {
        self.latest = Some(record.time);
        match &record.event {
            Event::Changed { first_seq, seq, recovered, .. } => {
                self.seen.note(first_seq.unwrap_or(*seq), *seq);
                self.verdict.recovered += u64::from(*recovered);
                self.news(record);
            }
            Event::Restored { seq, .. } => {
                self.seen = Seen::up_to(*seq);
                self.news(record);
            }
            Event::Gap { first_seq, seq, why } => {
                match first_seq {
                    Some(first) => self.seen.note(*first, *seq),
                    None => self.seen = Seen::up_to(*seq),
                }
                if self.verdict.gaps.len() < TOLD {
                    let (time, first_seq, seq, why) = (record.time, *first_seq, *seq, why.clone());
                    self.verdict.gaps.push(Gap { time, first_seq, seq, why });
                }
                self.news(record);
            }
            Event::Checkpoint { seq, key, .. } => self.checkpoint((*seq, key), sealed, fault),
            Event::Login { .. }
            | Event::LoginRefused { .. }
            | Event::Refused { .. }
            | Event::Allowed { .. }
            | Event::Fetch { .. }
            | Event::Suppressed { .. } => self.wrong(fault("a record of this kind is in no chain".to_owned())),
        }
    }

    fn news(&mut self, record: &Record) {
        self.verdict.changes += 1;
        self.unsigned += 1;
        self.unsigned_since.get_or_insert(record.time);
    }

    fn checkpoint(&mut self, (seq, key): (u64, &str), sealed: &Sealed, fault: &impl Fn(String) -> Fault) {
        let n = sealed.link.n;
        if self.known.is_empty() {
            self.known.extend(key::parse(key));
        }
        let Some(signer) = self.known.iter().find(|key| sealed.is_signed_by(key)) else {
            let named = key::parse(key).filter(|key| sealed.is_signed_by(key)).map(|key| key::fingerprint(&key));
            let what = match named {
                Some(other) => format!("checkpoint {n} is signed with another key ({other}): the chain was made anew"),
                None => format!("the signature of checkpoint {n} is wrong"),
            };
            return self.wrong(fault(what));
        };
        let signer = key::fingerprint(signer);
        if !self.verdict.keys.contains(&signer) {
            self.verdict.keys.push(signer);
        }
        self.seen.begin(seq);
        self.verdict.checkpoints += 1;
        self.verdict.signed_up_to = Some(n);
        (self.unsigned, self.unsigned_since) = (0, None);
    }

    fn wrong(&mut self, fault: Fault) {
        if self.verdict.faults.len() < TOLD {
            self.verdict.faults.push(fault);
        } else {
            self.verdict.more_faults += 1;
        }
    }

    /// What all the lines come to, held against the last change in the registry's journal if that is known.
    #[must_use]
    pub fn finish(mut self, registry: Option<u64>) -> Verdict {
        let everywhere = |what: String| Fault { file: None, line: None, what };
        self.verdict.head = self.head.map(|head| format!("{}:{}", head.n, head.hash));
        (self.verdict.recorded_up_to, self.verdict.registry) = (self.seen.whole(), registry);
        if self.head.is_none() && registry == Some(0) {
            // Nothing was changed yet, so there is nothing to record.
        } else if self.head.is_none() {
            self.wrong(everywhere("there is no chain: no record of it is in these files".to_owned()));
        } else if self.verdict.checkpoints == 0 {
            self.wrong(everywhere("no link is signed: a gateway signs the first one and the last one".to_owned()));
        }
        let waited = self.unsigned_since.zip(self.latest).map(|(since, latest)| latest.duration_since(since));
        if self.unsigned > MOST_UNSIGNED || waited.is_some_and(|waited| waited > LONGEST_UNSIGNED) {
            let what = format!(
                "{} changes at the end are not signed, more or longer than a gateway leaves them so: they were made anew",
                self.unsigned
            );
            self.wrong(everywhere(what));
        }
        if let Some(pinned) = self.pinned.filter(|_| !self.met_pinned) {
            self.wrong(everywhere(format!("link {} with the hash that was kept is not in the chain", pinned.n)));
        }
        let last = self.seen.last();
        for (first, last) in self.seen.missing(last) {
            self.wrong(everywhere(match first == last {
                true => format!("change {first} has no record"),
                false => format!("changes {first} to {last} have no record"),
            }));
        }
        match registry {
            Some(seq) if seq > last => self.wrong(everywhere(format!(
                "the end is missing: the registry is at change {seq}, and the last one with a record is {last}"
            ))),
            Some(seq) if seq < last => self.wrong(everywhere(format!(
                "the registry is at change {seq}, and there is a record of change {last}: an older journal was put in its place"
            ))),
            Some(_) | None => {}
        }
        self.verdict.good = self.verdict.faults.is_empty();
        self.verdict
    }
}

#[cfg(test)]
mod tests;
