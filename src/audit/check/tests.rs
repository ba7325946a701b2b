use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::super::chain::tests::{Site, change};
use super::super::link::{Head, seal};
use super::super::new_id;
use super::*;
use crate::model::details::Details;

/// A chain of a gateway that ran twice, with twelve changes, and its key.
fn made() -> (Vec<String>, VerifyingKey) {
    let site = Site::new();
    for round in 0..2 {
        let audit = site.start();
        (1..=6).for_each(|n| change(&audit, round * 6 + n));
    }
    (site.text().lines().map(str::to_owned).collect(), site.key())
}

fn check(lines: &[String], key: VerifyingKey, registry: Option<u64>) -> Verdict {
    let mut check = Check::new(vec![key], None);
    for (at, line) in lines.iter().enumerate() {
        check.line(Path::new("audit.jsonl"), at as u64 + 1, line.as_bytes());
    }
    check.finish(registry)
}

fn first(verdict: &Verdict) -> (Option<u64>, &str) {
    let fault = verdict.faults.first().unwrap_or_else(|| panic!("nothing was found: {verdict:?}"));
    (fault.line, fault.what.as_str())
}

/// All links anew, as somebody can make them who has no key: signatures are left as they were, or made with another key.
fn recomputed(lines: &[String], key: Option<&SigningKey>) -> Vec<String> {
    let mut head = Head::default();
    let mut anew = Vec::new();
    for line in lines {
        let old = Sealed::read(line.as_bytes()).unwrap();
        let record = Record { link: None, ..serde_json::from_str(line).unwrap() };
        let signer = key.filter(|_| old.link.signature.is_some());
        let (mut line, next) = seal(&record, head, signer).unwrap();
        if let (None, Some(signature)) = (key, &old.link.signature) {
            line = format!("{},\"signature\":\"{signature}\"}}", line.strip_suffix('}').unwrap());
        }
        anew.push(line);
        head = next;
    }
    anew
}

#[test]
fn what_was_written_is_good() {
    let (lines, key) = made();
    let verdict = check(&lines, key, Some(12));
    assert!(verdict.good, "{verdict:?}");
    assert_eq!((verdict.links, verdict.good_links, verdict.changes), (16, 16, 12));
    assert_eq!(verdict.keys, [key::fingerprint(&key)]);
}

#[test]
fn each_manipulation_is_found_at_its_place() {
    let (lines, key) = made();
    let told = |lines: &[String]| {
        let verdict = check(lines, key, Some(12));
        let (line, what) = first(&verdict);
        (line, what.to_owned(), verdict.good_links)
    };
    let mut edited = lines.clone();
    edited[4] = edited[4].replace("account n4", "account n9");
    assert_ne!(edited, lines);
    assert_eq!(told(&edited), (Some(5), "link 5 is not what was written: it was edited".to_owned(), 4));

    let mut removed = lines.clone();
    removed.remove(4);
    assert_eq!(told(&removed), (Some(5), "link 5 is missing before link 6".to_owned(), 4));
    removed.remove(4);
    assert_eq!(told(&removed), (Some(5), "links 5 to 6 are missing before link 7".to_owned(), 4));

    let mut twice = lines.clone();
    twice.insert(5, lines[2].clone());
    assert_eq!(told(&twice), (Some(6), "link 3 stands behind link 5: moved, or put in twice".to_owned(), 5));

    let event = Event::Changed {
        by: "mallory".to_owned(),
        seq: 5,
        first_seq: None,
        what: "added account x".to_owned(),
        details: Details::default(),
        recovered: false,
    };
    let record = Record { v: 1, time: Timestamp::now(), id: new_id(), event, link: None };
    let mut inserted = lines.clone();
    inserted.insert(5, serde_json::to_string(&record).unwrap());
    let what = "this record is not in the chain: it was put in, or its end was changed".to_owned();
    assert_eq!(told(&inserted), (Some(6), what, 5));
    let head = Sealed::read(lines[4].as_bytes()).unwrap().head();
    inserted[5] = seal(&record, head, None).unwrap().0;
    let what = "link 6 stands behind link 6: moved, or put in twice".to_owned();
    assert_eq!(told(&inserted), (Some(7), what, 6));

    let mut moved = lines.clone();
    moved.swap(4, 5);
    assert_eq!(told(&moved), (Some(5), "link 5 is missing before link 6".to_owned(), 4));

    // One record and its hash, by somebody who leaves the rest as it was.
    let mut replaced = lines.clone();
    let head = Sealed::read(lines[3].as_bytes()).unwrap().head();
    replaced[4] = seal(&record, head, None).unwrap().0;
    let what = "link 6 follows another link 5 than the one before it: that was replaced".to_owned();
    assert_eq!(told(&replaced), (Some(6), what, 5));
}

#[test]
fn a_chain_that_was_made_anew_without_the_key_is_found() {
    let (lines, key) = made();
    let mut edited = lines.clone();
    edited[4] = edited[4].replace("account n4", "account n9");
    let verdict = check(&recomputed(&edited, None), key, Some(12));
    // The first checkpoint stands before what was edited, and is as it was.
    assert_eq!(first(&verdict), (Some(8), "the signature of checkpoint 8 is wrong"));
    let other = SigningKey::from_bytes(&[9; 32]);
    let verdict = check(&recomputed(&edited, Some(&other)), key, Some(12));
    assert_eq!(first(&verdict).0, Some(1));
    // With the other key in the records as well.
    let named: Vec<_> =
        edited.iter().map(|line| line.replace(&key::text(&key), &key::text(&other.verifying_key()))).collect();
    let verdict = check(&recomputed(&named, Some(&other)), key, Some(12));
    assert!(first(&verdict).1.starts_with("checkpoint 1 is signed with another key (SHA256:"), "{verdict:?}");
    // Nobody said which key it has to be: then the key that signed is told, and that it is none that was known.
    let mut unknown = Check::new(Vec::new(), None);
    for (at, line) in recomputed(&named, Some(&other)).iter().enumerate() {
        unknown.line(Path::new("x"), at as u64, line.as_bytes());
    }
    let verdict = unknown.finish(None);
    assert!(verdict.good && !verdict.keys_known && verdict.keys == [key::fingerprint(&other.verifying_key())]);
    // Without any signature.
    let bare: Vec<_> = edited.iter().filter(|line| !line.contains("checkpoint")).cloned().collect();
    let verdict = check(&recomputed(&bare, None), key, Some(12));
    assert!(verdict.faults.iter().any(|fault| fault.what.starts_with("no link is signed")), "{verdict:?}");
}

#[test]
fn a_tail_that_was_cut_is_found_by_the_registry_or_by_a_head_that_was_kept() {
    let (lines, key) = made();
    let whole = check(&lines, key, Some(12));
    let cut = &lines[..9];
    let verdict = check(cut, key, Some(12));
    assert_eq!(
        first(&verdict),
        (None, "the end is missing: the registry is at change 12, and the last one with a record is 6")
    );
    let (n, hash) = whole.head.as_ref().unwrap().split_once(':').unwrap();
    let head = Head { n: n.parse().unwrap(), hash: Hash::parse(hash).unwrap() };
    let with_head = |lines: &[String]| {
        let mut check = Check::new(vec![key], Some(head));
        lines.iter().for_each(|line| check.line(Path::new("x"), 1, line.as_bytes()));
        check.finish(None)
    };
    assert!(with_head(&lines).good);
    assert_eq!(first(&with_head(cut)), (None, "link 16 with the hash that was kept is not in the chain"));
    // All of it.
    assert_eq!(first(&check(&[], key, Some(12))).0, None);
    // An older registry.
    assert!(first(&check(&lines, key, Some(11))).1.contains("an older journal"));
}

/// A change behind this one that nobody signed.
fn unsigned(head: Head, seq: u64, time: Timestamp) -> (String, Head) {
    let (by, what) = ("m".to_owned(), "x".to_owned());
    let event = Event::Changed { by, seq, first_seq: None, what, details: Details::default(), recovered: false };
    seal(&Record { v: 1, time, id: new_id(), event, link: None }, head, None).unwrap()
}

#[test]
fn a_long_tail_without_a_signature_is_no_gateways() {
    let (lines, key) = made();
    let mut head = Sealed::read(lines.last().unwrap().as_bytes()).unwrap().head();
    let mut more = |seq: u64, time: &str| {
        let (line, next) = unsigned(head, seq, time.parse().unwrap());
        head = next;
        line
    };
    let mut tail = lines.clone();
    tail.push(more(13, "2099-01-01T00:00:00Z"));
    assert!(check(&tail, key, Some(13)).good, "it may just have been changed");
    // The gateway went on writing for two hours, and did not sign.
    let event = Event::Login { subject: super::super::Subject::default() };
    let time = "2099-01-01T02:00:00Z".parse().unwrap();
    let login = Record { v: 1, time, id: new_id(), event, link: None };
    tail.push(serde_json::to_string(&login).unwrap());
    let verdict = check(&tail, key, Some(13));
    assert!(first(&verdict).1.starts_with("1 changes at the end are not signed"), "{verdict:?}");
    let mut many = lines.clone();
    let mut head = Sealed::read(lines.last().unwrap().as_bytes()).unwrap().head();
    for seq in 13..=13 + MOST_UNSIGNED {
        let (line, next) = unsigned(head, seq, Timestamp::now());
        head = next;
        many.push(line);
    }
    assert!(first(&check(&many, key, None)).1.contains("not signed"));
}

#[test]
fn records_of_before_the_chain_are_no_fault() {
    let (mut lines, key) = made();
    let before =
        r#"{"v":1,"time":"2026-01-01T00:00:00Z","id":"0000000000","event":"changed","by":"a","seq":1,"what":"x"}"#;
    lines.insert(0, before.to_owned());
    let verdict = check(&lines, key, Some(12));
    assert!(verdict.good && verdict.before == 1, "{verdict:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever somebody without the key does to lines, it shows: with or without new hashes.
    #[test]
    fn no_manipulation_passes(what in 0usize..5, at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), anew in any::<bool>()) {
        thread_local!(static MADE: (Vec<String>, VerifyingKey) = made());
        let (lines, key) = MADE.with(Clone::clone);
        let (at, to) = (at.index(lines.len()), to.index(lines.len()));
        let mut bad = lines.clone();
        match what {
            0 => {
                let mut bytes = bad[at].clone().into_bytes();
                let place = byte.index(bytes.len());
                bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
                bad[at] = String::from_utf8(bytes).unwrap();
            }
            1 => drop(bad.remove(at)),
            2 => bad.insert(to, lines[at].clone()),
            3 => bad.swap(at, to),
            _ => bad.truncate(at),
        }
        prop_assume!(bad != lines);
        let parses = bad.iter().all(|line| Sealed::read(line.as_bytes()).is_some() && serde_json::from_str::<Record>(line).is_ok());
        if anew && parses {
            bad = recomputed(&bad, None);
            prop_assume!(bad != lines);
        }
        // The last checkpoint of each run says nothing new when the end is cut just before it: then all changes are there.
        let changes = |lines: &[String]| lines.iter().filter(|line| line.contains("\"changed\"")).cloned().collect::<Vec<_>>();
        let nothing_lost = lines.starts_with(&bad) && changes(&bad) == changes(&lines);
        // A rotation takes the oldest away: that is told, and no fault.
        let nothing_lost = nothing_lost || (lines.ends_with(&bad) && !bad.is_empty());
        // And a first line that is no record any more is as good as gone.
        let first_is_gone = bad.get(1..) == lines.get(1..) && Sealed::read(bad[0].as_bytes()).is_none();
        // So is a last one, if it was a checkpoint: the end was cut just before it, as far as anybody can read.
        let end = lines.len() - 1;
        let last_is_gone = bad.get(..end) == lines.get(..end) && bad.get(end).is_some_and(|line| Sealed::read(line.as_bytes()).is_none());
        let last_is_gone = last_is_gone && changes(&bad) == changes(&lines);
        let nothing_lost = nothing_lost || first_is_gone || last_is_gone;
        let verdict = check(&bad, key, Some(12));
        prop_assert!(!verdict.good || nothing_lost, "{:?} {verdict:?}", bad);
    }
}
