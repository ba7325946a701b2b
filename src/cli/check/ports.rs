//! Whether the SSH server, and who tells metrics, can listen where they should.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use super::Finding;
use crate::daemon::config::Config;
use crate::daemon::sockets::bind;

const SSH: &str = "ssh.listen";
const METRICS: &str = "metrics.listen";

pub(super) fn listen(config: &Config) -> Vec<Finding> {
    // A daemon of this config holds its own ports.
    let runs = UnixStream::connect(&config.control.socket).is_ok();
    let try_at = |subject, address, others: &[SocketAddr]| {
        let bound = bind(address, others);
        (of(subject, address, bound.as_ref().map(drop), runs), bound)
    };
    let listen = &config.ssh.listen;
    // Each is held while the others are tried, as they will be.
    let (mut found, held): (Vec<_>, Vec<_>) = listen.iter().map(|address| try_at(SSH, *address, listen)).unzip();
    drop(held);
    found.extend(config.metrics.map(|address| try_at(METRICS, address, &[]).0));
    // Each may be free, and not for both of them.
    if let Some(metrics) = config.metrics.filter(|metrics| config.ssh.listen.iter().any(|ssh| collide(*ssh, *metrics)))
    {
        let fact = format!("{metrics} is among the addresses of ssh.listen");
        found.push(Finding::error(METRICS, fact, "name another port for one of them"));
    }
    found
}

/// Whether one of them takes the other's place.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && (any || one.ip() == other.ip())
}

/// Clients are told an address that is none of this machine alone, and nobody but this machine is let in.
pub(super) fn announced(config: &Config) -> Vec<Finding> {
    let ssh = &config.ssh;
    let far = !is_loopback(&ssh.public_address.host);
    // Behind a balancer on this machine it is meant so.
    let near = ssh.balancers.is_empty() && ssh.listen.iter().all(|address| address.ip().is_loopback());
    let told = || {
        let listen: Vec<_> = ssh.listen.iter().map(ToString::to_string).collect();
        Finding::warning(
            "ssh.public_address",
            format!(
                "clients are told {}, and it listens on loopback alone ({})",
                ssh.public_address,
                listen.join(", ")
            ),
            "write listen = [\"0.0.0.0:PORT\", \"[::]:PORT\"] under [ssh]; as it is, only a forwarder on this machine or \
             pullgate.socket can let them in",
        )
    };
    (far && near).then(told).into_iter().collect()
}

/// Clients are told a port at which nobody listens here: it works only where somebody else has it and hands them on.
pub(super) fn announced_port(config: &Config) -> Vec<Finding> {
    let ssh = &config.ssh;
    let told = ssh.public_address.port;
    // Port 0 is any that is free. Who has a balancer is told of by it.
    let fits = ssh.listen.iter().any(|address| address.port() == told || address.port() == 0);
    if fits || !ssh.balancers.is_empty() {
        return Vec::new();
    }
    let listen: Vec<_> = ssh.listen.iter().map(ToString::to_string).collect();
    vec![Finding::warning(
        "ssh.public_address",
        format!("clients are told port {told} ({}), and it listens at {}", ssh.public_address, listen.join(", ")),
        "write the port of `listen` as that of `public_address` under [ssh]; or leave both as they are, where a balancer, a \
         port forwarding or pullgate.socket has the one and leads to the other",
    )]
}

/// Whether it names the machine that it is said on.
fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.parse::<std::net::IpAddr>();
    // RFC 6761 §6.3: all names below `localhost` too.
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn of(subject: &str, address: SocketAddr, bound: Result<(), &std::io::Error>, runs: bool) -> Finding {
    match bound {
        Ok(()) => Finding::ok(subject, format!("{address} is free")),
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
    use std::net::TcpListener;

    use super::*;

    fn one(subject: &str, address: SocketAddr, runs: bool) -> Finding {
        of(subject, address, bind(address, &[]).as_ref().map(drop), runs)
    }

    #[test]
    fn an_address_that_nobody_far_away_can_reach_is_told_of() {
        let found = |text: &str| {
            let text = format!("[ssh]\n{text}");
            announced(&Config::parse(&text, std::path::Path::new("/srv/config.toml")).unwrap()).len()
        };
        let (far, near) = ("public_address = 'git.example.org'", "listen = ['127.0.0.1:22', '[::1]:22']");
        assert_eq!(found(&format!("{far}\n{near}")), 1);
        assert_eq!(found(near), 0);
        assert_eq!(found(&format!("{far}\nlisten = ['127.0.0.1:22', '0.0.0.0:2222']")), 0);
        assert_eq!(found(&format!("{far}\n{near}\nproxy_protocol_from = ['127.0.0.1']")), 0);
        for host in ["localhost", "127.0.0.53", "[::1]:22", "app.localhost."] {
            assert_eq!(found(&format!("public_address = '{host}'\n{near}")), 0, "{host}");
        }
    }

    #[test]
    fn a_port_at_which_nobody_listens_is_told_of() {
        let found = |text: &str| {
            let text = format!("[ssh]\n{text}");
            announced_port(&Config::parse(&text, std::path::Path::new("/srv/config.toml")).unwrap())
        };
        let found_of = |told: &str, listen: &str| found(&format!("public_address = '{told}'\nlisten = [{listen}]"));
        let wrong = found_of("git.example.org:22", "'0.0.0.0:2222', '[::]:2222'");
        assert_eq!(wrong.len(), 1);
        assert!(
            wrong[0].fact.contains("told port 22 ") && wrong[0].fact.contains("at 0.0.0.0:2222, [::]:2222"),
            "{wrong:?}"
        );
        assert_eq!(found_of("git.example.org:2222", "'127.0.0.1:22', '0.0.0.0:2222'"), []);
        assert_eq!(found_of("git.example.org:2222", "'127.0.0.1:0'"), []);
        let balanced =
            "public_address = 'git.example.org:22'\nlisten = ['0.0.0.0:2222']\nproxy_protocol_from = ['10.0.0.1']";
        assert_eq!(found(balanced), []);
    }

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
