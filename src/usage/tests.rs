//! What is kept of uses, and what damage to it costs.

use super::*;

fn used(at: &str, repo: &str) -> Use {
    Use { at: at.parse().unwrap(), address: None, repository: RepoPath::parse(repo).unwrap(), client: None }
}

#[test]
fn uses_survive_and_a_torn_line_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.jsonl");
    let (a, b) = (Fingerprint::of_blob(b"a"), Fingerprint::of_blob(b"b"));
    let usage = Usage::open(&path).unwrap();
    usage.note(a, "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
    usage.note(a, "acme/lib", &used("2026-01-02T00:00:00Z", "acme/lib"));
    usage.write().unwrap();
    usage.note(b, "acme/*", &used("2026-01-03T00:00:00Z", "acme/app"));
    usage.note(a, "acme/*", &used("2026-01-04T00:00:00Z", "acme/x"));
    usage.write().unwrap();
    std::io::Write::write_all(&mut OpenOptions::new().append(true).open(&path).unwrap(), b"{\"key\":\"SHA2").unwrap();
    let again = Usage::open(&path).unwrap();
    let start = "2020-01-01T00:00:00Z".parse().unwrap();
    for usage in [&usage, &again] {
        let uses = usage.of(&a, start).unwrap();
        assert_eq!(uses.last, used("2026-01-04T00:00:00Z", "acme/x"));
        assert_eq!(uses.grants["acme/*"], uses.last);
        assert_eq!(uses.grants["acme/lib"].repository.as_str(), "acme/lib");
        assert!(usage.of(&b, start).is_some());
        // A key that was registered anew was not used yet; nor was a grant.
        assert_eq!(usage.of(&a, "2026-02-01T00:00:00Z".parse().unwrap()), None);
        assert_eq!(usage.of(&a, "2026-01-03T00:00:00Z".parse().unwrap()).unwrap().grants.len(), 1);
    }
    // What is written behind the torn line is not swallowed by it.
    again.note(b, "acme/*", &used("2026-01-05T00:00:00Z", "acme/y"));
    again.write().unwrap();
    let third = Usage::open(&path).unwrap();
    assert_eq!(third.of(&b, start).unwrap().last, used("2026-01-05T00:00:00Z", "acme/y"));
    assert_eq!(third.of(&a, start), again.of(&a, start));
}

/// A flipped bit, a zeroed byte, a cut at any place: what is damaged is left out, everything else is as it was, and
/// nothing comes out that was never written.
#[test]
fn damage_costs_the_lines_that_it_hits_and_changes_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.jsonl");
    let keys: Vec<_> = (0..4_u8).map(|n| Fingerprint::of_blob(&[n])).collect();
    let usage = Usage::open(&path).unwrap();
    for (n, key) in keys.iter().enumerate() {
        let address = Some("192.0.2.7".parse().unwrap());
        usage.note(*key, "acme/*", &Use { address, ..used(&format!("2026-01-0{}T00:00:00Z", n + 1), "acme/app") });
        usage.write().unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    let known = |usage: &Usage| -> Vec<_> { keys.iter().map(|key| usage.of(key, Timestamp::UNIX_EPOCH)).collect() };
    let before = known(&usage);
    let mut lost = 0;
    let mut look = |damaged: &[u8], what: String| {
        std::fs::write(&path, damaged).unwrap();
        let found = known(&Usage::open(&path).unwrap_or_else(|error| panic!("{what}: {error}")));
        for (found, before) in found.iter().zip(&before) {
            assert!(found.is_none() || found == before, "{what}: {found:?} in place of {before:?}");
            lost += usize::from(found.is_none());
        }
    };
    for at in 0..whole.len() {
        for byte in [0, b'\n', whole[at] ^ 1, whole[at] ^ 0x20, whole[at] ^ 0x80] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            look(&damaged, format!("byte {at} is {byte}"));
        }
        look(&whole[..at], format!("cut at {at}"));
    }
    assert!(lost > 0, "nothing was damaged");
}

#[test]
fn lines_of_a_version_without_checksums_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.jsonl");
    let a = Fingerprint::of_blob(b"a");
    let last = used("2026-01-01T00:00:00Z", "acme/app");
    let uses = KeyUse { last: last.clone(), grants: BTreeMap::new() };
    std::fs::write(&path, serde_json::to_string(&Line::Used { key: a, uses }).unwrap()).unwrap();
    assert_eq!(Usage::open(&path).unwrap().of(&a, Timestamp::UNIX_EPOCH).unwrap().last, last);
}

#[test]
fn the_file_does_not_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.jsonl");
    let usage = Usage::open(&path).unwrap();
    let client = Some("x".repeat(100_000));
    for second in 0..60 {
        let what = Use { client: client.clone(), ..used(&format!("2026-01-01T00:00:{second:02}Z"), "acme/app") };
        usage.note(Fingerprint::of_blob(b"a"), "acme/*", &what);
        usage.write().unwrap();
    }
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < SMALL + 500_000, "{size}");
    let last = Usage::open(&path).unwrap().of(&Fingerprint::of_blob(b"a"), Timestamp::UNIX_EPOCH).unwrap().last;
    assert_eq!(last.at, "2026-01-01T00:00:59Z".parse().unwrap());
}

#[test]
fn a_removed_key_is_forgotten_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.jsonl");
    let (a, b) = (Fingerprint::of_blob(b"a"), Fingerprint::of_blob(b"b"));
    let usage = Usage::open(&path).unwrap();
    usage.note(a, "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
    usage.note(b, "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
    usage.write().unwrap();
    usage.forget(&a);
    usage.forget(&Fingerprint::of_blob(b"never seen"));
    assert_eq!(usage.of(&a, Timestamp::UNIX_EPOCH), None);
    usage.write().unwrap();
    let again = Usage::open(&path).unwrap();
    assert_eq!(again.lock().uses.keys().collect::<Vec<_>>(), [&b]);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    // It may come back.
    again.note(a, "acme/*", &used("2026-01-02T00:00:00Z", "acme/app"));
    again.write().unwrap();
    assert!(Usage::open(&path).unwrap().of(&a, Timestamp::UNIX_EPOCH).is_some());
}

#[test]
fn what_cannot_be_written_is_written_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("folder/usage.jsonl");
    let usage = Usage::open(&path).unwrap();
    let a = Fingerprint::of_blob(b"a");
    usage.note(a, "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
    assert!(usage.write().is_err());
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    usage.write().unwrap();
    assert!(Usage::open(&path).unwrap().of(&a, Timestamp::UNIX_EPOCH).is_some());
}

/// A fetch notes its use while the disk is being written to.
#[test]
fn nobody_waits_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let usage = Usage::open(&dir.path().join("usage.jsonl")).unwrap();
    let disk = usage.store.lock().unwrap();
    usage.note(Fingerprint::of_blob(b"a"), "acme/*", &used("2026-01-01T00:00:00Z", "acme/app"));
    assert!(usage.of(&Fingerprint::of_blob(b"a"), Timestamp::UNIX_EPOCH).is_some());
    drop(disk);
}
