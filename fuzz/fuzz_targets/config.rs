//! The config file: faults are reported, nothing panics.
#![no_main]
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pullgate::daemon::config::Config;

fuzz_target!(|text: &str| {
    if let Err(faults) = Config::parse(text, Path::new("/srv/pullgate/config.toml")) {
        assert!(!faults.is_empty());
    }
});
