//! `pullgate known-hosts`

mod format;

use clap::ValueEnum;

use super::Context;
use super::io::Stop;
use crate::admin::fault::{Fault, Kind};
use crate::daemon::config::{Config, PublicAddress};
use crate::front::ssh::host_keys::{self, HostKeyError, rotation};
use format::Entry;

/// Print what clients need to know this gateway by
///
/// One line for each host key and host. A next key (see `pullgate host-key`) is printed with the others, before it is used,
/// so that clients know it when it is.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Who the lines are for
    #[arg(long, value_enum, default_value_t = Format::Openssh)]
    format: Format,
    /// A name and port that clients use; again for more. Else `public_address` in section `ssh`
    #[arg(long = "host", value_name = "NAME:PORT")]
    hosts: Vec<PublicAddress>,
    /// Write JSON
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// Who the lines are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A known_hosts file
    Openssh,
    /// The same with the names of the hosts hidden, as HashKnownHosts does
    OpensshHashed,
    /// Jenkins, configuration as code: manually provided keys of the Git client plugin
    Jenkins,
    /// Argo CD: its ConfigMap of known hosts
    Argocd,
    /// Bamboo: a host and a key for each entry on its page of trusted keys
    Bamboo,
    /// DNS records (RFC 4255)
    Sshfp,
    /// What ssh shows when it asks whether to go on
    Fingerprints,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let config = context.load()?;
        let hosts = if self.hosts.is_empty() { vec![config.ssh.public_address.clone()] } else { self.hosts };
        let entries = entries(&config, &hosts)?;
        if self.json {
            return context.io.json(&entries);
        }
        let text = match self.format {
            Format::Openssh => format::openssh(&entries),
            Format::OpensshHashed => format::hashed(&entries)?,
            Format::Jenkins => format::jenkins(&entries),
            Format::Argocd => format::argocd(&entries),
            Format::Bamboo => format::bamboo(&entries),
            Format::Sshfp => format::sshfp(&entries)?,
            Format::Fingerprints => format::fingerprints(&entries),
        };
        context.io.say(text.trim_end())
    }
}

/// The lines as one text, for a file.
pub(super) fn text(config: &Config) -> Result<String, Fault> {
    Ok(format::openssh(&entries(config, std::slice::from_ref(&config.ssh.public_address))?))
}

/// Every key for every host: what is used first, then what will be.
fn entries(config: &Config, hosts: &[PublicAddress]) -> Result<Vec<Entry>, Fault> {
    let (folder, kinds) = (&config.ssh.host_keys, config.ssh.host_key_kinds);
    let mut keys = host_keys::public_keys(folder, kinds).map_err(fault)?;
    keys.extend(rotation::next_keys(folder, kinds).map_err(fault)?);
    let pairs = hosts.iter().flat_map(|host| keys.iter().map(move |key| (host, key)));
    pairs.map(|(host, key)| Entry::new(host, key)).collect()
}

/// Why there are no host keys to work with, for the command line.
pub(super) fn fault(error: HostKeyError) -> Fault {
    let kind = match &error {
        HostKeyError::None(_) | HostKeyError::Missing(_) => Kind::NotFound,
        HostKeyError::Io(_, io) if io.kind() == std::io::ErrorKind::NotFound => Kind::NotFound,
        HostKeyError::Io(_, io) if io.kind() == std::io::ErrorKind::PermissionDenied => Kind::Denied,
        HostKeyError::Io(..) | HostKeyError::Open(..) | HostKeyError::NotAKey(..) | HostKeyError::Random(_) => {
            Kind::Unavailable
        }
    };
    Fault::new(kind, error.to_string()).hint("run it as the gateway's own user, after the gateway's first start")
}
