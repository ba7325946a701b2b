//! The gateway as every other client meets it: one row for each git, SSH library, key kind and protocol version.
//!
//! A client that is not installed is reported as ignored to a person, and is a failure where `PULLGATE_INTEROP=require` is
//! set, as CI does: there, a row that is not run must not look like one that is good. `just interop` runs it all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests say no by panicking, and the table is what this program is for"
)]

mod clients;
mod exercise;
#[allow(dead_code, reason = "shared with the gateway tests, which use all of it")]
#[path = "../gateway/harness.rs"]
mod harness;
mod jgit;
mod listen_in;
mod messages;
mod offer;
mod others;
mod python;
mod scans;
#[path = "../gateway/scene.rs"]
mod scene;
mod table;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use libtest_mimic::{Arguments, Failed, Trial};

/// One test: a name, what it needs on this machine, and the test itself.
pub(crate) struct Check {
    pub(crate) name: String,
    /// What is missing, if anything.
    pub(crate) missing: Option<String>,
    pub(crate) run: Box<dyn FnOnce() + Send>,
}

/// How many clients there are: six gits over OpenSSH, two kinds of key, three other ways to connect, two libraries for Python,
/// JGit. A row that gets lost must not look like one that is good.
const CLIENTS: usize = 14;

fn main() {
    let mut args = Arguments::from_args();
    // Each test is a gateway and a handful of processes; more at a time only makes them slow.
    args.test_threads.get_or_insert(2);
    let required = std::env::var_os("PULLGATE_INTEROP").is_some_and(|value| value == "require");
    let clients = clients::checks().into_iter().chain(python::checks()).chain(jgit::checks());
    let clients = clients.map(|check| trial(with_row(check), required));
    let others = others::checks().into_iter().chain(scans::checks()).chain(offer::checks()).chain(messages::checks());
    let others = others.map(|check| trial(check, required));
    let conclusion = libtest_mimic::run(&args, clients.chain(others).collect());
    if !args.list {
        table::print();
    }
    let everything = args.filter.is_none() && args.skip.is_empty() && !args.list && !args.ignored;
    if required && everything {
        assert_eq!(table::count(), (CLIENTS, CLIENTS), "rows of the table, and good ones of them");
    }
    conclusion.exit();
}

/// The same, with a row in the table however it ends.
fn with_row(check: Check) -> Check {
    let Check { name, missing, run } = check;
    if let Some(what) = &missing {
        table::absent(&name, what);
    }
    let client = name.clone();
    let run = move || {
        table::begin(&client);
        let outcome = catch_unwind(AssertUnwindSafe(run));
        table::end(outcome.is_ok());
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    };
    Check { name, missing, run: Box::new(run) }
}

fn trial(check: Check, required: bool) -> Trial {
    let Check { name, missing, run } = check;
    match missing {
        None => Trial::test(name, move || {
            run();
            Ok(())
        }),
        Some(what) if required => Trial::test(name, move || Err(Failed::from(format!("{what} is not installed")))),
        Some(what) => Trial::test(name, || Ok(())).with_kind(format!("needs {what}")).with_ignored_flag(true),
    }
}
