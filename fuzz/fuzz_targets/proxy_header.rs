//! A PROXY header in front of a connection: it is read or refused, and what stands behind it is left alone.
#![no_main]
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use pullgate::front::ssh::proxy::header;

fuzz_target!(|bytes: &[u8]| {
    let mut stream = bytes;
    // Bytes in memory are always there: it never waits.
    let polled = pin!(header(&mut stream)).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(said) = polled else { panic!("it waits for what is there") };
    let read = bytes.len() - stream.len();
    assert!(read <= 16 + 2048);
    if said.is_ok() {
        // The same from the header alone: nothing behind it counts.
        let mut alone = &bytes[..read];
        let again = pin!(header(&mut alone)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(again, Poll::Ready(Ok(address)) if Some(address) == said.ok()) && alone.is_empty());
    }
});
