//! The section `[limits]`: bounds and clocks that a small site never touches.

use std::time::Duration;

use ipnet::IpNet;

use super::section::{Section, Wrong, wrong};
use super::values;
use crate::front::ssh;
use crate::git;

/// The bounds and clocks of the doors and of the fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Of the SSH door.
    pub ssh: ssh::Settings,
    /// Networks whose unknown keys are not counted.
    pub guesses_exempt: Vec<IpNet>,
    /// Of one fetch.
    pub git: git::Settings,
    /// How long what runs may go on after the daemon was told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ssh: ssh::Settings::default(),
            guesses_exempt: Vec::new(),
            git: git::Settings::default(),
            drain: Duration::from_secs(30),
        }
    }
}

/// A week: whatever takes longer is not waited for.
const MOST_SECONDS: i64 = 7 * 24 * 3600;
/// More than any machine that runs one gateway can hold.
const MOST: i64 = 1_000_000;

pub(super) fn read(section: &mut Section<'_>) -> Limits {
    let mut limits = Limits::default();
    let Limits { ssh, guesses_exempt, git, drain } = &mut limits;
    for (key, clock) in [
        ("banner_seconds", &mut ssh.banner),
        ("login_seconds", &mut ssh.login),
        ("connection_idle_seconds", &mut ssh.idle),
        ("keepalive_seconds", &mut ssh.keepalive),
        ("rekey_seconds", &mut ssh.rekey.after),
        ("negotiation_seconds", &mut git.negotiation),
        ("fetch_idle_seconds", &mut git.idle),
        ("fetch_seconds", &mut git.total),
        ("slot_wait_seconds", &mut git.slots.wait),
        ("drain_seconds", drain),
    ] {
        *clock = section.take(key, *clock, seconds);
    }
    for (key, bound) in [
        ("startups", &mut ssh.startups),
        ("startups_per_network", &mut ssh.startups_per_network),
        ("connections", &mut ssh.connections),
        ("channels_per_connection", &mut ssh.channels),
        ("keys_per_connection", &mut ssh.key_probes),
        ("slot_queue", &mut git.slots.queue),
    ] {
        *bound = section.take(key, *bound, count);
    }
    for (key, bound) in [
        ("slots", &mut git.slots.slots),
        ("group_exchanges", &mut ssh.group_exchanges),
        ("connections_per_key", &mut ssh.connections_per_key),
        ("guesses_per_network", &mut ssh.guesses),
        ("slots_per_key", &mut git.slots.per_key),
        ("slots_per_repository", &mut git.slots.per_repository),
        ("gits_without_slot", &mut git.slots.rooms),
    ] {
        *bound = section.take(key, *bound, count_or_none);
    }
    for (key, bound) in [
        ("rekey_mib", &mut ssh.rekey.bytes),
        ("sent_mib_per_fetch", &mut ssh.inbound.total),
        ("unread_mib_per_fetch", &mut ssh.inbound.unread),
        ("unread_mib", &mut ssh.unread),
    ] {
        *bound = section.take(key, *bound, mebibytes);
    }
    *guesses_exempt = section.take("guesses_exempt", Vec::new(), values::networks);
    limits
}

/// After how many MiB keys are exchanged again at the latest: with AES, 2^32 blocks (RFC 4344 §3.2). More than clients say, too.
const MOST_MIB: i64 = 64 << 10;

fn mebibytes(value: &toml::Value) -> Result<usize, Vec<Wrong>> {
    const REMEDY: &str = "write a whole number of MiB, from 1 to 65536";
    usize::try_from(number(value, MOST_MIB, REMEDY)? << 20).or_else(|_| wrong("is too large", REMEDY))
}

/// Days, none to a year.
pub(super) fn days(value: &toml::Value) -> Result<Duration, Vec<Wrong>> {
    match value.as_integer().and_then(|days| u64::try_from(days).ok()) {
        Some(days @ 0..=365) => Ok(Duration::from_secs(days * 24 * 3600)),
        Some(_) | None => wrong(format!("is {value}"), "write whole days, from 0 (never) to 365"),
    }
}

pub(super) fn seconds(value: &toml::Value) -> Result<Duration, Vec<Wrong>> {
    let number = number(value, MOST_SECONDS, "write whole seconds, from 1 to 604800 (a week)")?;
    Ok(Duration::from_secs(number))
}

pub(super) fn count(value: &toml::Value) -> Result<usize, Vec<Wrong>> {
    const REMEDY: &str = "write a whole number from 1 to 1000000";
    let number = number(value, MOST, REMEDY)?;
    usize::try_from(number).or_else(|_| wrong("is too large", REMEDY))
}

/// The same for what is counted in 32 bits.
pub(super) fn count_u32(value: &toml::Value) -> Result<u32, Vec<Wrong>> {
    const REMEDY: &str = "write a whole number from 1 to 1000000";
    u32::try_from(number(value, MOST, REMEDY)?).or_else(|_| wrong("is too large", REMEDY))
}

/// A count, or 0 for what the machine suggests, or for no bound.
fn count_or_none(value: &toml::Value) -> Result<usize, Vec<Wrong>> {
    const REMEDY: &str = "write a whole number from 1 to 1000000, or 0";
    usize::try_from(number_or_none(value, MOST, REMEDY)?).or_else(|_| wrong("is too large", REMEDY))
}

/// A number as [`number`] reads it, or 0.
pub(super) fn number_or_none(value: &toml::Value, most: i64, remedy: &str) -> Result<u64, Vec<Wrong>> {
    if value.as_integer() == Some(0) { Ok(0) } else { number(value, most, remedy) }
}

pub(super) fn number(value: &toml::Value, most: i64, remedy: &str) -> Result<u64, Vec<Wrong>> {
    match value.as_integer() {
        Some(number) if (1..=most).contains(&number) => Ok(number.unsigned_abs()),
        Some(number) => wrong(format!("is {number}"), remedy),
        None => wrong(format!("is of type {}", value.type_str()), remedy),
    }
}
