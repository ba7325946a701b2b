use super::super::check::{Check, Verdict};
use super::super::files::family;
use super::super::lines::Forward;
use super::*;
use crate::model::details::Details;

/// A folder with an audit file and its chain.
pub(in crate::audit) struct Site(tempfile::TempDir);

impl Site {
    pub(in crate::audit) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(in crate::audit) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(in crate::audit) fn settings(&self) -> Settings {
        Settings { key: self.at("audit.key"), state: self.at("audit.chain") }
    }

    /// What a daemon does at its start, as far as the audit is concerned.
    pub(in crate::audit) fn start(&self) -> Audit {
        let audit = Audit::open(&self.at("audit.jsonl")).unwrap();
        audit.chain(&self.settings(), Some(0)).unwrap();
        audit.checkpoint();
        audit
    }

    pub(in crate::audit) fn text(&self) -> String {
        std::fs::read_to_string(self.at("audit.jsonl")).unwrap()
    }

    pub(in crate::audit) fn key(&self) -> ed25519_dalek::VerifyingKey {
        key::public_half(&self.settings().key).unwrap()
    }

    pub(in crate::audit) fn verify(&self, registry: Option<u64>) -> Verdict {
        let mut check = Check::new(vec![self.key()], None);
        for path in family(&self.at("audit.jsonl")).unwrap().plain {
            let mut lines = Forward::new(File::open(&path).unwrap());
            while let Some(line) = lines.next_line().unwrap() {
                check.line(&path, line.number, line.bytes);
            }
        }
        check.finish(registry)
    }
}

pub(in crate::audit) fn changed(seq: u64) -> Event {
    let (by, what) = ("alice".to_owned(), format!("added account n{seq}"));
    Event::Changed { by, seq, first_seq: None, what, details: Details::default(), recovered: false }
}

pub(in crate::audit) fn change(audit: &Audit, seq: u64) {
    audit.record(&new_id(), changed(seq));
}

fn other(audit: &Audit) {
    let reason = "unknown-key".to_owned();
    audit.record(&new_id(), Event::LoginRefused { subject: super::super::Subject::default(), reason });
}

fn is_good(verdict: &Verdict) {
    assert!(verdict.good, "{verdict:?}");
}

#[test]
fn a_chain_goes_on_over_restarts_and_rotations() {
    let site = Site::new();
    for round in 0..3 {
        let audit = site.start();
        for n in 1..=4 {
            change(&audit, round * 4 + n);
            other(&audit);
        }
        if round == 1 {
            audit.flush();
            std::fs::rename(site.at("audit.jsonl"), site.at("audit.jsonl.1")).unwrap();
            audit.reopen().unwrap();
        }
    }
    let verdict = site.verify(Some(12));
    is_good(&verdict);
    // One signature at each start and each end; that of the second end stands at the rotation, behind which nothing came.
    assert_eq!((verdict.changes, verdict.checkpoints, verdict.first_link), (12, 6, Some(1)));
    assert_eq!((verdict.links, verdict.signed_up_to, verdict.recorded_up_to), (18, Some(18), Some(12)));
    // The older file is gone: what is left still holds together.
    std::fs::remove_file(site.at("audit.jsonl.1")).unwrap();
    let verdict = site.verify(Some(12));
    is_good(&verdict);
    assert!(verdict.first_link > Some(1) && verdict.recorded_up_to == Some(12));
}

/// Weeks without a change are no reason for an alarm.
#[test]
fn rotations_without_a_change_between_leave_files_that_can_be_checked() {
    let site = Site::new();
    let audit = site.start();
    change(&audit, 1);
    for rotation in 1..=2 {
        audit.flush();
        std::fs::rename(site.at("audit.jsonl"), site.at(&format!("audit.jsonl.{rotation}"))).unwrap();
        audit.reopen().unwrap();
        // The older ones were packed, and are not opened.
        std::fs::remove_file(site.at(&format!("audit.jsonl.{rotation}"))).unwrap();
        let verdict = site.verify(Some(1));
        is_good(&verdict);
        assert_eq!((verdict.changes, verdict.recorded_up_to), (0, Some(1)));
    }
    change(&audit, 2);
    drop(audit);
    is_good(&site.verify(Some(2)));
}

#[test]
fn a_process_that_was_killed_before_it_wrote_down_how_far_it_was_goes_on_where_it_was() {
    let site = Site::new();
    let audit = site.start();
    change(&audit, 1);
    audit.flush();
    let before = std::fs::read(site.at("audit.chain")).unwrap();
    change(&audit, 2);
    change(&audit, 3);
    drop(audit);
    // The file of state of some moments before; the records are there, and are rotated away meanwhile.
    std::fs::write(site.at("audit.chain"), before).unwrap();
    std::fs::rename(site.at("audit.jsonl"), site.at("audit.jsonl.1")).unwrap();
    let audit = site.start();
    change(&audit, 4);
    drop(audit);
    is_good(&site.verify(Some(4)));
    // And without any.
    for damage in [None, Some("{\"n\":")] {
        match damage {
            None => std::fs::remove_file(site.at("audit.chain")).unwrap(),
            Some(text) => std::fs::write(site.at("audit.chain"), text).unwrap(),
        }
        let seen = Audit::open(&site.at("audit.jsonl")).unwrap().chain(&site.settings(), Some(9)).unwrap();
        assert_eq!(seen, Seen::up_to(4));
        drop(site.start());
        is_good(&site.verify(Some(4)));
    }
}

#[test]
fn a_line_that_was_torn_is_no_link() {
    let site = Site::new();
    let audit = site.start();
    change(&audit, 1);
    drop(audit);
    let text = site.text();
    let whole = text.trim_end().rfind('\n').unwrap() + 1;
    // Of the last checkpoint only a beginning is there, and the state is of before.
    std::fs::write(site.at("audit.jsonl"), &text[..whole + 20]).unwrap();
    std::fs::remove_file(site.at("audit.chain")).unwrap();
    let audit = site.start();
    change(&audit, 2);
    drop(audit);
    // It swallowed nothing behind it.
    is_good(&site.verify(Some(2)));
    assert_eq!(site.text().lines().filter(|line| serde_json::from_str::<Record>(line).is_err()).count(), 1);
}

#[test]
fn many_changes_are_signed_now_and_then() {
    let site = Site::new();
    let audit = site.start();
    (1..=250).for_each(|seq| change(&audit, seq));
    audit.flush();
    let verdict = site.verify(Some(250));
    is_good(&verdict);
    assert!((2..=4).contains(&verdict.checkpoints), "{verdict:?}");
    drop(audit);
    assert_eq!(site.verify(Some(250)).signed_up_to, Some(site.verify(None).links));
}

#[test]
fn two_processes_do_not_go_on_with_one_chain() {
    let site = Site::new();
    let _first = site.start();
    let second = Audit::open(&site.at("audit.jsonl")).unwrap();
    assert!(matches!(second.chain(&site.settings(), Some(0)), Err(ChainError::Locked(_))));
}
