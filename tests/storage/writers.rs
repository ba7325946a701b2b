//! The child that is killed: four threads that change keys without end, and say what they do before and after.

use std::io::Write as _;

use pullgate::model::key_name::KeyName;
use pullgate::model::name::Label;
use pullgate::model::text::Note;
use pullgate::registry::change::Change;
use pullgate::registry::{self, Amend, Lookup, Settings};

use crate::book::{SUSPENDED, Slot};
use crate::names::{add, grants, key};

/// How many threads write.
pub(crate) const WRITERS: u32 = 4;
/// How many keys each of them has for itself.
pub(crate) const SLOTS: u32 = 48;
/// How many keys change in one commit, now and then.
const TOGETHER: u32 = 5;
/// Small, so that the journal is compacted again and again.
pub(crate) const SETTINGS: Settings =
    Settings { compact_after: 192 * 1024, compact_patience: std::time::Duration::ZERO };

#[test]
#[ignore = "a child of the tests in crash.rs"]
fn write_without_end() {
    let (lookup, amend) = registry::open_with(&crate::given(), SETTINGS).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (lookup, amend) = (&lookup, &amend);
            scope.spawn(move || {
                for _ in 0..1_000_000 {
                    step(lookup, amend, writer);
                }
            });
        }
    });
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    u32::from_ne_bytes(bytes)
}

/// Says a whole line at once, also when the process is killed just then.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn step(lookup: &Lookup, amend: &Amend, writer: u32) {
    let token = random();
    let count = if random().is_multiple_of(8) { TOGETHER } else { 1 };
    let first = random() % (SLOTS - count);
    let (mut changes, mut slots) = (Vec::new(), Vec::new());
    for number in (first..first + count).map(|slot| writer * SLOTS + slot) {
        let (change, next) = change(lookup, number, token);
        changes.push(change);
        slots.push(format!("{number}={next}"));
    }
    let slots = slots.join(" ");
    say(&format!("try {slots}"));
    amend.commit("tester", &changes).unwrap();
    say(&format!("ok {slots}"));
}

/// Some change of this key, and what it is afterwards.
fn change(lookup: &Lookup, number: u32, token: u32) -> (Change, Slot) {
    let fingerprint = key(number).fingerprint();
    let Some(record) = lookup.key(&fingerprint).unwrap() else {
        let next = Slot { label: format!("k{number}-{token}"), note: token.to_string(), grants: 1 };
        let name = format!("acme/{}", next.label);
        return (add(number, &name, &next.note, &["acme/app"]), next);
    };
    let now = Slot::of(Some(&record));
    match token % 5 {
        0 => (Change::KeyRemove { key: fingerprint }, Slot::default()),
        1 => {
            let next = Slot { label: format!("k{number}-{token}"), ..now };
            (Change::KeyRename { key: fingerprint, label: Label::parse(&next.label).unwrap() }, next)
        }
        2 if now.grants % SUSPENDED == 1 => {
            let grants = grants(&["beta/lib"]);
            (Change::KeyGrant { key: fingerprint, grants }, Slot { grants: now.grants + 1, ..now })
        }
        2 => {
            let grants = grants(&["beta/lib"]);
            (Change::KeyUngrant { key: fingerprint, grants }, Slot { grants: now.grants - 1, ..now })
        }
        3 if now.grants < SUSPENDED => {
            let next = Slot { grants: now.grants + SUSPENDED, ..now };
            (Change::KeySuspend { key: fingerprint, reason: Note::default() }, next)
        }
        3 => (Change::KeyResume { key: fingerprint }, Slot { grants: now.grants - SUSPENDED, ..now }),
        _ => {
            let next = Slot { note: token.to_string(), ..now };
            (Change::KeyNote { key: fingerprint, note: Note::parse(&next.note).unwrap() }, next)
        }
    }
}

/// The name of a key that a slot says.
pub(crate) fn name(label: &str) -> KeyName {
    KeyName::parse(&format!("acme/{label}")).unwrap()
}
