//! A record as a line for people.

use crate::audit::query::Query;
use crate::audit::{Event, Record, Source, Subject};
use crate::cli::cache::size;
use crate::model::repo_path::RepoPath;

/// How many changes of one commit are shown.
const BELOW: usize = 10;
/// Below the id.
const INDENT: &str = "                     - ";

/// Time, id, what happened, who, from where, and the rest; what is wider than its column moves the rest of its line.
pub(super) fn line(record: &Record) -> String {
    let Record { v: _, time, id, event, link: _ } = record;
    let (who, from, rest) = parts(event);
    let time = time.strftime("%Y-%m-%d %H:%M:%S");
    format!("{time}  {id:<10}  {:<13}  {who:<20}  {from:<15}  {rest}", event.word()).trim_end().to_owned()
}

fn parts(event: &Event) -> (String, String, String) {
    let from = |subject: &Subject| subject.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
    let of = |subject: &Subject, rest: String| (who(subject), from(subject), rest);
    let local = |by: &str, rest: String| (by.to_owned(), "local".to_owned(), rest);
    match event {
        Event::Login { subject } => of(subject, subject.client.clone().unwrap_or_default()),
        Event::LoginRefused { subject, reason } => of(subject, reason.clone()),
        Event::Refused { subject, code, reason, asked, repository } => {
            let of_it =
                repository.as_ref().map(|repo| format!(" of {repo}")).filter(|_| RepoPath::parse(asked).is_err());
            of(subject, format!("{asked}{} [{code}] {reason}", of_it.unwrap_or_default()))
        }
        Event::Allowed { subject, repository, protocol } => of(subject, format!("{repository} v{protocol}")),
        Event::Fetch { subject, repository, protocol, bytes_out, duration_ms, source, code, .. } => {
            let code = code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
            let cache = source.as_ref().map(|source| format!(" {}", kept(source))).unwrap_or_default();
            let (size, time) = (size(*bytes_out), seconds(*duration_ms));
            of(subject, format!("{repository}{code} v{protocol} {size} in {time}{cache}"))
        }
        Event::Changed { by, seq, what, recovered, .. } => {
            let late = if *recovered { ", from the journal" } else { "" };
            local(by, format!("{what} (change {seq}{late})"))
        }
        Event::Restored { by, seq, what } => local(by, format!("{what} (change {seq})")),
        Event::Gap { first_seq, seq, why } => {
            let which = first_seq.map_or_else(|| format!("at change {seq}"), |first| format!("changes {first}-{seq}"));
            local("-", format!("{which}: {why}"))
        }
        Event::Checkpoint { seq, changes, .. } => local("-", format!("{changes} changes recorded, up to change {seq}")),
        Event::Suppressed { of, reason, network, count, since } => {
            let from = network.map_or_else(|| "others".to_owned(), |network| network.to_string());
            let since = since.strftime("%H:%M:%S");
            ("-".to_owned(), from, format!("{count} times {of} ({reason}) since {since}, not recorded one by one"))
        }
    }
}

/// What stands below that line: the changes of a commit that are asked for; without a question about names, the first ones.
/// `journal` has those that the record has no room for.
pub(super) fn below(record: &Record, query: &Query, journal: &[String]) -> Vec<String> {
    let Some(details) = record.event.details() else { return Vec::new() };
    let named = details.told.iter().filter(|told| query.names(told)).chain(journal).collect::<Vec<_>>();
    let asked = query.key.is_some() || query.repo.is_some() || query.account.is_some();
    let of = if asked { named.len() as u64 } else { named.len() as u64 + details.left_out };
    let shown = named.iter().take(BELOW).map(|told| format!("{INDENT}{told}"));
    let rest = of.saturating_sub(BELOW as u64);
    let more = match asked {
        true => format!("{INDENT}and {rest} more that fit"),
        false => format!("{INDENT}and {rest} more: look for one with --key, --repo or --account"),
    };
    let open = asked && journal.is_empty() && details.left_out > 0;
    let open = open.then(|| format!("{INDENT}the record leaves out the names of {} more", details.left_out));
    shown.chain((rest > 0).then_some(more)).chain(open).collect()
}

/// The key's name, or its fingerprint: whole, since it is what to look for.
fn who(subject: &Subject) -> String {
    match (&subject.key, &subject.fingerprint) {
        (Some(key), _) => key.to_string(),
        (None, Some(fingerprint)) => fingerprint.to_string(),
        (None, None) => "-".to_owned(),
    }
}

fn kept(source: &Source) -> String {
    match source {
        Source::Hit => "hit".to_owned(),
        Source::Joined => "joined".to_owned(),
        Source::Miss => "miss".to_owned(),
        Source::Bypass(why) => format!("bypass({why})"),
    }
}

/// `0.120 s`, `12.3 s`
fn seconds(ms: u64) -> String {
    if ms < 10_000 {
        format!("{}.{:03} s", ms / 1000, ms % 1000)
    } else {
        format!("{}.{} s", ms / 1000, ms % 1000 / 100)
    }
}
