//! What the parent knows: what was acknowledged, and what may or may not have happened.

use std::collections::BTreeMap;
use std::fmt;

use pullgate::registry::Lookup;
use pullgate::registry::record::KeyRecord;

use crate::names::key;
use crate::writers::{SLOTS, WRITERS, name};

/// What is added to the count of grants of a suspended key.
pub(crate) const SUSPENDED: usize = 100;

/// What one key is; empty when it is not registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) label: String,
    pub(crate) note: String,
    pub(crate) grants: usize,
}

impl Slot {
    pub(crate) fn of(record: Option<&KeyRecord>) -> Self {
        record.map_or_else(Self::default, |record| Self {
            label: record.label().to_string(),
            note: record.note.to_string(),
            grants: record.grants.len() + if record.suspended.is_some() { SUSPENDED } else { 0 },
        })
    }

    fn parse(text: &str) -> Self {
        let mut parts = text.split('|');
        let mut next = || parts.next().unwrap();
        Self { label: next().to_owned(), note: next().to_owned(), grants: next().parse().unwrap() }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}|{}", self.label, self.note, self.grants)
    }
}

/// The parent's book.
#[derive(Debug, Default)]
pub(crate) struct Book {
    known: BTreeMap<u32, Slot>,
    /// Of each writer: the commit that was on its way.
    pending: BTreeMap<u32, Vec<(u32, Slot)>>,
    /// How many commits were acknowledged.
    pub(crate) acknowledged: usize,
    /// How many were on their way at an end, and were there afterwards; and were not.
    pub(crate) came_through: usize,
    pub(crate) did_not: usize,
}

impl Book {
    /// A line of a writer.
    pub(crate) fn line(&mut self, line: &str) {
        // The test harness says its own things on the same stream.
        let Some((verb @ ("try" | "ok"), rest)) = line.split_once(' ') else { return };
        let slots: Vec<(u32, Slot)> = rest
            .split(' ')
            .map(|part| {
                let (number, slot) = part.split_once('=').unwrap();
                (number.parse().unwrap(), Slot::parse(slot))
            })
            .collect();
        let writer = slots[0].0 / SLOTS;
        if verb == "try" {
            assert!(self.pending.insert(writer, slots).is_none(), "two at a time: {line}");
        } else {
            assert_eq!(self.pending.remove(&writer).as_ref(), Some(&slots));
            self.known.extend(slots);
            self.acknowledged += 1;
        }
    }

    /// Compares all that is known with what the registry says; every difference in words.
    pub(crate) fn compare(&mut self, lookup: &Lookup) -> Vec<String> {
        let mut wrong = Vec::new();
        let found: BTreeMap<u32, Slot> = (0..WRITERS * SLOTS)
            .map(|number| (number, Slot::of(lookup.key(&key(number).fingerprint()).unwrap().as_ref())))
            .collect();
        for (_, slots) in std::mem::take(&mut self.pending) {
            // All of it, or nothing of it.
            if slots.iter().all(|(number, slot)| found[number] == *slot) {
                self.came_through += 1;
                self.known.extend(slots);
            } else {
                self.did_not += 1;
            }
        }
        for (number, slot) in &found {
            let known = self.known.get(number).cloned().unwrap_or_default();
            if *slot != known {
                wrong.push(format!("key {number}: acknowledged as '{known}', found as '{slot}'"));
            }
            // The name leads to the key, and an old name to nothing.
            if !slot.label.is_empty() {
                let named = lookup.named(&name(&slot.label)).unwrap();
                if named.map(|record| record.fingerprint()) != Some(key(*number).fingerprint()) {
                    wrong.push(format!("key {number}: its name {} does not lead to it", slot.label));
                }
            }
            if known.label != slot.label
                && !known.label.is_empty()
                && lookup.named(&name(&known.label)).unwrap().is_some()
            {
                wrong.push(format!("key {number}: an old name {} leads somewhere", known.label));
            }
        }
        let there = found.values().filter(|slot| !slot.label.is_empty()).count();
        let listed = lookup.keys(None, None, usize::MAX).unwrap().len();
        if listed != there {
            wrong.push(format!("{listed} keys are listed, {there} are found"));
        }
        wrong
    }
}
