//! What the architecture document says, held against the tables and the tests: a plan that is wrong is worse than none.

use std::collections::BTreeSet;

use super::judge::Offence;
use super::law::FLOORS;
use super::source::Source;

const DOCUMENT: &str = "docs/architecture.md";

/// The cells of every table row of the document.
fn rows(document: &str) -> impl Iterator<Item = Vec<&str>> {
    document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|row| row.split('|').map(str::trim).collect())
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The plan has the floors of the law, no more and no fewer.
pub(crate) fn floors(document: &str) -> Vec<Offence> {
    let drawn: BTreeSet<(u8, &str)> =
        rows(document).filter_map(|row| Some((row.first()?.parse().ok()?, quoted(row.get(1)?).next()?))).collect();
    // The corridor is no room: it only declares its doors.
    let built: BTreeSet<(u8, &str)> = FLOORS.iter().copied().filter(|(_, room)| *room != "front").collect();
    let differ = drawn.symmetric_difference(&built);
    differ
        .map(|row| format!("{DOCUMENT}: {row:?} is in its plan or in FLOORS (tests/floors/law.rs), not in both"))
        .collect()
}

/// Every test that the document names as a guard exists.
pub(crate) fn guards(document: &str, sources: &[Source]) -> Vec<Offence> {
    let named: Vec<&str> = rows(document)
        .filter_map(|row| row.get(1).copied())
        .flat_map(quoted)
        .filter(|name| name.contains('_') && name.chars().all(|char| char == '_' || char.is_ascii_alphanumeric()))
        .collect();
    if named.is_empty() {
        return vec![format!("{DOCUMENT}: names no guard at all, or its table has another form than this check knows")];
    }
    let exists = |name: &str| sources.iter().any(|source| source.text.contains(&format!("fn {name}(")));
    named
        .into_iter()
        .filter(|name| !exists(name))
        .map(|name| format!("{DOCUMENT}: names the guard `{name}`, and there is no such test; correct the table"))
        .collect()
}

#[test]
fn a_wrong_plan_is_refused() {
    let row = |(floor, room): &(u8, &str)| format!("| {floor} | `{room}` | text | |\n");
    let right: String = FLOORS.iter().filter(|(_, room)| *room != "front").map(row).collect();
    assert_eq!(floors(&right), Vec::<Offence>::new());
    assert_eq!(floors(&right.replace("| 2 | `gate`", "| 3 | `gate`")).len(), 2);
    assert_eq!(floors(&right.replacen("| 0 | `model` | text | |\n", "", 1)).len(), 1);
    assert_eq!(floors(&format!("{right}| 1 | `attic` | | |\n")).len(), 1);
}

#[test]
fn a_guard_that_does_not_exist_is_refused() {
    let source = Source { path: "src/a.rs".to_owned(), text: "#[test]\nfn it_holds() {}".to_owned() };
    let say = |document: &str| guards(document, std::slice::from_ref(&source)).len();
    assert_eq!(say("| It holds | `a`: `it_holds`, `src/a_b.rs` |"), 0);
    assert_eq!(say("| It holds | `a`: `it_holds`, `it_holds_too` |"), 1);
    assert_eq!(say("No table at all."), 1);
}
