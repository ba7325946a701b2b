//! GIT_PROTOCOL: whatever it says, git gets one of three constants.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::model::protocol::GitProtocol;

fuzz_target!(|text: &str| {
    if let Some(protocol) = GitProtocol::from_env(text) {
        assert!(["version=0", "version=1", "version=2"].contains(&protocol.env_value()));
    }
});
