//! Which host keys clients are told of, and which no more.

use russh::keys::{HashAlg, PublicKey};

use super::Finding;
use crate::daemon::config::Config;
use crate::front::ssh::host_keys::{HostKeyError, Kinds, is_gone, public_keys, rotation};

/// The next start makes another in its place, which is worth knowing where clients know the old one.
pub(super) fn gone(config: &Config) -> Vec<Finding> {
    let folder = &config.ssh.host_keys;
    if !(config.has_served() && is_gone(folder)) {
        return Vec::new();
    }
    vec![Finding::warning(
        "ssh.host_keys",
        format!(
            "the ed25519 key is gone from {}, and clients have been served: the next start makes another, which each of them \
             refuses as a changed host key",
            folder.display()
        ),
        "put the old one back, from a backup, or see that the config names the right folder",
    )]
}

/// What a start would read, or a promotion make it read. Who may not, or that others may, is the business of the look at the files.
pub(super) fn readable(config: &Config) -> Vec<Finding> {
    let folder = &config.ssh.host_keys;
    let all = Kinds { rsa: true, nist_curves: true };
    let read = [public_keys(folder, all), rotation::next_keys(folder, all), rotation::retired_keys(folder)];
    let damaged =
        read.into_iter().filter_map(|keys| keys.err().filter(|error| matches!(error, HostKeyError::NotAKey(..))));
    let remedy = "put the right one back, from a backup; a start makes no other in its place while the file is there";
    damaged.map(|error| Finding::error("ssh.host_keys", error.to_string(), remedy)).collect()
}

/// Keys that are no longer announced: whoever knows this gateway by them alone turns away from it.
pub(super) fn announced(config: &Config) -> Vec<Finding> {
    let subject = "ssh.host_keys";
    let (folder, kinds) = (&config.ssh.host_keys, config.ssh.host_key_kinds);
    if !folder.exists() {
        return Vec::new();
    }
    let mut found = Vec::new();
    // What cannot be read is the business of the look at the files.
    for key in rotation::next_keys(folder, kinds).unwrap_or_default() {
        found.push(Finding::ok(subject, format!("{} is announced, and not used yet", named(&key))));
    }
    for key in rotation::retired_keys(folder).unwrap_or_default() {
        found.push(Finding::warning(
            subject,
            format!("{} is no longer announced: clients that know only it refuse this gateway", named(&key)),
            format!("when they all have the lines of `pullgate known-hosts`, remove its file in {}", folder.display()),
        ));
    }
    let all = public_keys(folder, Kinds { rsa: true, nist_curves: true }).unwrap_or_default();
    for key in all.iter().filter(|key| !kinds.has(&key.algorithm())) {
        let option = if key.algorithm().is_rsa() { "rsa_host_key" } else { "nist_curves" };
        found.push(Finding::warning(
            subject,
            format!("{} is no longer announced: {option} is false", named(key)),
            format!("remove its file in {}, or write {option} = true under [ssh]", folder.display()),
        ));
    }
    found
}

fn named(key: &PublicKey) -> String {
    format!("the key {} ({})", key.fingerprint(HashAlg::Sha256), key.algorithm())
}
