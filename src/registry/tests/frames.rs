//! The journal's bytes, from hostile hands.

use proptest::prelude::*;

use crate::registry::decode_journal;
use crate::registry::journal::entry::Hash;
use crate::registry::journal::frame::{self, Start};

fn journal(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = frame::header(Start::Entries).to_vec();
    for payload in payloads {
        bytes.extend(frame::frame(payload).unwrap());
    }
    bytes
}

fn line(seq: u64, prev: Hash, account: &str) -> Vec<u8> {
    format!(
        r#"{{"seq":{seq},"prev":"{prev}","time":"2026-01-01T00:00:00Z","by":"x","changes":[{{"change":"account-add","account":"{account}"}}]}}"#
    )
    .into_bytes()
}

#[test]
fn the_format_is_what_it_was() {
    // Journals of older programs must be read for ever: these bytes may not change within a version.
    assert_eq!(frame::header_of(1, Start::Entries), *b"pgjrnl\r\n\x01\0\0\0\x83\x1e\xb2\x0c");
    assert_eq!(frame::header(Start::Snapshot)[..12], *b"pgsnap\r\n\x03\0\0\0");
    assert_eq!(frame::header(Start::Entries), *b"pgjrnl\r\n\x03\0\0\0\x02\x3d\xd5\xb3");
    assert_eq!(frame::header_of(2, Start::Entries), *b"pgjrnl\r\n\x02\0\0\0\xba\x97\x90\x6e");
    assert_eq!(frame::frame(b"{}").unwrap(), *b"\xf5\xc0\x9e\xff\x02\0\0\0\x31\x7b\xbc\x54{}");
    let first = line(1, Hash::default(), "a");
    assert_eq!(Hash::of(&first).to_string(), "f8a0b967cb601487291d6d6952318ca7a25756f6bbfcb5668b165f1512a1609b");
    let second = line(2, Hash::of(&first), "b");
    assert_eq!(decode_journal(&journal(&[&first, &second])), Ok(2));
    let both = [first.clone(), second].join(&b'\n');
    assert_eq!(decode_journal(&journal(&[&both])), Ok(2));
}

#[test]
fn a_broken_chain_is_refused() {
    let first = line(1, Hash::default(), "a");
    let other = line(1, Hash::default(), "z");
    let hash = Hash::of(&first);
    for (payloads, says) in [
        (vec![first.clone(), line(2, Hash::of(&other), "b")], "the chain is broken"),
        (vec![first.clone(), line(3, hash, "b")], "entry 2 should follow, entry 3 does"),
        (vec![first.clone(), first.clone()], "entry 2 should follow, entry 1 does"),
        (vec![line(2, Hash::default(), "a")], "entry 1 should follow, entry 2 does"),
        (vec![line(1, hash, "a")], "the chain is broken"),
        (vec![first.clone(), b"{}".to_vec()], "no entry"),
        (vec![first.clone(), b"\xff\xff".to_vec()], "no entry"),
        (vec![[first.clone(), Vec::new()].join(&b'\n')], "no entry"),
        (vec![line(1, Hash::default(), "-bad")], "a name starts with"),
        (vec![String::from_utf8(first.clone()).unwrap().replace("account-add", "later").into_bytes()], "later"),
        (vec![String::from_utf8(first.clone()).unwrap().replace("\"by\"", "\"new\":1,\"by\"").into_bytes()], "new"),
        (
            vec![String::from_utf8(first.clone()).unwrap().replace("account-add", "account-remove").into_bytes()],
            "no account",
        ),
    ] {
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let error = decode_journal(&journal(&payloads)).unwrap_err();
        assert!(error.contains(says), "{error}");
        assert!(error.contains("at byte") && error.contains("backup"), "{error}");
    }
}

#[test]
fn a_header_says_what_can_be_read() {
    let mut newer = frame::header(Start::Entries).to_vec();
    newer[8] = u8::try_from(frame::VERSION + 1).unwrap();
    let crc = crc32c::crc32c(&newer[..12]).to_le_bytes();
    newer[12..].copy_from_slice(&crc);
    assert!(decode_journal(&newer).unwrap_err().contains("start a newer pullgate"));
    let good = journal(&[]);
    assert_eq!(decode_journal(&good), Ok(0));
    for cut in 0..good.len() {
        assert!(decode_journal(&good[..cut]).is_err(), "{cut}");
    }
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        assert!(decode_journal(&bytes).is_err(), "{place}");
    }
}

#[test]
fn a_journal_of_version_1_is_read_and_raised() {
    use crate::registry::journal::Journal;
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = journal(&[&line(1, Hash::default(), "a")]);
    bytes[..frame::HEADER].copy_from_slice(b"pgjrnl\r\n\x01\0\0\0\x83\x1e\xb2\x0c");
    assert_eq!(decode_journal(&bytes), Ok(1));
    std::fs::write(dir.path().join("journal"), &bytes).unwrap();
    assert_eq!(Journal::open(dir.path()).unwrap().0.seq(), 1);
    let raised = std::fs::read(dir.path().join("journal")).unwrap();
    assert_eq!(raised[..frame::HEADER], frame::header(Start::Entries));
    assert_eq!(raised[frame::HEADER..], bytes[frame::HEADER..]);
    assert_eq!(Journal::open(dir.path()).unwrap().0.seq(), 1);
}

#[test]
fn a_frame_is_found_behind_a_window_of_rubbish() {
    let first = line(1, Hash::default(), "a");
    let second = frame::frame(&line(2, Hash::of(&first), "b")).unwrap();
    // Around the border of what is read at a time.
    for rubbish in (1024 * 1024 - 20..1024 * 1024 + 4).chain([1, 2, 3, 5, 3_000_000]) {
        let mut bytes = journal(&[&first]);
        bytes.extend(std::iter::repeat_n(0, rubbish));
        assert_eq!(decode_journal(&bytes), Ok(1));
        bytes.extend(&second);
        assert!(decode_journal(&bytes).unwrap_err().contains("an entry follows"), "{rubbish}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(tail in proptest::collection::vec(any::<u8>(), 0..200), headed: bool, marked: bool) {
        let mut bytes = if headed { frame::header(Start::Snapshot).to_vec() } else { Vec::new() };
        if marked {
            bytes.extend(frame::MARK);
        }
        bytes.extend(&tail);
        drop(decode_journal(&bytes));
    }

    #[test]
    fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 1..200), text in "\\PC{1,80}") {
        prop_assert!(decode_journal(&journal(&[&payload])).is_err());
        let text = format!(r#"{{"seq":1,"prev":"{}",{text}"#, Hash::default());
        drop(decode_journal(&journal(&[text.as_bytes()])));
    }

    #[test]
    fn a_changed_byte_never_goes_unseen(place in 0usize..400, bit in 0u8..8) {
        let first = line(1, Hash::default(), "a");
        let good = journal(&[&first, &line(2, Hash::of(&first), "b")]);
        let mut bytes = good.clone();
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        let last = bytes.len() - frame::FRAME_HEAD - line(2, Hash::of(&first), "b").len();
        match decode_journal(&bytes) {
            // In the last frame it is the same as a torn write.
            Ok(count) => prop_assert!(count == 1 && place >= last),
            Err(_) => prop_assert!(place < last),
        }
    }
}
