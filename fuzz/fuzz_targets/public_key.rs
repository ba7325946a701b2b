//! Public keys in every form that is read.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::model::public_key::PublicKey;

fuzz_target!(|text: &str| {
    if let Ok(key) = PublicKey::parse(text) {
        assert!(key.bits() >= 256);
        drop((key.fingerprint().to_string(), key.type_name().to_owned(), key.advice()));
    }
});
