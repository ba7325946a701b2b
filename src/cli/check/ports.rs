//! Whether the SSH server, and who tells metrics, can listen where they should.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;

use super::Finding;
use crate::daemon::config::Config;

const SSH: &str = "ssh.listen";
const METRICS: &str = "metrics.listen";

pub(super) fn listen(config: &Config) -> Vec<Finding> {
    // A daemon of this config holds its own ports.
    let runs = UnixStream::connect(&config.control.socket).is_ok();
    let ssh = config.ssh.listen.iter().map(|address| (SSH, *address));
    let all = ssh.chain(config.metrics.map(|address| (METRICS, address)));
    all.map(|(subject, address)| one(subject, address, runs)).collect()
}

fn one(subject: &str, address: SocketAddr, runs: bool) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(subject, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && runs => {
            Finding::ok(subject, format!("{address} is taken, and a daemon of this config runs"))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::error(
            subject,
            format!("{address} is taken by another program"),
            format!("`ss -ltnp 'sport = :{}'` says by which; end it, or name another port", address.port()),
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::error(
            subject,
            format!("this user may not listen at {address}"),
            "give the service CAP_NET_BIND_SERVICE (AmbientCapabilities= of systemd), or name a port from 1024 on",
        ),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Finding::error(
            subject,
            format!("{} is no address of this machine", address.ip()),
            "`ip address` shows those that are; \"[::]:PORT\" and \"0.0.0.0:PORT\" mean all of them",
        ),
        Err(error) => Finding::error(subject, format!("{address}: {error}"), "name another address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_found() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let found = one(SSH, address, false);
        assert_eq!(found.severity, super::super::Severity::Error, "{found:?}");
        assert!(found.fact.contains("is taken by another program"), "{found:?}");
        assert_eq!(one(SSH, address, true).severity, super::super::Severity::Ok);
        drop(held);
        assert_eq!(one(SSH, address, false).fact, format!("{address} is free"));
        // TEST-NET-3 of RFC 5737 is nobody's.
        let strange = one(SSH, "203.0.113.7:2222".parse().unwrap(), false);
        assert!(strange.fact.contains("no address of this machine"), "{strange:?}");
    }
}
