//! What strangers can cause in the audit file is bounded, and counted to the last one.

use serde_json::Value;

use crate::harness::{Gateway, wait_until};

/// How many records there are of refused logins, and how many were counted only.
fn refused(gateway: &Gateway) -> (u64, u64) {
    let (mut written, mut counted) = (0, 0);
    for line in gateway.audit().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        match record["event"].as_str().unwrap() {
            "login-refused" => written += 1,
            "suppressed" => {
                assert_eq!((&record["of"], &record["reason"]), (&"login-refused".into(), &"unknown-key".into()));
                assert_eq!(record["network"], "127.0.0.1/32");
                counted += record["count"].as_u64().unwrap();
            }
            _ => {}
        }
    }
    (written, counted)
}

#[test]
fn refused_logins_are_written_up_to_a_bound_and_counted_beyond() {
    const LOGINS: u64 = 40;
    let mut gateway = Gateway::start_with(|config| {
        config.replace("stranger_records_per_network = 60", "stranger_records_per_network = 3")
    });
    let known = gateway.key("ci", &["acme/app"]);
    let stranger = gateway.keygen("stranger", &["ed25519"]);
    std::thread::scope(|scope| {
        let (gateway, stranger) = (&gateway, &stranger);
        for _ in 0..4 {
            scope.spawn(move || (0..LOGINS / 4).for_each(|_| drop(gateway.ssh(stranger, &[], &[]).failed())));
        }
    });
    // Who is registered has a record all the same.
    gateway.ssh(&known, &[], &[]).ok();
    wait_until("the record", || gateway.audit().contains("\"event\":\"login\""));
    assert_eq!(gateway.stop(), Some(0));
    let (written, counted) = refused(&gateway);
    assert_eq!(written + counted, LOGINS, "{}", gateway.audit());
    assert!((3..LOGINS / 2).contains(&written), "{written}");
}
