//! Expiry, suspension, sources, rotation and history, through the whole registry, in memory and from the index.

use jiff::Timestamp;

use super::*;
use crate::model::key_name::KeyRef;
use crate::registry::record::{MAX_SOURCES, Rotation};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn started(settled: bool) -> (tempfile::TempDir, Lookup, Amend) {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    if settled {
        settle(&lookup);
    }
    commit(&amend, &[account_add("acme"), key_add(1, "acme/ci", &["acme/app", "acme/*"])]);
    (dir, lookup, amend)
}

/// Closes the registry, and opens it again without an index.
fn replayed(dir: &Path, both: (Lookup, Amend)) -> (Lookup, Amend) {
    drop(both);
    lose_index(dir);
    open(dir).unwrap()
}

fn found(lookup: &Lookup, number: u32) -> KeyRecord {
    lookup.key(&key(number).fingerprint()).unwrap().unwrap()
}

#[test]
fn each_verb_changes_its_field_and_nothing_else_and_survives() {
    for settled in [false, true] {
        let (dir, lookup, amend) = started(settled);
        let before = found(&lookup, 1);
        let print = before.fingerprint();
        let expiry = Expiry::At(at("2030-01-01T00:00:00Z"));
        let sources = vec!["10.0.0.0/8".parse().unwrap()];
        let reason = Note::parse("lost laptop").unwrap();
        for change in [
            Change::KeyExpire { key: print, expiry },
            Change::KeySources { key: print, sources: sources.clone() },
            Change::KeySuspend { key: print, reason: reason.clone() },
        ] {
            assert!(commit(&amend, std::slice::from_ref(&change)).changed);
            assert!(!commit(&amend, &[change]).changed);
        }
        let after = found(&lookup, 1);
        let suspended = after.suspended.clone().unwrap();
        assert_eq!((suspended.reason, suspended.by.as_str()), (reason, "tester"));
        let expected = KeyRecord {
            expiry,
            sources,
            expiry_set: after.expiry_set,
            suspended: after.suspended.clone(),
            ..before.clone()
        };
        assert_eq!(after, expected);
        assert!(after.expiry_set.is_some());
        let (lookup, amend) = replayed(dir.path(), (lookup, amend));
        assert_eq!(found(&lookup, 1), after);
        commit(&amend, &[Change::KeyResume { key: print }]);
        assert!(!commit(&amend, &[Change::KeyResume { key: print }]).changed);
        assert_eq!(found(&lookup, 1).suspended, None);
        let many = vec!["10.0.0.0/8".parse().unwrap(); MAX_SOURCES + 1];
        let refused = conflict(&amend, &[Change::KeySources { key: print, sources: many }]);
        assert_eq!(refused, Conflict::TooManySources(name("acme/ci")));
    }
}

fn rotate(old: u32, new: u32, label: &str) -> Change {
    Change::KeyRotate {
        old: key(old).fingerprint(),
        new: key(new),
        label: Label::parse(label).unwrap(),
        expiry: Expiry::Never,
        until: at("2030-01-01T00:00:00Z"),
    }
}

#[test]
fn a_rotation_inherits_and_both_keys_know_of_each_other() {
    for settled in [false, true] {
        let (dir, lookup, amend) = started(settled);
        commit(&amend, &[Change::KeyNote { key: key(1).fingerprint(), note: Note::parse("agent 7").unwrap() }]);
        commit(&amend, &[Change::KeySources { key: key(1).fingerprint(), sources: vec!["::1/128".parse().unwrap()] }]);
        commit(&amend, &[rotate(1, 2, "ci-2")]);
        let (old, new) = (found(&lookup, 1), found(&lookup, 2));
        assert_eq!(
            (&new.grants, &new.note, &new.sources, new.holder),
            (&old.grants, &old.note, &old.sources, old.holder)
        );
        let until = at("2030-01-01T00:00:00Z");
        let link = |number: u32, text| {
            Some(Rotation { key: key(number).fingerprint(), name: name(text), at: new.added_at, until })
        };
        assert_eq!((new.replaces.clone(), old.replaced_by.clone()), (link(1, "acme/ci"), link(2, "acme/ci-2")));
        // A key is replaced once, by a key and a label that are free.
        let replaced = Conflict::Replaced { name: name("acme/ci"), by: name("acme/ci-2") };
        assert_eq!(conflict(&amend, &[rotate(1, 3, "ci-3")]), replaced);
        let taken = Conflict::LabelTaken { name: name("acme/ci"), fingerprint: key(1).fingerprint() };
        assert_eq!(conflict(&amend, &[rotate(2, 3, "ci")]), taken);
        let held = Conflict::KeyHeld { holder: name("acme/ci"), kind: Holder::DeployKey };
        assert_eq!(conflict(&amend, &[rotate(2, 1, "ci-3")]), held);
        // New labels reach the other key, in either direction.
        let rename =
            |number, label| Change::KeyRename { key: key(number).fingerprint(), label: Label::parse(label).unwrap() };
        commit(&amend, &[rename(2, "agent")]);
        commit(&amend, &[rename(1, "old")]);
        assert_eq!(found(&lookup, 1).replaced_by.unwrap().name, name("acme/agent"));
        assert_eq!(found(&lookup, 2).replaces.unwrap().name, name("acme/old"));
        // The overlap ends when somebody says so, for both of them.
        let overlap = |number| Change::KeyOverlap { key: key(number).fingerprint(), until: at("2031-06-01T00:00:00Z") };
        assert!(commit(&amend, &[overlap(1)]).changed && !commit(&amend, &[overlap(1)]).changed);
        assert_eq!(found(&lookup, 1).replaced_by.unwrap().until, at("2031-06-01T00:00:00Z"));
        assert_eq!(found(&lookup, 2).replaces.unwrap().until, at("2031-06-01T00:00:00Z"));
        assert_eq!(conflict(&amend, &[overlap(2)]), Conflict::NotReplaced(name("acme/agent")));
        let before = everything(&lookup);
        let (lookup, _amend) = replayed(dir.path(), (lookup, amend));
        assert_eq!(everything(&lookup), before);
    }
}

/// Whose successor was removed may be replaced again, and lives no longer for that.
#[test]
fn a_key_whose_successor_is_gone_is_replaced_by_another() {
    for settled in [false, true] {
        let (dir, lookup, amend) = started(settled);
        commit(&amend, &[rotate(1, 2, "ci-2")]);
        commit(&amend, &[Change::KeyRemove { key: key(2).fingerprint() }]);
        let later = Change::KeyRotate {
            old: key(1).fingerprint(),
            new: key(3),
            label: Label::parse("ci-3").unwrap(),
            expiry: Expiry::Never,
            until: at("2040-01-01T00:00:00Z"),
        };
        commit(&amend, &[later]);
        let (old, new) = (found(&lookup, 1).replaced_by.unwrap(), found(&lookup, 3).replaces.unwrap());
        assert_eq!((old.key, new.key), (key(3).fingerprint(), key(1).fingerprint()));
        assert_eq!([old.until, new.until], [at("2030-01-01T00:00:00Z"); 2], "as the first rotation said");
        assert!(matches!(conflict(&amend, &[rotate(1, 4, "ci-4")]), Conflict::Replaced { .. }));
        let before = everything(&lookup);
        let (lookup, _amend) = replayed(dir.path(), (lookup, amend));
        assert_eq!(everything(&lookup), before);
    }
}

#[test]
fn a_removed_key_leaves_its_history_and_no_claim() {
    for settled in [false, true] {
        let (dir, lookup, amend) = started(settled);
        let print = key(1).fingerprint();
        let by_name = KeyRef::Name(name("acme/ci"));
        assert_eq!(lookup.tombstone(&by_name).unwrap(), None);
        commit(&amend, &[Change::KeyRemove { key: print }]);
        let tomb = lookup.tombstone(&by_name).unwrap().unwrap();
        assert_eq!((tomb.key, &tomb.name, tomb.removed_by.as_str()), (print, &name("acme/ci"), "tester"));
        assert_eq!(lookup.tombstone(&KeyRef::Fingerprint(print)).unwrap().as_ref(), Some(&tomb));
        // It is free at once, under any name; the history stays until the next removal.
        commit(&amend, &[key_add(1, "acme/again", &[]), key_add(2, "acme/ci", &[])]);
        assert_eq!(lookup.tombstone(&by_name).unwrap().as_ref(), Some(&tomb));
        commit(&amend, &[Change::AccountRemove { account: account("acme") }]);
        let second = lookup.tombstone(&by_name).unwrap().unwrap();
        assert_eq!(second.key, key(2).fingerprint());
        let (lookup, _amend) = replayed(dir.path(), (lookup, amend));
        for _ in 0..2 {
            assert_eq!(lookup.tombstone(&by_name).unwrap().as_ref(), Some(&second));
            assert_eq!(lookup.tombstone(&KeyRef::Fingerprint(print)).unwrap().unwrap().name, name("acme/again"));
            settle(&lookup);
        }
    }
}
