//! How often what was decided: every record counts when it is made, whether it can be written or not.
//!
//! No label has a name, a path or an address: each is one of a few words that are known here, and what is not is `other`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Ended, Event, Source};

/// The codes of refusals that are counted by their names. `gate` has the same, and a test that says so.
pub const CODES: [&str; 16] = [
    "not-granted",
    "read-only",
    "expired",
    "suspended",
    "rotated",
    "removed",
    "source-address",
    "busy",
    "unavailable",
    "repository",
    "shared-objects",
    "bad-path",
    "not-served",
    "sha1-signature",
    "timed-out",
    "flooded",
];
/// Those of them that a fetch that was allowed can come to.
const UNSERVED: [&str; 12] = [
    "busy",
    "repository",
    "timed-out",
    "flooded",
    // For whom something changed between its permission and its pack.
    "not-granted",
    "expired",
    "suspended",
    "rotated",
    "removed",
    "source-address",
    "shared-objects",
    "unavailable",
];
/// Why nobody was let in. The SSH door has the same, and a test that says so.
pub const REASONS: [&str; 5] = ["no-key", "unknown-key", "not-proved", "too-many-keys", "too-many-guesses"];
/// The kinds of records.
const EVENTS: [&str; 10] =
    ["login", "login-refused", "refused", "allowed", "fetch", "changed", "restored", "gap", "checkpoint", "suppressed"];
/// What becomes of a word that is not known here.
const OTHER: &str = "other";
/// Upper bounds, in seconds: from a poll that is kept to the longest fetch that is usually allowed.
const DURATIONS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 3600.0];

type Label = (&'static str, &'static str);

/// Why a record is not in the file; it is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It has no form as JSON.
    Form,
    /// The disk did not keep up.
    Queue,
    /// The disk did not take it.
    Disk,
}

impl Lost {
    const ALL: [Self; 3] = [Self::Form, Self::Queue, Self::Disk];

    fn word(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Queue => "queue-full",
            Self::Disk => "disk",
        }
    }
}

/// The counters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Counters {
    records: Family<[Label; 1], Counter>,
    lost: Family<[Label; 1], Counter>,
    suppressed: Counter,
    logins: Counter,
    logins_refused: Family<[Label; 1], Counter>,
    refused: Family<[Label; 1], Counter>,
    allowed: Counter,
    running: Gauge,
    fetches: Family<[Label; 3], Counter>,
    unserved: Family<[Label; 1], Counter>,
    sent: Counter,
    received: Counter,
    durations: Histogram,
    changes: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        let counters = Self {
            records: Family::default(),
            lost: Family::default(),
            suppressed: Counter::default(),
            logins: Counter::default(),
            logins_refused: Family::default(),
            refused: Family::default(),
            allowed: Counter::default(),
            running: Gauge::default(),
            fetches: Family::default(),
            unserved: Family::default(),
            sent: Counter::default(),
            received: Counter::default(),
            durations: Histogram::new(DURATIONS),
            changes: Counter::default(),
        };
        // What has not happened yet is 0, not absent: an alert on its growth sees the first time, too.
        EVENTS.iter().for_each(|event| drop(counters.records.get_or_create(&[("event", *event)])));
        Lost::ALL.iter().for_each(|lost| drop(counters.lost.get_or_create(&[("cause", lost.word())])));
        REASONS.iter().for_each(|reason| drop(counters.logins_refused.get_or_create(&[("reason", *reason)])));
        CODES.iter().for_each(|code| drop(counters.refused.get_or_create(&[("code", *code)])));
        UNSERVED.iter().for_each(|code| drop(counters.unserved.get_or_create(&[("code", *code)])));
        for outcome in [Ended::Served, Ended::Failed, Ended::ClientGone, Ended::TimedOut, Ended::Flooded, Ended::Cut] {
            for source in ["none", "hit", "joined", "miss", "bypass"] {
                for protocol in 0..=2 {
                    drop(counters.fetches.get_or_create(&fetch_labels(outcome, source, protocol)));
                }
            }
        }
        counters
    }
}

impl Counters {
    /// One record was made.
    pub(super) fn count(&self, event: &Event) {
        let kind = match event {
            Event::Login { .. } => {
                self.logins.inc();
                "login"
            }
            Event::LoginRefused { subject: _, reason } => {
                self.logins_refused.get_or_create(&[("reason", known(&REASONS, reason))]).inc();
                "login-refused"
            }
            Event::Refused { subject: _, code, reason: _, asked: _, repository: _ } => {
                self.refused.get_or_create(&[("code", known(&CODES, code))]).inc();
                "refused"
            }
            Event::Allowed { .. } => {
                self.allowed.inc();
                self.running.inc();
                "allowed"
            }
            Event::Fetch {
                subject: _,
                repository: _,
                protocol,
                outcome,
                bytes_out,
                bytes_in,
                duration_ms,
                source,
                code,
            } => {
                let labels = fetch_labels(*outcome, came(source.as_ref()), *protocol);
                self.fetches.get_or_create(&labels).inc();
                if let Some(code) = code {
                    self.unserved.get_or_create(&[("code", known(&CODES, code))]).inc();
                }
                self.sent.inc_by(*bytes_out);
                self.received.inc_by(*bytes_in);
                self.durations.observe(std::time::Duration::from_millis(*duration_ms).as_secs_f64());
                self.running.dec();
                "fetch"
            }
            Event::Changed { .. } => {
                self.changes.inc();
                "changed"
            }
            Event::Restored { .. } => "restored",
            Event::Gap { .. } => "gap",
            Event::Checkpoint { .. } => "checkpoint",
            Event::Suppressed { .. } => "suppressed",
        };
        self.records.get_or_create(&[("event", kind)]).inc();
    }

    /// One record is only counted in the file, since strangers cause too many.
    pub(super) fn suppress(&self) {
        self.suppressed.inc();
    }

    /// One record is not in the file.
    pub(super) fn lose(&self, why: Lost) {
        self.lost.get_or_create(&[("cause", why.word())]).inc();
    }

    /// Names them for who collects them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("pullgate_audit_records", "Audit records that were made", self.records.clone());
        registry.register(
            "pullgate_audit_records_lost",
            "Audit records that are in the log and not in the audit file, because it did not keep up or did not take them",
            self.lost.clone(),
        );
        registry.register(
            "pullgate_audit_records_suppressed",
            "Audit records that strangers caused and that are counted in a record of the event suppressed alone",
            self.suppressed.clone(),
        );
        registry.register("pullgate_logins", "Registered keys that logged in", self.logins.clone());
        registry.register(
            "pullgate_logins_refused",
            "Connections that tried to log in and on which nobody was let in",
            self.logins_refused.clone(),
        );
        registry.register(
            "pullgate_requests_refused",
            "Requests of somebody who had logged in that were refused, by the code that the client was shown",
            self.refused.clone(),
        );
        registry.register("pullgate_fetches_allowed", "Fetches that were allowed", self.allowed.clone());
        registry.register(
            "pullgate_fetches_running",
            "Fetches that were allowed and have not ended",
            self.running.clone(),
        );
        registry.register("pullgate_fetches", "Fetches that have ended", self.fetches.clone());
        registry.register(
            "pullgate_fetches_unserved",
            "Fetches that came to no good end, by the code that the client was shown",
            self.unserved.clone(),
        );
        registry.register_with_unit(
            "pullgate_fetch_sent",
            "Bytes to clients, of fetches that have ended",
            Unit::Bytes,
            self.sent.clone(),
        );
        registry.register_with_unit(
            "pullgate_fetch_received",
            "Bytes from clients, of fetches that have ended",
            Unit::Bytes,
            self.received.clone(),
        );
        registry.register_with_unit(
            "pullgate_fetch_duration",
            "Time from the decision to the end of a fetch",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "pullgate_registry_changes",
            "Changes of the registry that operators made",
            self.changes.clone(),
        );
    }
}

/// The word itself, if it is one of these.
fn known(words: &[&'static str], word: &str) -> &'static str {
    words.iter().find(|known| **known == word).copied().unwrap_or(OTHER)
}

fn fetch_labels(outcome: Ended, source: &'static str, protocol: u8) -> [Label; 3] {
    [("outcome", ended(outcome)), ("source", source), ("protocol", spoken(protocol))]
}

fn ended(outcome: Ended) -> &'static str {
    match outcome {
        Ended::Served => "served",
        Ended::Failed => "failed",
        Ended::ClientGone => "client-gone",
        Ended::TimedOut => "timed-out",
        Ended::Flooded => "flooded",
        Ended::Cut => "cut",
    }
}

fn came(source: Option<&Source>) -> &'static str {
    match source {
        None => "none",
        Some(Source::Hit) => "hit",
        Some(Source::Joined) => "joined",
        Some(Source::Miss) => "miss",
        Some(Source::Bypass(_)) => "bypass",
    }
}

fn spoken(protocol: u8) -> &'static str {
    match protocol {
        0 => "0",
        1 => "1",
        2 => "2",
        3.. => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Subject;
    use crate::model::repo_path::RepoPath;

    fn text(counters: &Counters) -> String {
        let mut registry = Registry::default();
        counters.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    fn fetch(outcome: Ended, source: Option<Source>) -> Event {
        Event::Fetch {
            subject: Subject::default(),
            repository: RepoPath::parse("acme/app").unwrap(),
            protocol: 2,
            outcome,
            bytes_out: 100,
            bytes_in: 10,
            duration_ms: 1500,
            source,
            code: (outcome == Ended::TimedOut).then(|| "timed-out".to_owned()),
        }
    }

    #[test]
    fn what_happened_is_counted_and_what_did_not_is_zero() {
        let counters = Counters::default();
        let allowed = Event::Allowed {
            subject: Subject::default(),
            repository: RepoPath::parse("acme/app").unwrap(),
            protocol: 2,
        };
        for _ in 0..3 {
            counters.count(&allowed);
        }
        counters.count(&fetch(Ended::Served, Some(Source::Hit)));
        counters.count(&fetch(Ended::TimedOut, Some(Source::Bypass("negotiation".to_owned()))));
        counters.lose(Lost::Disk);
        let text = text(&counters);
        for line in [
            "pullgate_fetches_total{outcome=\"served\",source=\"hit\",protocol=\"2\"} 1",
            "pullgate_fetches_total{outcome=\"timed-out\",source=\"bypass\",protocol=\"2\"} 1",
            "pullgate_fetches_unserved_total{code=\"timed-out\"} 1",
            "pullgate_fetch_sent_bytes_total 200",
            "pullgate_fetch_received_bytes_total 20",
            "pullgate_fetch_duration_seconds_sum 3.0",
            "pullgate_fetch_duration_seconds_bucket{le=\"1.0\"} 0",
            "pullgate_fetch_duration_seconds_bucket{le=\"2.5\"} 2",
            "pullgate_fetches_running 1",
            "pullgate_audit_records_total{event=\"allowed\"} 3",
            "pullgate_audit_records_lost_total{cause=\"disk\"} 1",
            "pullgate_audit_records_lost_total{cause=\"queue-full\"} 0",
            "pullgate_requests_refused_total{code=\"not-granted\"} 0",
            "pullgate_logins_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    /// Whoever fills a record with words of their own makes no series of their own.
    #[test]
    fn an_unknown_word_is_no_label() {
        let counters = Counters::default();
        for n in 0..100 {
            let word = format!("word {n}");
            let (subject, reason, asked) = (Subject::default(), word.clone(), word.clone());
            counters.count(&Event::Refused { subject, code: word.clone(), reason, asked, repository: None });
            counters.count(&Event::LoginRefused { subject: Subject::default(), reason: word });
        }
        let text = text(&counters);
        assert!(text.contains("pullgate_requests_refused_total{code=\"other\"} 100"), "{text}");
        assert!(text.contains("pullgate_logins_refused_total{reason=\"other\"} 100"), "{text}");
        assert!(!text.contains("word"), "{text}");
    }
}
