//! Strangers at the door, and that those who belong inside still get in.

use std::net::TcpStream;

use crate::harness::{Gateway, wait_until};

#[test]
fn one_network_cannot_keep_the_others_out() {
    let gateway = Gateway::start_with(|config| {
        let bound = "startups_per_network = 600";
        assert!(config.contains(bound), "{config}");
        config.replace(bound, "startups_per_network = 5")
    });
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    // Silent until their clock runs out, which is later than this test takes.
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", gateway.port())).unwrap()).collect();
    wait_until("the network has its places", || gateway.log().contains("limit=\"startups_per_network\""));
    let from = |address: &str| gateway.ssh(&key, &["-b", address, "-T"], &[]);
    assert!(from("127.0.0.2").err.contains("Hello acme/ci"), "{}", gateway.log());
    let told = gateway.log().matches("connections are turned away").count();
    assert_eq!(told, 1, "the log is told once, and not for each: {}", gateway.log());
    drop(silent);
    wait_until("the places are free again", || from("127.0.0.1").err.contains("Hello acme/ci"));
}
