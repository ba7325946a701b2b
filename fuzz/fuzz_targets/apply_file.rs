//! The file for `apply`: what is read is written, and then reads as the same.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::cli::rewritten;

fuzz_target!(|text: &str| {
    if let Ok(once) = rewritten(text) {
        assert_eq!(rewritten(&once), Ok(once));
    }
});
