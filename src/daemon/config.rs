//! The config file: where every setting comes from.
//!
//! Each module owns its settings and their defaults; this one knows how they are called in the file. A new section is a
//! field of [`Config`], one `reader.section(…)` in `read`, and its lines in `config.example.toml`, which a test
//! holds against the defaults.

mod cache;
mod keys;
mod limits;
mod metrics;
mod places;
mod sandbox;
mod section;
mod values;

use std::fmt;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::log;
use crate::admin::operator::Operators;
use crate::admin::policy::Policy;
use crate::audit::{chain, strangers};
use crate::front::control;
use crate::front::ssh::{self, host_keys::Kinds};
use crate::model::text::counted;
use crate::store;
pub use limits::Limits;
pub use places::{ENVIRONMENT, locate};
use section::Reader;
pub use values::PublicAddress;

/// The example: every key with its default and what it means.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that it came from.
    pub file: PathBuf,
    /// Everything that pullgate writes.
    pub state_dir: PathBuf,
    /// The backing store.
    pub store: store::Settings,
    /// The SSH door.
    pub ssh: Ssh,
    /// The control socket.
    pub control: control::Settings,
    /// The audit file.
    pub audit_file: PathBuf,
    /// Where metrics are told, on loopback; `None` when nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where the daemon writes its audit records.
    pub audit_to: AuditTo,
    /// How many audit records strangers can cause.
    pub audit_strangers: strangers::Settings,
    /// The log.
    pub log: log::Settings,
    /// What is asked of keys.
    pub keys: Policy,
    /// The cells in which git works.
    pub sandbox: crate::sandbox::Settings,
    /// What is kept of answers; `None` when nothing is.
    pub cache: Option<crate::cache::Settings>,
    /// How packs without history are made that may be kept.
    pub packing: crate::git::Packing,
    /// Bounds and clocks.
    pub limits: Limits,
}

/// Where the daemon writes its audit records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuditTo {
    /// To the audit file.
    #[default]
    File,
    /// To standard output, which a service manager keeps.
    Stdout,
    /// To systemd's journal.
    Journal,
}

/// The SSH door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Where it listens; at least one.
    pub listen: Vec<SocketAddr>,
    /// The folder of the host keys.
    pub host_keys: PathBuf,
    /// How clients reach it.
    pub public_address: PublicAddress,
    /// Which kinds of host key it has.
    pub host_key_kinds: Kinds,
    /// Load balancers that say with the PROXY protocol whose a connection is.
    pub balancers: Vec<IpNet>,
}

/// Something that is wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key, such as `ssh.listen`, or the place.
    pub key: String,
    /// What is the case.
    pub fact: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.key, self.fact, self.remedy)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// None was named, and none is in the usual places.
    #[error("there is no config file; looked at {}", .0.join(", "))]
    NotFound(Vec<String>),
    /// It cannot be read.
    #[error("the config file {} cannot be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something is wrong in it.
    #[error("the config file {} has {}", file.display(), counted(faults.len(), "fault"))]
    Faults {
        /// The file.
        file: PathBuf,
        /// All of them.
        faults: Vec<ConfigFault>,
    },
}

impl Config {
    /// Reads a config file.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], or [`ConfigError::Faults`] with everything that is wrong in it.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::Unreadable { file: file.to_owned(), error };
        let file = std::path::absolute(file).map_err(unreadable)?;
        let text = bounded(&file).map_err(unreadable)?;
        Self::parse(&text, &file).map_err(|faults| ConfigError::Faults { file, faults })
    }

    /// Parses the text of a config file that lies at `file`, an absolute path.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Vec<ConfigFault>> {
        let mut reader = Reader::new(text, file)?;
        let config = read(&mut reader, file);
        reader.finish()?;
        Ok(config)
    }

    /// The folder of the registry.
    #[must_use]
    pub fn registry_dir(&self) -> PathBuf {
        self.state_dir.join("registry")
    }

    /// Where the chain of audit records is kept.
    #[must_use]
    pub fn audit_chain(&self) -> chain::Settings {
        chain::Settings { key: self.state_dir.join("audit.key"), state: self.state_dir.join("audit.chain") }
    }

    /// The file that remembers when keys were used.
    #[must_use]
    pub fn usage_file(&self) -> PathBuf {
        self.state_dir.join("usage.jsonl")
    }

    /// Whether a key of this state was ever used: its client knows the host keys of then.
    #[must_use]
    pub fn has_served(&self) -> bool {
        self.usage_file().metadata().is_ok_and(|meta| meta.len() > 0)
    }
}

/// Reads a file that is no larger than a config can be: a device may have no end.
fn bounded(file: &Path) -> io::Result<String> {
    const MOST: usize = 1 << 20;
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(MOST as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

fn read(reader: &mut Reader, file: &Path) -> Config {
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    let path = |value: &toml::Value| values::path(value, &folder);
    let state_dir = reader.top(|top| top.take("state_dir", folder.join("state"), path));
    let store = reader.section("store", |section| store::Settings {
        root: section.take("root", folder.join("repositories"), path),
        owners: section.take("owners", Vec::new(), values::users),
    });
    let mut expiry_warning = ssh::Settings::default().expiry_warning;
    let ssh = reader.section("ssh", |section| {
        let default = Kinds::default();
        expiry_warning = section.take("expiry_warning_days", expiry_warning, limits::days);
        Ssh {
            listen: section.take("listen", vec![SocketAddr::from(([127, 0, 0, 1], 2222))], values::addresses),
            host_keys: section.take("host_keys", folder.join("keys"), path),
            public_address: section.take("public_address", PublicAddress::default(), values::public_address),
            host_key_kinds: Kinds {
                rsa: section.take("rsa_host_key", default.rsa, values::yes_or_no),
                nist_curves: section.take("nist_curves", default.nist_curves, values::yes_or_no),
            },
            balancers: section.take("proxy_protocol_from", Vec::new(), values::networks),
        }
    });
    let control = reader.section("control", |section| {
        let socket = section.take("socket", state_dir.join("control.sock"), path);
        section.check("socket", values::fits_a_socket(&socket));
        control::Settings::new(socket, section.take("operators", Operators::new([]), values::operators))
    });
    let metrics = reader.section("metrics", metrics::read);
    let (audit_to, audit_file, audit_strangers) = reader.section("audit", |section| {
        let default = strangers::Settings::default();
        let file = section.take("file", state_dir.join("audit.jsonl"), path);
        let in_all = section.take("stranger_records", default.in_all, limits::count_u32);
        let per_network = section.take("stranger_records_per_network", default.per_network, limits::count_u32);
        (section.take("to", AuditTo::default(), values::audit_to), file, strangers::Settings { per_network, in_all })
    });
    let log = reader.section("log", |section| {
        let default = log::Settings::default();
        log::Settings {
            level: section.take("level", default.level, values::level),
            format: section.take("format", default.format, values::format),
        }
    });
    let keys = reader.section("keys", keys::read);
    let sandbox = reader.section("sandbox", sandbox::read);
    let (kept, packing) =
        reader.section("cache", |section| (cache::read(section, &folder, &state_dir), cache::packing(section)));
    let mut limits = reader.section("limits", limits::read);
    limits.ssh.expiry_warning = expiry_warning;
    Config {
        file: file.to_owned(),
        state_dir,
        store,
        ssh,
        control,
        audit_file,
        metrics,
        audit_to,
        audit_strangers,
        log,
        keys,
        sandbox,
        cache: kept,
        packing,
        limits,
    }
}

#[cfg(test)]
mod tests;
