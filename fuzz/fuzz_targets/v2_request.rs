//! One request of protocol version 2, from its lines: each line of the input is a pkt-line, an empty one the delimiter. What
//! is kept says who asks for nothing, and has one spelling.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::git::v2::request::{Plan, plan};

fuzz_target!(|text: &str| {
    let mut request = Vec::new();
    for line in text.split('\n').filter(|line| line.len() < 65_000) {
        match line {
            "" => request.extend_from_slice(b"0001"),
            line => request.extend_from_slice(format!("{:04x}{line}\n", line.len() + 5).as_bytes()),
        }
    }
    request.extend_from_slice(b"0000");
    if let Plan::Keep(question) = plan(&request) {
        let spelled = std::str::from_utf8(&question.bytes).unwrap();
        assert!(!spelled.contains("agent=") && !spelled.contains("session-id="), "{spelled}");
        assert!(spelled.contains("command=fetch") && spelled.contains("want "), "{spelled}");
        assert_eq!(plan(&question.bytes), Plan::Keep(question));
    }
});
