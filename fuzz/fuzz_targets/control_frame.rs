//! A frame at the control socket: its length, and what is in it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::front::control::protocol::{Request, Response, decode, encode, length};

fuzz_target!(|frame: &[u8]| {
    let Some((header, body)) = frame.split_first_chunk() else { return };
    if length(*header).is_err() {
        return;
    }
    if let Ok(request) = decode::<Request>(body) {
        encode(&request).unwrap();
    }
    drop(decode::<Response>(body));
});
