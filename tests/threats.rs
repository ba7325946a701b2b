//! docs/threats.md is held to what it says, and the rules of the dependency tree to their words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code says no by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

/// The files (below the root) of all functions that are tests, by their names: behind `#[test]` or its like, or in a `proptest!`.
type Tests = BTreeMap<String, BTreeSet<String>>;

fn tests_below(folders: &[&str]) -> Tests {
    let (mut found, mut open) = (Tests::new(), Vec::new());
    open.extend(folders.iter().map(|folder| Path::new(ROOT).join(folder)));
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let file = path.strip_prefix(ROOT).unwrap().display().to_string();
            for name in tests_of(&std::fs::read_to_string(&path).unwrap()) {
                let again = !found.entry(name.clone()).or_default().insert(file.clone());
                assert!(!again, "{file} has two tests {name}: nothing can name one of them");
            }
        }
    }
    found
}

fn tests_of(text: &str) -> Vec<String> {
    let (mut marked, mut found) = (false, Vec::new());
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "))
            && std::mem::take(&mut marked)
        {
            found.push(rest.split('(').next().unwrap().to_owned());
        }
    }
    found
}

/// What is wrong with the name of a test: it is `name` where that is the only one of the tree, else `path/of/the/file.rs::name`.
fn misnamed(named: &str, tests: &Tests) -> Option<String> {
    let (file, name) = named.rsplit_once("::").map_or((None, named), |(file, name)| (Some(file), name));
    let files = tests.get(name);
    match (file, files.map_or(0, BTreeSet::len)) {
        (None, 1) => None,
        (None, 0) => Some(format!("no test {named}")),
        (None, _) => Some(format!("{named} is ambiguous: it is in each of {files:?}")),
        (Some(file), _) => {
            (!files.is_some_and(|files| files.contains(file))).then(|| format!("no test {name} in {file}"))
        }
    }
}

fn cells(line: &str) -> Option<Vec<&str>> {
    Some(line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect())
}

/// The cells of the numbered rows.
fn rows(document: &str) -> Vec<Vec<&str>> {
    document.lines().filter_map(cells).filter(|row| row.first().is_some_and(|n| n.parse::<u8>().is_ok())).collect()
}

/// What is wrong with the table.
fn faults(document: &str, tests: &Tests) -> Vec<String> {
    let rows = rows(document);
    let mut faults = Vec::new();
    let numbers: Vec<_> = rows.iter().filter_map(|row| row.first()?.parse::<usize>().ok()).collect();
    if numbers != (1..=33).collect::<Vec<_>>() {
        faults.push(format!("the rows are not 1 to 33: {numbers:?}"));
    }
    for row in &rows {
        let [number, case, answer, named, left] = row.as_slice() else {
            faults.push(format!("{row:?} has not five cells"));
            continue;
        };
        if [case, answer, left].iter().any(|cell| cell.trim().is_empty()) {
            faults.push(format!("{number}: an empty cell"));
        }
        let named: Vec<_> = named.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            faults.push(format!("{number}: no test"));
        }
        faults.extend(named.iter().filter_map(|name| misnamed(name, tests)).map(|fault| format!("{number}: {fault}")));
    }
    faults
}

#[test]
fn every_threat_names_tests_that_exist() {
    let mut tests = tests_below(&["src", "tests"]);
    let document = read("docs/threats.md");
    assert_eq!(faults(&document, &tests), Vec::<String>::new());
    // And the check can say no.
    assert_eq!(faults(&document.replace("| 7 | ", "| 8 | "), &tests).len(), 1);
    // A second one of the same name: each row that names it without a file.
    let weak = "weak_rsa_keys_are_refused".to_owned();
    tests.entry(weak.clone()).or_default().insert("tests/other.rs".to_owned());
    assert_eq!(faults(&document, &tests).len(), 2);
    assert!(misnamed(&weak, &tests).unwrap().contains("ambiguous"));
    assert_eq!(misnamed(&format!("tests/other.rs::{weak}"), &tests), None);
    for wrong in [format!("tests/threats.rs::{weak}"), "tests/other.rs::no_such_test".to_owned()] {
        assert!(misnamed(&wrong, &tests).is_some(), "{wrong}");
    }
    tests.remove(&weak);
    assert_eq!(faults(&document, &tests).len(), 2);
}

/// What the text around the tables names has to be there too.
#[test]
fn every_test_that_a_page_names_exists() {
    let tests = tests_below(&["src", "tests"]);
    for page in ["docs/threats.md", "docs/cell.md"] {
        let text = read(page);
        let is_name = |word: &&str| {
            let name = word.rsplit("::").next().unwrap();
            name.matches('_').count() >= 3 && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        };
        let named: Vec<_> = text.split('`').skip(1).step_by(2).filter(is_name).collect();
        assert!(named.len() >= 2, "{page}: {named:?}");
        let faults: Vec<_> = named.iter().filter_map(|name| misnamed(name, &tests)).collect();
        assert_eq!(faults, Vec::<String>::new(), "{page}");
    }
}

/// What is wrong with the row of a fuzz target: its figures, and the property test of the same parser.
fn fuzz_faults(target: &str, document: &str, tests: &Tests) -> Vec<String> {
    let Some(row) = document.lines().filter_map(cells).find(|row| row.first() == Some(&target)) else {
        return vec![format!("{target} has no row")];
    };
    let [_, reads, runs, start, after, features, test] = row.as_slice() else {
        return vec![format!("{target}: {row:?} has not seven cells")];
    };
    let mut faults = Vec::new();
    if reads.trim().is_empty() {
        faults.push(format!("{target} reads nothing"));
    }
    let number = |text: &str| text.replace(',', "").parse::<u64>().ok().filter(|number| *number > 0);
    match [*runs, *start, *after, *features].map(number) {
        [Some(_), Some(start), Some(after), Some(_)] if start <= after => {}
        [Some(_), Some(_), Some(_), Some(_)] => faults.push(format!("{target} has lost edges: {row:?}")),
        _ => faults.push(format!("{target}: not all are numbers: {row:?}")),
    }
    faults.extend(misnamed(test.trim_matches('`'), tests).map(|fault| format!("{target}: {fault}")));
    faults
}

/// Every parser of foreign bytes that is fuzzed: its seeds are there, and its row with the property test of the same parser.
#[test]
fn every_fuzz_target_has_seeds_and_a_property_test() {
    let tests = tests_below(&["src"]);
    let document = read("docs/threats.md");
    let manifest: toml::Table = read("fuzz/Cargo.toml").parse().unwrap();
    let targets: Vec<_> =
        manifest["bin"].as_array().unwrap().iter().map(|target| target["name"].as_str().unwrap()).collect();
    assert!(targets.len() >= 11, "{targets:?}");
    for target in &targets {
        let seeds = Path::new(ROOT).join("fuzz/seeds").join(target);
        assert!(std::fs::read_dir(&seeds).is_ok_and(|mut seeds| seeds.next().is_some()), "{target} has no seeds");
        assert_eq!(fuzz_faults(target, &document, &tests), Vec::<String>::new());
    }
    // And the check can say no: to a figure that is none, to one that cannot be, to a row or a test that is not there.
    let row = document.lines().find(|line| line.starts_with("| config |")).unwrap();
    let cells = cells(row).unwrap();
    for (at, text) in [(2, "later"), (3, "0"), (4, "1"), (5, ""), (6, "`no_such_test`"), (0, "other")] {
        let mut changed = cells.clone();
        changed.splice(at..=at, [text]);
        let changed = document.replace(row, &format!("| {} |", changed.join(" | ")));
        assert_eq!(fuzz_faults("config", &changed, &tests).len(), 1, "{text}");
    }
    assert_eq!(fuzz_faults("config", &document.replace(row, "| config | the config file |"), &tests).len(), 1);
}

#[test]
fn russh_is_new_and_has_no_compression() {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let versions = |name: &str| -> Vec<String> {
        let of = packages.iter().filter(|package| package["name"].as_str() == Some(name));
        of.map(|package| package["version"].as_str().unwrap().to_owned()).collect()
    };
    let russh = versions("russh");
    assert_eq!(russh.len(), 1, "{russh:?}");
    let mut parts = russh[0].split('.').map(|part| part.parse::<u32>().unwrap());
    assert!((parts.next().unwrap(), parts.next().unwrap()) >= (0, 63), "{russh:?}");
    for absent in ["flate2", "openssl-sys", "libssh2-sys"] {
        assert_eq!(versions(absent), Vec::<String>::new(), "{absent}");
    }
}

#[test]
fn every_exception_has_a_reason() {
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    let ignored = deny["advisories"]["ignore"].as_array().unwrap();
    assert!(ignored.iter().any(|entry| entry["id"].as_str() == Some("RUSTSEC-2023-0071")));
    for entry in ignored {
        let reason = entry["reason"].as_str().unwrap();
        assert!(reason.contains("Ends when") && reason.contains("review by 20"), "{reason}");
    }
}
