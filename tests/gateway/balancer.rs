//! Behind a load balancer that says whose a connection is: `--from` and the audit log see the client, and nobody else is
//! believed.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::harness::{Gateway, Said, run, wait_until};
use crate::watcher::{Numbers, watched};

/// A balancer for one connection, which says this in front of it. Its port.
fn balancer(gateway: &Gateway, header: Vec<u8>) -> u16 {
    let (front, behind) = (TcpListener::bind("127.0.0.1:0").unwrap(), gateway.port());
    let port = front.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (client, _) = front.accept().unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", behind)).unwrap();
        // In pieces, as a network may deliver it.
        for piece in header.chunks(5) {
            server.write_all(piece).unwrap();
        }
        for (mut from, mut to) in [
            (client.try_clone().unwrap(), server.try_clone().unwrap()),
            (server.try_clone().unwrap(), client.try_clone().unwrap()),
        ] {
            std::thread::spawn(move || {
                std::io::copy(&mut from, &mut to).ok();
                to.shutdown(std::net::Shutdown::Write).ok();
            });
        }
    });
    port
}

/// `git ls-remote acme/app` through a port that is not the gateway's own.
fn fetch(gateway: &Gateway, key: &Path, port: u16) -> Said {
    let alias = format!("{} -o HostKeyAlias=[localhost]:{}", gateway.ssh_line(key), gateway.port());
    let url = format!("ssh://git@localhost:{port}/acme/app");
    let mut git: Command = gateway.git_command(key);
    run(git.env("GIT_SSH_COMMAND", alias).args(["ls-remote", &url]))
}

fn believes(networks: &'static str) -> impl FnOnce(String) -> String {
    move |config| {
        let nobody = "proxy_protocol_from = []";
        assert!(config.contains(nobody), "{config}");
        config.replace(nobody, &format!("proxy_protocol_from = {networks}"))
    }
}

fn v2(address: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend_from_slice(&address);
    header.extend_from_slice(&[10, 0, 0, 1, 0x1f, 0x90, 0, 22]);
    header
}

#[test]
fn the_client_is_known_by_its_own_address() {
    let (gateway, metrics) = watched(believes(r#"["127.0.0.1"]"#));
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    gateway.pullgate(["key", "sources", "acme/ci", "192.0.2.0/24", "2001:db8::/32"]).ok();
    for header in [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 22\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 8080 22\r\n".to_vec(),
        b"PROXY TCP6 ::ffff:192.0.2.9 2001:db8::1 8080 22\r\n".to_vec(),
        v2([192, 0, 2, 8]),
    ] {
        let port = balancer(&gateway, header);
        assert!(fetch(&gateway, &key, port).ok().contains("refs/heads/main"));
    }
    let audit = gateway.audit();
    for address in ["192.0.2.7", "2001:db8::7", "192.0.2.8"] {
        assert!(audit.contains(&format!("\"{address}\"")), "{address}: {audit}");
    }
    for (header, from) in [(v2([198, 51, 100, 1]), "198.51.100.1"), (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1")] {
        let port = balancer(&gateway, header);
        let said = fetch(&gateway, &key, port).failed();
        assert!(said.contains(&format!("may not be used from {from}")) && said.contains("[source-address]"), "{said}");
    }
    // The log has an address as the record has it.
    assert!(!gateway.log().contains("::ffff:"), "{}", gateway.log());
    // A look whether somebody listens is no fault.
    drop(std::net::TcpStream::connect(("127.0.0.1", gateway.port())).unwrap());
    assert!(fetch(&gateway, &key, balancer(&gateway, v2([192, 0, 2, 8]))).code == Some(0));
    assert!(!gateway.log().contains("a connection of a balancer is dropped"), "{}", gateway.log());
    // Who comes from there without a header is not let in: it would pass for the balancer.
    let headless = || Numbers::of(metrics).get("pullgate_ssh_headless_total");
    assert_eq!(headless(), 0.0);
    let said = fetch(&gateway, &key, gateway.port());
    assert_eq!(headless(), 1.0);
    assert!(said.code == Some(128) && !said.err.contains("remote error"), "{said:?}");
    wait_until("it is logged", || gateway.log().contains("a connection of a balancer is dropped"));
}

#[test]
fn nobody_else_can_say_who_they_are() {
    let gateway = Gateway::start_with(believes(r#"["10.0.0.0/8", "2001:db8::1"]"#));
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    gateway.pullgate(["key", "sources", "acme/ci", "192.0.2.0/24"]).ok();
    let port = balancer(&gateway, v2([192, 0, 2, 8]));
    let said = fetch(&gateway, &key, port);
    assert!(said.code == Some(128) && !gateway.audit().contains("192.0.2.8"), "{said:?}");
    // Whoever forgot to name the balancer is told, in both versions.
    let told =
        || gateway.log().matches("if 127.0.0.1 is a balancer, name it in `proxy_protocol_from` under [ssh]").count();
    wait_until("it is logged", || told() == 1);
    fetch(&gateway, &key, balancer(&gateway, b"PROXY TCP4 192.0.2.8 192.0.2.1 7 22\r\n".to_vec()));
    wait_until("it is logged", || told() == 2);
    let direct = fetch(&gateway, &key, gateway.port()).failed();
    assert!(direct.contains("may not be used from 127.0.0.1"), "{direct}");
}
