//! The values of the config file, each with what to write instead.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::IpNet;
use toml::Value;
use tracing::Level;

use super::AuditTo;
use super::section::{Wrong, wrong};
use crate::admin::operator::Operators;
use crate::daemon::log::Format;
use crate::front::control::MAX_SOCKET_PATH;
use crate::model::network;

/// SSH's port, which is left out where an address is written.
const SSH_PORT: u16 = 22;

/// How clients reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicAddress {
    /// A host name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Default for PublicAddress {
    fn default() -> Self {
        Self { host: "localhost".to_owned(), port: 2222 }
    }
}

/// A text that is no host and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write HOST or HOST:PORT")]
pub struct NotAnAddress;

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
impl FromStr for PublicAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
                Some(_) | None => return Err(NotAnAddress),
            },
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().ok().filter(|port| *port != 0),
            None if port.is_empty() => Some(SSH_PORT),
            None => None,
        };
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        match port {
            // It is pasted into shells and known_hosts files.
            Some(port) if !host.is_empty() && !host.starts_with('-') && host.chars().all(letters) => {
                Ok(Self { host: host.to_owned(), port })
            }
            Some(_) | None => Err(NotAnAddress),
        }
    }
}

/// As it is written in the file, always with its port.
impl fmt::Display for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

type Parsed<T> = Result<T, Vec<Wrong>>;

fn text<'a>(value: &'a Value, remedy: &str) -> Parsed<&'a str> {
    match value.as_str() {
        Some("") => wrong("is empty", remedy),
        Some(text) => Ok(text),
        None => wrong(format!("is of type {}", value.type_str()), remedy),
    }
}

/// A path; a relative one starts at `folder`.
pub(super) fn path(value: &Value, folder: &Path) -> Parsed<PathBuf> {
    let text = text(value, "write a path in quotes")?;
    if text.contains('\0') {
        return wrong("holds a zero byte", "write a path in quotes");
    }
    Ok(folder.join(text))
}

/// Whether a Unix socket can have this path.
pub(super) fn fits_a_socket(path: &Path) -> Parsed<()> {
    match path.as_os_str().as_bytes().len() {
        0..=MAX_SOCKET_PATH => Ok(()),
        length => wrong(
            format!("is a path of {length} bytes, and a socket's has at most {MAX_SOCKET_PATH}"),
            "choose a shorter one, such as /run/pullgate/control.sock",
        ),
    }
}

/// Addresses to listen on, at least one.
pub(super) fn addresses(value: &Value) -> Parsed<Vec<SocketAddr>> {
    const REMEDY: &str = r#"write addresses with ports, such as ["0.0.0.0:2222", "[::]:2222"]"#;
    let Some(items) = value.as_array() else {
        return wrong(format!("is of type {}", value.type_str()), REMEDY);
    };
    if items.is_empty() {
        return wrong("is empty", REMEDY);
    }
    each(items, |item| {
        let text = text(item, REMEDY)?;
        text.parse().or_else(|_| wrong(format!("'{text}' is not an address with a port"), REMEDY))
    })
}

/// Networks, or single addresses; none is allowed.
pub(super) fn networks(value: &Value) -> Parsed<Vec<IpNet>> {
    const REMEDY: &str = r#"write networks or addresses, such as ["10.0.0.5", "2001:db8::/64"]"#;
    let Some(items) = value.as_array() else {
        return wrong(format!("is of type {}", value.type_str()), REMEDY);
    };
    each(items, |item| {
        let text = text(item, REMEDY)?;
        network::exact(text).or_else(|meant| wrong(format!("'{text}' is not a network: {meant}"), REMEDY))
    })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
pub(super) fn public_address(value: &Value) -> Parsed<PublicAddress> {
    const REMEDY: &str = r#"write "host" or "host:port", as clients write it"#;
    let text = text(value, REMEDY)?;
    text.parse().or_else(|NotAnAddress| wrong(format!("'{text}' is not a host and a port"), REMEDY))
}

/// `true` or `false`.
pub(super) fn yes_or_no(value: &Value) -> Parsed<bool> {
    value.as_bool().map_or_else(|| wrong(format!("is of type {}", value.type_str()), "write true or false"), Ok)
}

/// Who may administer.
pub(super) fn operators(value: &Value) -> Parsed<Operators> {
    users(value).map(Operators::new)
}

/// User names or ids.
pub(super) fn users(value: &Value) -> Parsed<Vec<u32>> {
    const REMEDY: &str = r#"write user names or ids, such as ["alice", 1000]"#;
    let Some(items) = value.as_array() else {
        return wrong(format!("is of type {}", value.type_str()), REMEDY);
    };
    each(items, |item| {
        if let Some(number) = item.as_integer() {
            return uid(number).map_or_else(|| wrong(format!("{number} is not a user's id"), REMEDY), Ok);
        }
        let name = text(item, REMEDY)?;
        if let Ok(number) = name.parse() {
            return uid(number).map_or_else(|| wrong(format!("{number} is not a user's id"), REMEDY), Ok);
        }
        match uzers::get_user_by_name(name) {
            Some(user) => Ok(user.uid()),
            None => wrong(format!("there is no user '{name}' on this machine"), "add the user, or remove the name"),
        }
    })
}

/// The highest number stands for "nobody" in system calls.
fn uid(number: i64) -> Option<u32> {
    u32::try_from(number).ok().filter(|uid| *uid != u32::MAX)
}

/// A level of the log.
pub(super) fn level(value: &Value) -> Parsed<Level> {
    const REMEDY: &str = r#"write "error", "warn", "info", "debug" or "trace""#;
    match text(value, REMEDY)? {
        "error" => Ok(Level::ERROR),
        "warn" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        "trace" => Ok(Level::TRACE),
        other => wrong(format!("'{other}' is not a level"), REMEDY),
    }
}

/// Where audit records go.
pub(super) fn audit_to(value: &Value) -> Parsed<AuditTo> {
    const REMEDY: &str = r#"write "file", "stdout", or "journald" for systemd's journal"#;
    match text(value, REMEDY)? {
        "file" => Ok(AuditTo::File),
        "stdout" => Ok(AuditTo::Stdout),
        "journald" => Ok(AuditTo::Journal),
        other => wrong(format!("'{other}' is no place for audit records"), REMEDY),
    }
}

/// How the log is written.
pub(super) fn format(value: &Value) -> Parsed<Format> {
    const REMEDY: &str = r#"write "text" or "json""#;
    match text(value, REMEDY)? {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        other => wrong(format!("'{other}' is not a format"), REMEDY),
    }
}

/// All items, or what is wrong with all that are.
fn each<T>(items: &[Value], parse: impl Fn(&Value) -> Parsed<T>) -> Parsed<Vec<T>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for item in items {
        match parse(item) {
            Ok(item) => good.push(item),
            Err(wrongs) => bad.extend(wrongs),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}
