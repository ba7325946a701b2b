//! The house rules that the compiler does not know: who may name whom, what may stand where, how long a file may be.
//!
//! `tests/floors/law.rs` has the rules as tables, `tests/floors/checks.rs` shows that each of them can say no.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code says no by panicking")]

mod floors {
    mod checks;
    pub(crate) mod judge;
    pub(crate) mod law;
    pub(crate) mod plan;
    pub(crate) mod reading;
    pub(crate) mod source;
}

use floors::judge::{self, Offence};
use floors::plan;
use floors::source::{self, Source};

/// Runs one check over the files below `folders`, and makes sure that it was given some.
fn obeyed(check: fn(&[Source]) -> Vec<Offence>, folders: &[&str]) {
    let sources = source::load(folders);
    for known in ["src/lib.rs", "src/main.rs", "src/model/mod.rs"] {
        assert!(sources.iter().any(|source| source.path == known), "{known} was not read");
    }
    let offences = check(&sources);
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

#[test]
fn modules_name_only_lower_floors() {
    obeyed(judge::floors, &["src"]);
}

#[test]
fn confined_things_stay_in_their_rooms() {
    obeyed(judge::rooms, &["src"]);
}

#[test]
fn a_proven_key_is_made_at_one_place() {
    obeyed(judge::proven_key, &["src"]);
}

#[test]
fn nothing_speaks_of_receive_pack() {
    obeyed(judge::receive_pack, &["src"]);
}

#[test]
fn files_are_short() {
    obeyed(judge::lengths, &["src", "tests"]);
}

#[test]
fn the_map_hands_nothing_on() {
    obeyed(judge::exports, &["src"]);
}

#[test]
fn the_architecture_document_is_true() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/architecture.md")).unwrap();
    let offences = [plan::floors(&document), plan::guards(&document, &source::load(&["src", "tests"]))].concat();
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}
