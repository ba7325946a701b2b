//! What stands in a journal behind its checksums and its chain, which no chance would get right: each line of the input is
//! put into an entry as its changes, with a good number, hash and frame around it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::registry::decode_journal;
use sha2::{Digest as _, Sha256};

fn checked(bytes: &[u8]) -> Vec<u8> {
    crc32c::crc32c(bytes).to_le_bytes().to_vec()
}

/// A journal of version 2 (`src/registry/journal/frame.rs`) with these lines as its entries, one in a frame.
fn journal(lines: &[String]) -> Vec<u8> {
    let header = [b"pgjrnl\r\n".as_slice(), &2u32.to_le_bytes()].concat();
    let mut bytes = [header.as_slice(), &checked(&header)].concat();
    for line in lines {
        let covered = [&u32::try_from(line.len()).unwrap().to_le_bytes(), line.as_bytes()].concat();
        bytes.extend([0xf5, 0xc0, 0x9e, 0xff]);
        bytes.extend(&covered[..4]);
        bytes.extend(checked(&covered));
        bytes.extend(&covered[4..]);
    }
    bytes
}

fuzz_target!(|text: &str| {
    let mut entries: Vec<String> = Vec::new();
    let mut previous = "0".repeat(64);
    for changes in text.lines() {
        let number = entries.len() + 1;
        entries.push(format!(
            r#"{{"seq":{number},"prev":"{previous}","time":"2026-01-01T00:00:00Z","by":"x","changes":{changes}}}"#
        ));
        previous = Sha256::digest(entries.last().unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
    }
    match decode_journal(&journal(&entries)) {
        Ok(count) => assert_eq!(count, u64::try_from(entries.len()).unwrap()),
        Err(why) => assert!(!why.contains("the chain is broken") && !why.contains("does not start"), "{why}"),
    }
});
