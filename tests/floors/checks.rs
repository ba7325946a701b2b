//! Every check, on sources made up for it: it says no where it should, and nothing where it should not.

use super::judge::{self, Offence};
use super::law::{CONFINED, FLOORS, MAX_LINES, What};
use super::source::Source;

fn judged(check: fn(&[Source]) -> Vec<Offence>, files: &[(&str, &str)]) -> Vec<Offence> {
    let source = |(path, text): &(&str, &str)| Source { path: (*path).to_owned(), text: (*text).to_owned() };
    check(&files.iter().map(source).collect::<Vec<_>>())
}

/// Asserts that the check refuses this file once, at `line`, with `words`.
#[track_caller]
fn refused(check: fn(&[Source]) -> Vec<Offence>, path: &str, text: &str, line: usize, words: &str) {
    let offences = judged(check, &[(path, text)]);
    let [offence] = offences.as_slice() else { panic!("{path}: {text}: not one offence: {offences:#?}") };
    assert!(offence.starts_with(&format!("{path}:{line}: ")), "{offence}");
    assert!(offence.contains(words), "{offence}");
}

#[track_caller]
fn passed(check: fn(&[Source]) -> Vec<Offence>, path: &str, text: &str) {
    assert_eq!(judged(check, &[(path, text)]), Vec::<Offence>::new(), "{path}: {text}");
}

#[test]
fn downward_is_allowed() {
    passed(judge::floors, "src/gate/mod.rs", "use crate::model::repo_path::RepoPath;\nuse crate::registry::Lookup;");
    passed(judge::floors, "src/gate/authorize.rs", "use super::admit::Principal; fn f() { crate::gate::x() }");
    passed(judge::floors, "src/front/ssh/handler.rs", "use crate::git::run; use super::super::super::gate::Gate;");
    passed(judge::floors, "src/daemon/mod.rs", "use crate::front::{control, ssh};");
    passed(judge::floors, "src/main.rs", "use pullgate::cli; fn main() { crate::helper(); }");
    passed(judge::floors, "src/lib.rs", "//! [`crate::git`]\npub mod git;\npub mod model;");
    passed(judge::floors, "src/model/name.rs", "#[cfg(test)] mod tests { use super::*; use super::super::text; }");
}

#[test]
fn upward_is_refused_however_it_is_written() {
    let above = "floor 3), above gate (floor 2)";
    let no = |text, line| refused(judge::floors, "src/gate/admit.rs", text, line, above);
    no("use crate::git::run;", 1);
    no("\n\nuse crate::git;", 3);
    no("use crate::{model::{name, text}, git::{self as other}};", 1);
    no("use super::super::git::run;", 1);
    no("use self::super::super::git::run;", 1);
    no("fn f() {\n    let x = crate::git::run();\n}", 2);
    no("fn f(x: &crate::git::Fetch<u8>) {}", 1);
    no("fn f<T: super::super::git::Io>() {}", 1);
    no("fn f() {\n    tracing::info!(\n        x = crate::git::run(),\n    );\n}", 3);
    no("mod inner { fn f() { super::super::super::git::run() } }", 1);
    no("#[cfg(test)] mod tests { use crate::git; }", 1);
    no("#[derive(A)]\nstruct S {\n    #[serde(with = \"crate::git::text\")]\n    x: u8,\n}", 3);
    no("#[derive(Debug, crate::git::Derive)] struct S;", 1);
    no("pub(crate) use crate::git::run as go;", 1);
    no("use pullgate::git;", 1);
    no("use ::russh::keys; impl crate::git::Io for u8 {}", 1);
    no("macro_rules! m { () => { $crate::git::run() } }", 1);
    no("const X: u8 = <crate::git::Io as Default>::default();", 1);
    no("use crate::r#git;", 1);
}

#[test]
fn siblings_are_refused() {
    refused(judge::floors, "src/gate/mod.rs", "use crate::admin::Admin;", 1, "a sibling of gate (floor 2)");
    refused(judge::floors, "src/audit.rs", "use crate::registry::Lookup;", 1, "a sibling of audit");
    refused(judge::floors, "src/front/ssh/mod.rs", "use super::control::x;", 1, "a sibling of front::ssh");
    refused(judge::floors, "src/front/control/a/b.rs", "use crate::front::ssh::x;", 1, "a sibling of front::control");
    refused(judge::floors, "src/front/ssh/mod.rs", "use super::Shared;", 1, "a sibling of front::ssh");
    refused(judge::floors, "src/front/mod.rs", "pub mod ssh; fn f() { ssh::serve() }", 1, "a sibling of front ");
    refused(judge::floors, "src/front/mod.rs", "pub use ssh::serve;", 1, "a sibling of front ");
}

#[test]
fn what_would_blind_the_check_is_refused() {
    let whole = "takes in the whole crate";
    refused(judge::floors, "src/audit.rs", "use super::*;", 1, whole);
    refused(judge::floors, "src/gate/mod.rs", "use crate::*;", 1, whole);
    refused(judge::floors, "src/gate/mod.rs", "use crate as c;", 1, whole);
    refused(judge::floors, "src/gate/mod.rs", "use crate::{self as c};", 1, whole);
    refused(judge::floors, "src/gate/admit.rs", "use super::super as c;", 1, whole);
    refused(judge::floors, "src/gate/mod.rs", "#[path = \"../git/mod.rs\"]\nmod inner;", 1, "#[path]");
    refused(judge::floors, "src/gate/mod.rs", "macro_rules! m { () => { use $x::git; } }", 1, "cannot read");
    refused(judge::floors, "src/gate/mod.rs", "fn f() {\n \"", 2, "so that tests/floors.rs can see");
}

#[test]
fn rooms_without_a_floor_are_refused() {
    refused(judge::floors, "src/util.rs", "fn f() {}", 1, "on no floor");
    refused(judge::floors, "src/bin/other.rs", "fn f() {}", 1, "on no floor");
    refused(judge::floors, "src/gate/mod.rs", "use crate::util::x;", 1, "in no room");
}

#[test]
fn the_binary_and_the_map_are_thin() {
    refused(judge::floors, "src/main.rs", "fn main() { pullgate::daemon::serve() }", 1, "the binary names `daemon`");
    refused(judge::floors, "src/lib.rs", "pub mod cli;\nuse crate::cli::run;", 2, "the map names `cli::run`");
    refused(judge::floors, "src/lib.rs", "use cli::run;", 1, "the map names");
    refused(judge::exports, "src/lib.rs", "pub mod model;\npub use model::name;", 2, "`pub use`");
    passed(judge::exports, "src/model/mod.rs", "pub use name::AccountName;");
    passed(judge::exports, "src/lib.rs", "//! pub use model;\npub mod model;");
}

#[test]
fn a_word_in_the_wrong_room_is_refused() {
    let no = |path, text, words| refused(judge::rooms, path, text, 1, words);
    no("src/gate/mod.rs", "use sled::Db;", "sled");
    no("src/gate/mod.rs", "fn f(x: &sled::Db) {}", "sled");
    no("src/gate/mod.rs", "extern crate sled;", "sled");
    no("src/gate/mod.rs", "fn f() { m!(git2::Repository::open(x)) }", "git2");
    no("src/gate/proof.rs", "fn f(x: VerifiedPublicKey<'_>) {}", "VerifiedPublicKey");
    no("src/cli/mod.rs", "fn f() -> anyhow::Result<()> { Ok(()) }", "anyhow");
    passed(judge::rooms, "src/registry/index.rs", "use sled::Db;");
    passed(judge::rooms, "src/store/sample.rs", "use git2::Repository;");
    no("src/store/open.rs", "use git2::Repository;", "git2");
    passed(judge::rooms, "src/main.rs", "fn main() -> anyhow::Result<()> { Ok(()) }");
    passed(judge::rooms, "src/gate/mod.rs", "//! sled\n/// git2\n// anyhow\nconst X: &str = \"sled\";");
    passed(judge::rooms, "src/gate/mod.rs", "fn f<'sled>(x: &'sled u8) {}");
}

#[test]
fn a_word_of_one_file_is_refused_in_a_second() {
    let second = ("src/registry/other.rs", "use sled::Tree;");
    let offences = judged(judge::rooms, &[("src/registry/index.rs", "use sled::Db;"), second]);
    assert_eq!(offences.len(), 1, "{offences:?}");
    assert!(offences.iter().all(|offence| offence.contains("may stand in one file")), "{offences:?}");
    let tests = ("src/registry/index/tests.rs", "use sled::Tree;");
    assert!(judged(judge::rooms, &[("src/registry/index.rs", "use sled::Db;"), tests]).is_empty());
}

#[test]
fn the_ssh_protocol_is_one_doors_business() {
    let no = |text| refused(judge::rooms, "src/gate/mod.rs", text, 1, "only src/front/ssh speaks SSH");
    no("use russh::server::Handler;");
    no("use russh::{keys, client};");
    no("use russh as r;");
    no("use russh::*;");
    no("fn f(x: ::russh::server::Config) {}");
    passed(judge::rooms, "src/model/public_key.rs", "use russh::keys::ssh_key; fn f() { russh::keys::x() }");
    passed(judge::rooms, "src/front/ssh/handler.rs", "use russh::server::{Auth, Handler};");
}

#[test]
fn a_process_starts_in_one_place() {
    let no = |text, line| refused(judge::rooms, "src/git/pump.rs", text, line, "only src/git/child.rs starts git");
    no("use std::process::Command;", 1);
    no("use std::process::{ExitCode, Command as C};", 1);
    no("use std::process;\nfn f() { process::Command::new(x) }", 2);
    no("use std::{self, fs};\nfn f() { std::process::Command::new(x) }", 2);
    let offences =
        judged(judge::rooms, &[("src/git/pump.rs", "use tokio as t;\nfn f() { t::process::Command::new(x) }")]);
    assert_eq!(offences.len(), 2, "{offences:?}");
    let offences = judged(judge::rooms, &[("src/git/pump.rs", "use std as s;")]);
    assert!(offences.iter().any(|offence| offence.contains("std::process::Command")), "{offences:?}");
    no("use std::process::*;", 1);
    no("use tokio::{io, process};", 1);
    no("pub(crate) use std::process;", 1);
    passed(judge::rooms, "src/git/pump.rs", "use std::process::ExitCode; use clap::Command; fn f() { Command::new() }");
    passed(judge::rooms, "src/git/child.rs", "use tokio::process::Command;");
    passed(judge::rooms, "src/sandbox/mod.rs", "use std::process::Command;");
}

#[test]
fn the_environment_is_read_in_few_places_and_nothing_prints() {
    let no = |text, words| refused(judge::rooms, "src/git/mod.rs", text, 1, words);
    no("fn f() { std::env::var(\"HOME\") }", "take the value as a setting");
    no("use std::env; fn f() { env::var_os(\"HOME\") }", "take the value as a setting");
    no("fn f() { println!(\"x\") }", "println!");
    no("fn f() { std::eprintln!(\"x\") }", "eprintln!");
    no("#[cfg(test)] mod tests { fn f() { dbg!(1); } }", "finish it");
    no("fn f() { a(todo!()) }", "finish it");
    passed(judge::rooms, "src/git/tests.rs", "fn f() { println!(); std::env::var(x); std::process::Command::new(x) }");
    passed(judge::rooms, "src/git/mod.rs", "fn f() { std::env::args(); if todo != (1) {} println(x) }");
    passed(judge::rooms, "src/cli/mod.rs", "fn f() { std::env::var(\"HOME\") }");
}

#[test]
fn a_proven_key_has_one_maker() {
    let maker = ("src/front/ssh/handler.rs", "fn f() { ProvenKey::verified(key) }");
    let defined = (
        "src/gate/proof.rs",
        "impl ProvenKey { fn verified() { Self } }\n#[cfg(test)]\nmod tests { fn f() { ProvenKey::verified(k) } }",
    );
    let say = |files: &[_]| judged(judge::proven_key, files).len();
    assert_eq!(say(&[defined]), 0);
    assert_eq!(say(&[defined, maker]), 0);
    assert_eq!(say(&[defined, ("src/front/ssh/handler.rs", "fn f() {}")]), 1, "nobody makes it any more");
    assert_eq!(say(&[maker, ("src/front/control/x.rs", "fn f() { gate::ProvenKey::verified(key) }")]), 1);
    assert_eq!(say(&[maker, ("src/gate/x.rs", "fn f() { map(ProvenKey::verified) }")]), 1);
    assert_eq!(say(&[("src/front/ssh/handler.rs", "fn f() { ProvenKey::a(k); ProvenKey::a(k) }")]), 1, "twice");
}

#[test]
fn test_code_is_told_from_the_rest() {
    let say = |text| judged(judge::receive_pack, &[("src/git/argv.rs", text)]).len();
    assert_eq!(say("#[cfg(test)]\nmod tests { const A: &str = \"git-receive-pack\"; }"), 0);
    assert_eq!(say("#[cfg(test)]\nuse x::y;\nconst A: &str = \"git-receive-pack\";"), 1);
    assert_eq!(say("#[cfg(test)]\nfn f() {}\nconst A: &str = \"git-receive-pack\";"), 1);
    assert_eq!(say("#![cfg(test)]\nuse x::y;\nconst A: &str = \"git-receive-pack\";"), 0);
    assert_eq!(say("#[cfg(not(test))]\nmod other { const A: &str = \"git-receive-pack\"; }"), 1);
}

#[test]
fn a_module_called_tests_is_test_code() {
    refused(judge::floors, "src/git/mod.rs", "pub mod child;\nmod tests;", 2, "it wants #[cfg(test)]");
    refused(judge::floors, "src/git/mod.rs", "mod tests { fn f() {} }", 1, "it wants #[cfg(test)]");
    passed(judge::floors, "src/git/mod.rs", "#[cfg(test)]\nmod tests;");
}

#[test]
fn receive_pack_is_hardly_spoken_of() {
    let no = |text| refused(judge::receive_pack, "src/git/argv.rs", text, 1, "speaks of receive-pack");
    no("const A: &str = \"git-receive-pack\";");
    no("const A: &[u8] = b\"receive-pack\";");
    no("fn receive_pack() {}");
    no("enum Service { ReceivePack }");
    no("fn f() { x!(\"git receive_pack\") }");
    passed(
        judge::receive_pack,
        "src/git/argv.rs",
        "//! There is no receive-pack.\n/// Nor here: receive-pack.\nfn f() {}",
    );
    passed(judge::receive_pack, "src/front/ssh/exec_line.rs", "const A: &str = \"git-receive-pack\";");
}

#[test]
fn a_file_of_401_lines_is_refused() {
    passed(judge::lengths, "src/a.rs", &"\n".repeat(MAX_LINES));
    refused(judge::lengths, "tests/a.rs", &"\n".repeat(MAX_LINES + 1), MAX_LINES, "401 lines");
}

/// Every row of the table of confined things refuses something: a row with a slip in it would be silent for ever.
#[test]
fn every_row_can_say_no() {
    for confined in CONFINED {
        let text = match confined.what {
            What::Word(word) => format!("use {word}::x;"),
            What::Path(path) | What::PathBut(path, _) => format!("use {}::x;", path.join("::")),
            What::Macro(name) => format!("fn f() {{ {name}!() }}"),
        };
        let offences = judged(judge::rooms, &[("src/model/name.rs", &text)]);
        assert!(offences.iter().any(|offence| offence.contains(confined.remedy)), "{text}: {offences:?}");
    }
    for (_, room) in FLOORS {
        let path = format!("src/{}/mod.rs", room.replace("::", "/"));
        refused(judge::floors, &path, "use crate::cli2::x;", 1, "in no room");
    }
}
