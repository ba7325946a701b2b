//! docs/threats.md is held to what it says, and the rules of the dependency tree to their words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code says no by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

/// The names of all functions that are tests: behind `#[test]` or its like, or in a `proptest!`.
fn tests_below(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            tests_of(&std::fs::read_to_string(&path).unwrap(), into);
        }
    }
}

fn tests_of(text: &str, into: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn ")) {
            if marked {
                into.insert(rest.split('(').next().unwrap().to_owned());
            }
            marked = false;
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
fn faults(document: &str, tests: &BTreeSet<String>) -> Vec<String> {
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
        faults.extend(
            named.iter().filter(|name| !tests.contains(**name)).map(|name| format!("{number}: no test {name}")),
        );
    }
    faults
}

#[test]
fn every_threat_names_tests_that_exist() {
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        tests_below(&Path::new(ROOT).join(folder), &mut tests);
    }
    let document = read("docs/threats.md");
    assert_eq!(faults(&document, &tests), Vec::<String>::new());
    // And the check can say no.
    assert_eq!(faults(&document.replace("| 7 | ", "| 8 | "), &tests).len(), 1);
    tests.remove("weak_rsa_keys_are_refused");
    assert_eq!(faults(&document, &tests).len(), 2);
}

/// Every parser of foreign bytes that is fuzzed: its seeds are there, and its row with the property test of the same parser.
#[test]
fn every_fuzz_target_has_seeds_and_a_property_test() {
    let mut tests = BTreeSet::new();
    tests_below(&Path::new(ROOT).join("src"), &mut tests);
    let document = read("docs/threats.md");
    let manifest: toml::Table = read("fuzz/Cargo.toml").parse().unwrap();
    let targets: Vec<_> =
        manifest["bin"].as_array().unwrap().iter().map(|target| target["name"].as_str().unwrap()).collect();
    assert!(targets.len() >= 11, "{targets:?}");
    for target in targets {
        let seeds = Path::new(ROOT).join("fuzz/seeds").join(target);
        assert!(std::fs::read_dir(&seeds).is_ok_and(|mut seeds| seeds.next().is_some()), "{target} has no seeds");
        let row = document.lines().filter_map(cells).find(|row| row.first() == Some(&target));
        let row = row.unwrap_or_else(|| panic!("{target} has no row"));
        assert!(tests.contains(row.last().unwrap().trim_matches('`')), "{target}: {row:?}");
    }
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
