//! `pullgate known-hosts`

use russh::keys::PublicKey;

use super::Context;
use super::io::Stop;
use crate::admin::fault::{Fault, Kind};
use crate::daemon::config::{Config, PublicAddress};
use crate::front::ssh::host_keys::{self, HostKeyError};

/// Print the lines that clients need in known_hosts
///
/// One line for each host key, under the address that clients use (public_address under [ssh]).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// A line, taken apart.
#[derive(Debug, serde::Serialize)]
struct Entry {
    host: String,
    key: String,
    fingerprint: String,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let config = context.load()?;
        let host = pattern(&config.ssh.public_address);
        let mut entries = Vec::new();
        for key in keys(&config)? {
            entries.push(Entry {
                host: host.clone(),
                key: openssh(&key)?,
                fingerprint: key.fingerprint(russh::keys::HashAlg::Sha256).to_string(),
            });
        }
        match self.json {
            true => context.io.json(&entries),
            false => entries.iter().try_for_each(|entry| context.io.say(format_args!("{} {}", entry.host, entry.key))),
        }
    }
}

/// The lines as one text, for a file.
pub(super) fn text(config: &Config) -> Result<String, Fault> {
    let host = pattern(&config.ssh.public_address);
    keys(config)?.iter().map(|key| Ok(format!("{host} {}\n", openssh(key)?))).collect()
}

/// How known_hosts names a host: in brackets with its port, unless that is SSH's own (sshd(8)).
fn pattern(address: &PublicAddress) -> String {
    match address.port {
        22 => address.host.clone(),
        port => format!("[{}]:{port}", address.host),
    }
}

fn keys(config: &Config) -> Result<Vec<PublicKey>, Fault> {
    let folder = &config.ssh.host_keys;
    host_keys::public_keys(folder).map_err(|error| {
        let kind = match &error {
            HostKeyError::None(_) => Kind::NotFound,
            HostKeyError::Io(_, io) if io.kind() == std::io::ErrorKind::NotFound => Kind::NotFound,
            HostKeyError::Io(_, io) if io.kind() == std::io::ErrorKind::PermissionDenied => Kind::Denied,
            HostKeyError::Io(..) | HostKeyError::Open(..) | HostKeyError::NotAKey(..) | HostKeyError::Random(_) => {
                Kind::Unavailable
            }
        };
        Fault::new(kind, error.to_string()).hint("run it as the gateway's own user, after the gateway's first start")
    })
}

/// Type and base64, without the comment.
fn openssh(key: &PublicKey) -> Result<String, Fault> {
    let line =
        key.to_openssh().map_err(|error| Fault::new(Kind::Internal, format!("a host key has no text: {error}")))?;
    Ok(line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_written_in_brackets() {
        let address = |host: &str, port| PublicAddress { host: host.to_owned(), port };
        assert_eq!(pattern(&address("git.example.org", 22)), "git.example.org");
        assert_eq!(pattern(&address("localhost", 2222)), "[localhost]:2222");
        assert_eq!(pattern(&address("2001:db8::1", 2222)), "[2001:db8::1]:2222");
    }
}
