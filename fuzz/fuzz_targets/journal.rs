//! The registry's journal, as it lies on disk.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::registry::decode_journal;

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = decode_journal(bytes) {
        assert!(!why.is_empty());
    }
});
