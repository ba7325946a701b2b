//! The registry's storage under kill -9, power cuts and damage, and many processes at once.
//!
//! In CI these run short; `just crash-test` and `just damage-test` set the variables below and run them in full.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests say no by panicking, and print what they counted"
)]

mod book;
mod crash;
mod damage;
mod disk;
mod full;
mod large;
mod names;
mod race;
mod writers;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pullgate::registry::Lookup;

/// The variable that names a child's directory.
const DIR: &str = "PULLGATE_TEST_DIR";

/// How long a child may take to acknowledge its first commit, and an index to be built.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the index answers.
fn indexed(lookup: &Lookup, what: &str) {
    let start = Instant::now();
    while !lookup.indexed() {
        assert!(start.elapsed() < PATIENCE, "{what}: the index is not built");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A count that a recipe may set.
fn count(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// This program once more, with one of the ignored tests that only work as a child.
fn child(test: &str, dir: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(DIR, dir).stdin(Stdio::null());
    command
}

fn given() -> PathBuf {
    std::env::var_os(DIR).expect("run by another test").into()
}
