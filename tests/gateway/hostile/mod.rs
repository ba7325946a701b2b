//! Clients that lie, against the real gateway over loopback: a table of what each did and what the gateway did, with real
//! clones beside them all the time. `just hostile` prints it; `cargo test` runs the same.

mod before;
mod certificates;
mod crowd;
mod floods;
mod fuzz;
mod groups;
mod guesses;
mod inside;
mod login;
mod readers;
mod site;
mod wire;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use site::Site;

/// One lie. `run` says what the gateway did, or panics when that is not what it has to do.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) does: &'static str,
    pub(crate) run: fn(&Site) -> String,
}

/// Whether this is the long form: `just hostile`.
fn is_long() -> bool {
    std::env::var_os("PULLGATE_HOSTILE").is_some_and(|value| value == "long")
}

/// Runs them all at a time or one by one, and adds to the names of those that were failures.
fn rows(site: &Site, cases: &[Case], at_a_time: bool, failed: &mut Vec<String>) {
    let run = |case: &Case| {
        let start = Instant::now();
        let ran = catch_unwind(AssertUnwindSafe(|| (case.run)(site)));
        (ran, start.elapsed().as_secs_f32())
    };
    let ran: Vec<_> = if at_a_time {
        std::thread::scope(|scope| {
            let threads: Vec<_> = cases.iter().map(|case| scope.spawn(|| run(case))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    } else {
        cases.iter().map(run).collect()
    };
    for (case, (ran, took)) in cases.iter().zip(ran) {
        let (did, verdict) = match ran {
            Ok(did) => (did, "ok"),
            Err(why) => {
                let text = why.downcast_ref::<String>().map(String::as_str).or(why.downcast_ref::<&str>().copied());
                let text = text.unwrap_or_default().to_owned();
                failed.push(format!("{}: {text}", case.name));
                (text, "FAILED")
            }
        };
        eprintln!("| {} | {} | {did} | {took:.1} | {verdict} |", case.name, case.does);
    }
}

#[test]
fn liars_get_nothing_and_disturb_nobody() {
    let site = Site::start();
    let honest = site.clones_meanwhile();
    let mut failed = Vec::new();
    eprintln!(
        "\n| case | what the client did | what the gateway did | seconds | verdict |\n| --- | --- | --- | --- | --- |"
    );
    rows(&site, before::CASES, false, &mut failed);
    // Most of these end by the login clock, and need not wait for each other.
    rows(&site, login::CASES, true, &mut failed);
    rows(&site, inside::CASES, false, &mut failed);
    rows(&site, floods::CASES, false, &mut failed);
    assert!(failed.is_empty(), "{failed:?}");
    honest.end();
    site.calm();
}
