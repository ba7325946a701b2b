//! `pullgate cache …`

use clap::Subcommand;

use super::Context;
use super::io::{Json, Stop};
use super::session::unexpected;
use super::table::table;
use crate::admin::cache::{CacheView, TallyView};
use crate::front::control::protocol::{Answer, Request};
use crate::model::text::counted;

/// Below the help of the noun.
const EXAMPLE: &str = "\
Example:
  pullgate cache show
  pullgate cache show --json | jq .packs.hit";

/// The cache: what is kept of answers to fetches, and how often it was of use
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLE)]
pub(super) enum Verb {
    /// Show what is kept now, and how often it was of use since the daemon started
    Show {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget everything that is kept; fetches that are under way go on
    Clear {
        #[command(flatten)]
        json: Json,
    },
}

impl Verb {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        match self {
            Self::Show { json } => show(json, context),
            Self::Clear { json } => {
                let done = context.session()?.change(Request::CacheClear {})?;
                context.io.done(&done, json)
            }
        }
    }
}

fn show(json: bool, context: &mut Context<'_, '_>) -> Result<(), Stop> {
    let answer = context.session()?.call(Request::CacheShow {})?;
    let Answer::Cache(view) = answer else { return Err(unexpected(&answer).into()) };
    if json {
        return context.io.json(&view);
    }
    lines(&view).into_iter().try_for_each(|line| context.io.say(line))
}

fn lines(view: &CacheView) -> Vec<String> {
    let mut lines = Vec::new();
    if !view.enabled {
        lines.push("nothing is kept: enabled = false under [cache]".to_owned());
    }
    let (all, memory) = (size(view.bytes), size(view.memory_bytes));
    lines.push(format!("kept packs      {}, {all}; {memory} of that in memory", counted(view.entries, "answer")));
    lines.push(format!("kept polls      {}, {}", counted(view.poll_entries, "answer"), size(view.poll_bytes)));
    lines.push(format!("slots           {} of {} in use, {} waiting", view.running, view.slots, view.waiting));
    lines.push(String::new());
    let row = |name: &str, tally: &TallyView| {
        let counts = [tally.hit, tally.joined, tally.miss, tally.bypass].map(|count| count.to_string());
        let [hit, joined, miss, bypass] = counts;
        [name.to_owned(), hit, joined, miss, bypass, size(tally.bytes), size(tally.bytes_saved)]
    };
    let rows = [row("packs", &view.packs), row("polls", &view.polls)];
    lines.extend(table(["ASKED FOR", "HIT", "JOINED", "MISS", "BYPASS", "SENT", "OF THAT KEPT"], rows.as_slice()));
    if !view.bypasses.is_empty() {
        lines.push(String::new());
        let rows: Vec<_> = view.bypasses.iter().map(|(why, count)| [why.clone(), count.to_string()]).collect();
        lines.extend(table(["BYPASS BECAUSE OF", "TIMES"], &rows));
    }
    lines
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, None);
    for name in UNITS {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, Some(name));
    }
    match unit {
        None => format!("{bytes} B"),
        Some(unit) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn a_cache_that_is_off_says_so() {
        assert!(lines(&CacheView::default())[0].contains("[cache]"));
    }

    #[test]
    fn what_of_the_answers_is_in_memory_is_said() {
        let view = CacheView { enabled: true, entries: 2, bytes: 3 << 20, memory_bytes: 1 << 20, ..Default::default() };
        assert_eq!(lines(&view)[0], "kept packs      2 answers, 3.0 MiB; 1.0 MiB of that in memory");
    }
}
