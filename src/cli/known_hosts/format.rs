//! One host key under one name, as each kind of client wants it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::{HashAlg, PublicKey};
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::admin::fault::{Fault, Kind};
use crate::daemon::config::PublicAddress;

/// One key under one name.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// As known_hosts writes it.
    host: String,
    /// Type and base64.
    key: String,
    fingerprint: String,
    /// The host's name without its port.
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    blob: Vec<u8>,
}

impl Entry {
    pub(super) fn new(host: &PublicAddress, key: &PublicKey) -> Result<Self, Fault> {
        let internal = |error| Fault::new(Kind::Internal, format!("a host key has no text: {error}"));
        let line = key.to_openssh().map_err(internal)?;
        Ok(Self {
            host: pattern(host),
            key: line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            name: host.host.clone(),
            blob: key.to_bytes().map_err(internal)?,
        })
    }

    fn algorithm(&self) -> &str {
        self.key.split(' ').next().unwrap_or_default()
    }
}

/// How known_hosts names a host: in brackets with its port, unless that is SSH's own (sshd(8)).
fn pattern(address: &PublicAddress) -> String {
    match address.port {
        22 => address.host.clone(),
        port => format!("[{}]:{port}", address.host),
    }
}

pub(super) fn openssh(entries: &[Entry]) -> String {
    entries.iter().map(|entry| format!("{} {}\n", entry.host, entry.key)).collect()
}

/// `|1|salt|HMAC-SHA1(salt, host)`, both in base64 (OpenSSH's hostfile.c); a salt for each line. ssh looks a name up in lower
/// case (`ssh_connect` of its ssh.c), and a hash of another spelling would never be found.
pub(super) fn hashed(entries: &[Entry]) -> Result<String, Fault> {
    let mut text = String::new();
    for entry in entries {
        let mut salt = [0u8; 20];
        getrandom::fill(&mut salt)
            .map_err(|error| Fault::new(Kind::Unavailable, format!("the system gives no randomness: {error}")))?;
        text.push_str(&format!("{} {}\n", hidden(&entry.host.to_ascii_lowercase(), &salt)?, entry.key));
    }
    Ok(text)
}

fn hidden(host: &str, salt: &[u8; 20]) -> Result<String, Fault> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt)
        .map_err(|error| Fault::new(Kind::Internal, format!("no HMAC has a key of 20 bytes: {error}")))?;
    mac.update(host.as_bytes());
    Ok(format!("|1|{}|{}", BASE64.encode(salt), BASE64.encode(mac.finalize().into_bytes())))
}

fn indented(entries: &[Entry], spaces: usize) -> String {
    openssh(entries).lines().map(|line| format!("{:spaces$}{line}\n", "")).collect()
}

/// What the Git client plugin reads from Jenkins configuration as code.
pub(super) fn jenkins(entries: &[Entry]) -> String {
    format!(
        "security:\n  gitHostKeyVerificationConfiguration:\n    sshHostKeyVerificationStrategy:\n      \
         manuallyProvidedKeyVerificationStrategy:\n        approvedHostKeys: |-\n{}",
        indented(entries, 10)
    )
}

/// The ConfigMap of known hosts, as `kubectl apply` takes it. It replaces what is there: keep the other hosts' lines.
pub(super) fn argocd(entries: &[Entry]) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-ssh-known-hosts-cm\n  namespace: argocd\n  labels:\n    \
         app.kubernetes.io/name: argocd-ssh-known-hosts-cm\n    app.kubernetes.io/part-of: argocd\ndata:\n  \
         ssh_known_hosts: |\n{}",
        indented(entries, 4)
    )
}

/// The two fields of an entry, to be pasted one after the other. Bamboo's hosts have no port: one of each is enough.
pub(super) fn bamboo(entries: &[Entry]) -> String {
    once(entries.iter().map(|entry| format!("host: {}\nkey:  {}\n\n", entry.name, entry.key)))
}

/// Without what was there already.
fn once(texts: impl Iterator<Item = String>) -> String {
    let mut seen = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.concat()
}

/// RFC 4255, RFC 6594, RFC 7479: algorithm and SHA-256 of the key. DNS names have no port, so one of each is enough.
pub(super) fn sshfp(entries: &[Entry]) -> Result<String, Fault> {
    let mut lines = Vec::new();
    for entry in entries {
        if entry.name.parse::<std::net::IpAddr>().is_ok() {
            return Err(Fault::new(Kind::Invalid, format!("'{}' is an address, and has no SSHFP record", entry.name))
                .hint("name a host with --host"));
        }
        let number = match entry.algorithm() {
            "ssh-rsa" => 1,
            "ssh-ed25519" => 4,
            name if name.starts_with("ecdsa-") => 3,
            other => return Err(Fault::new(Kind::Invalid, format!("there is no SSHFP number for {other}"))),
        };
        let hash: String = Sha256::digest(&entry.blob).iter().map(|byte| format!("{byte:02x}")).collect();
        // With its final dot: without it a zone file takes the name for one below its own.
        let name = entry.name.trim_end_matches('.');
        lines.push(format!("{name}. IN SSHFP {number} 2 {hash}\n"));
    }
    Ok(once(lines.into_iter()))
}

pub(super) fn fingerprints(entries: &[Entry]) -> String {
    let line = |entry: &Entry| format!("{} {} {}\n", entry.host, entry.fingerprint, entry.algorithm());
    entries.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_name_is_in_lower_case() {
        let entry = |host: &str| Entry {
            host: host.to_owned(),
            key: "ssh-ed25519 AAAA".to_owned(),
            fingerprint: String::new(),
            name: String::new(),
            blob: Vec::new(),
        };
        let line = hashed(&[entry("[Git.Example.ORG]:2222")]).unwrap();
        let salt: [u8; 20] = BASE64.decode(line.split('|').nth(2).unwrap()).unwrap().try_into().unwrap();
        assert_eq!(line, format!("{} ssh-ed25519 AAAA\n", hidden("[git.example.org]:2222", &salt).unwrap()));
    }

    #[test]
    fn a_port_is_written_in_brackets() {
        let address = |host: &str, port| PublicAddress { host: host.to_owned(), port };
        assert_eq!(pattern(&address("git.example.org", 22)), "git.example.org");
        assert_eq!(pattern(&address("localhost", 2222)), "[localhost]:2222");
        assert_eq!(pattern(&address("2001:db8::1", 2222)), "[2001:db8::1]:2222");
    }
}
