//! docs/audit.md is held to the schema: every event and every field is on the page, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::link::{Head, seal};
use super::query::WORDS;
use super::*;
use crate::model::details::Details;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;

const PAGE: &str = include_str!("../../docs/audit.md");

/// One of each, with everything that can be left out.
fn samples() -> Vec<Event> {
    let subject = Subject {
        key: Some(KeyName { account: AccountName::parse("acme").unwrap(), label: "ci".to_owned().try_into().unwrap() }),
        fingerprint: Some(Fingerprint::of_blob(b"x")),
        address: Some("10.0.0.1".parse().unwrap()),
        client: Some("SSH-2.0-git".to_owned()),
    };
    let text = || "x".to_owned();
    let repository = || RepoPath::parse("acme/app").unwrap();
    let fetch = |outcome| Event::Fetch {
        subject: subject.clone(),
        repository: repository(),
        protocol: 2,
        outcome,
        bytes_out: 1,
        bytes_in: 1,
        duration_ms: 1,
        source: Some(Source::Bypass(text())),
        code: Some(text()),
    };
    let mut samples = vec![
        Event::Login { subject: subject.clone() },
        Event::LoginRefused { subject: subject.clone(), reason: text() },
        Event::Refused {
            subject: subject.clone(),
            code: text(),
            reason: text(),
            asked: text(),
            repository: Some(repository()),
        },
        Event::Allowed { subject: subject.clone(), repository: repository(), protocol: 2 },
        Event::Changed {
            by: text(),
            seq: 2,
            first_seq: Some(1),
            what: text(),
            details: Details { told: vec![text()], left_out: 1, accounts: vec![text()] },
            recovered: true,
        },
        Event::Restored { by: text(), seq: 1, what: text() },
        Event::Gap { first_seq: Some(1), seq: 2, why: text() },
        Event::Checkpoint { seq: 1, changes: 1, key: text() },
        Event::Suppressed {
            of: text(),
            reason: text(),
            network: Some("10.0.0.1/32".parse().unwrap()),
            count: 1,
            since: Timestamp::now(),
        },
    ];
    samples.extend(
        [Ended::Served, Ended::Failed, Ended::ClientGone, Ended::TimedOut, Ended::Flooded, Ended::Cut].map(fetch),
    );
    samples
}

fn object(event: &Event) -> BTreeMap<String, Value> {
    serde_json::from_value(serde_json::to_value(event).unwrap()).unwrap()
}

/// The type that the page has to say.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::Null => "something that the page has no word for",
    }
}

/// The rows below a heading: field and type.
fn rows(section: &str) -> Vec<(String, String)> {
    let cells = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.strip_suffix('`')?.to_owned(), cells.next()?.to_owned()))
    };
    section.lines().filter_map(cells).collect()
}

fn section(heading: &str) -> &'static str {
    let start = PAGE.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let rest = &PAGE[start + heading.len() + 2..];
    let end = rest.find("\n## ").unwrap_or(rest.len()).min(rest.find("\n### ").unwrap_or(rest.len()));
    &rest[..end]
}

/// What is wrong with a table, beside what is in each record.
fn held(rows: &[(String, String)], fields: &BTreeMap<String, Value>) -> Vec<String> {
    let on_page: BTreeSet<_> = rows.iter().map(|(field, _)| field.clone()).collect();
    let there: BTreeSet<_> = fields.keys().cloned().collect();
    let mut wrong: Vec<_> = on_page.symmetric_difference(&there).cloned().collect();
    for (field, of) in rows {
        if fields.get(field).is_some_and(|value| of.trim_end_matches(", optional") != kind(value)) {
            wrong.push(format!("{field} is no {of}"));
        }
    }
    wrong
}

#[test]
fn every_event_and_field_is_on_the_page_and_nothing_else() {
    let common = object(&Event::Login { subject: samples()[0].subject().unwrap().clone() });
    let every = section("## Every record");
    let mut words = BTreeSet::new();
    let mut names = BTreeSet::new();
    for event in samples() {
        words.insert(event.word());
        let mut fields = object(&event);
        let Some(Value::String(name)) = fields.remove("event") else { panic!("{event:?}") };
        names.insert(name.clone());
        if event.subject().is_some() {
            fields.retain(|field, _| !common.contains_key(field));
        }
        let wrong = held(&rows(section(&format!("### `{name}`"))), &fields);
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
    assert_eq!(words, WORDS.into_iter().collect(), "there is a sample of each");
    let headings: BTreeSet<_> =
        PAGE.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).map(str::to_owned).collect();
    assert_eq!(headings, names);
    // What every record has, and what a link has beside it.
    let record = Record { v: SCHEMA, time: Timestamp::now(), id: new_id(), event: samples().remove(0), link: None };
    let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    let (line, _) = seal(&record, Head::default(), Some(&key)).unwrap();
    let all: BTreeMap<String, Value> = serde_json::from_str(&line).unwrap();
    assert_eq!(held(&rows(every), &all), [""; 0]);
    assert!(every.contains(&format!("the version of this schema: {SCHEMA}")));
    for ended in ["served", "failed", "client-gone", "timed-out", "flooded", "cut"] {
        assert!(section("### `fetch`").contains(&format!("`{ended}`")), "{ended}");
    }
}

#[test]
fn the_check_of_the_page_can_fail() {
    let fields = object(&Event::Restored { by: "x".to_owned(), seq: 1, what: "x".to_owned() });
    let row = |field: &str, of: &str| (field.to_owned(), of.to_owned());
    let good = [row("event", "string"), row("by", "string"), row("seq", "number"), row("what", "string")];
    assert_eq!(held(&good, &fields), [""; 0]);
    assert_eq!(held(&good[1..], &fields), ["event"]);
    assert_eq!(held(&[good.as_slice(), &[row("more", "string")]].concat(), &fields), ["more"]);
    let mut wrong = good;
    wrong[2].1 = "string, optional".to_owned();
    assert_eq!(held(&wrong, &fields), ["seq is no string, optional"]);
}
