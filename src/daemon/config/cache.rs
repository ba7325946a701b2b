//! The section `[cache]`: what is kept of answers to fetches.

use std::path::Path;

use super::limits::{count, number, number_or_none, seconds};
use super::section::{Section, Wrong, wrong};
use super::values;
use crate::cache::{Settings, SmallSettings};
use crate::git::Packing;

/// How long a writer goes on without a reader, and how long one reader may hold up the others. Nobody has had to set them.
const GRACE: std::time::Duration = std::time::Duration::from_secs(10);
const STALL: std::time::Duration = std::time::Duration::from_secs(30);
const MIB: u64 = 1 << 20;

pub(super) fn read(section: &mut Section<'_>, folder: &Path, state_dir: &Path) -> Option<Settings> {
    let enabled = section.take("enabled", true, yes_or_no);
    let settings = Settings {
        folder: section.take("folder", state_dir.join("cache"), |value| values::path(value, folder)),
        memory: section.take("memory_mib", 256 * MIB, mebibytes_or_none),
        total: section.take("total_mib", 4096 * MIB, mebibytes),
        entry: section.take("entry_mib", 2048 * MIB, mebibytes),
        free: section.take("free_mib", 1024 * MIB, mebibytes),
        entries: section.take("entries", 256, count),
        life: section.take("life_seconds", std::time::Duration::from_secs(3600), seconds),
        single_life: section.take("single_life_seconds", std::time::Duration::from_secs(300), seconds),
        grace: GRACE,
        stall: STALL,
        small: SmallSettings {
            total: section.take("polls_mib", 256 * MIB, mebibytes),
            life: section.take("poll_life_seconds", std::time::Duration::from_secs(60), seconds),
        },
    };
    enabled.then_some(settings)
}

fn yes_or_no(value: &toml::Value) -> Result<bool, Vec<Wrong>> {
    match value.as_bool() {
        Some(value) => Ok(value),
        None => wrong(format!("is of type {}", value.type_str()), "write true or false"),
    }
}

/// How packs without history are made.
pub(super) fn packing(section: &mut Section<'_>) -> Packing {
    let default = Packing::default();
    Packing {
        window: section.take("depth1_window", default.window, |value| {
            // The largest that is of use: git's documentation speaks of 250 for the one great repack.
            gits_own_or(value, 250, r#"write "git" for git's own, or a whole number from 0 to 250"#)
        }),
        compression: section.take("depth1_compression", default.compression, |value| {
            gits_own_or(value, 9, r#"write "git" for git's own, or a whole number from 0 to 9"#)
        }),
    }
}

fn gits_own_or<T: TryFrom<i64>>(value: &toml::Value, most: i64, remedy: &str) -> Result<Option<T>, Vec<Wrong>> {
    let number = match value.as_integer() {
        Some(number) if (0..=most).contains(&number) => T::try_from(number).ok(),
        Some(_) => None,
        None if value.as_str() == Some("git") => return Ok(None),
        None => return wrong(format!("is {value}"), remedy),
    };
    number.map_or_else(|| wrong(format!("is {value}"), remedy), |number| Ok(Some(number)))
}

/// A pebibyte, in MiB.
const MOST_MIB: i64 = 1 << 30;

fn mebibytes(value: &toml::Value) -> Result<u64, Vec<Wrong>> {
    Ok(number(value, MOST_MIB, "write a whole number of MiB, from 1 to 1073741824")? * MIB)
}

/// The same, or 0 for nothing.
fn mebibytes_or_none(value: &toml::Value) -> Result<u64, Vec<Wrong>> {
    Ok(number_or_none(value, MOST_MIB, "write a whole number of MiB, from 1 to 1073741824, or 0")? * MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_may_be_none() {
        let read = |value: i64| mebibytes_or_none(&toml::Value::Integer(value)).ok();
        assert_eq!([0, 1, MOST_MIB].map(read), [Some(0), Some(1 << 20), Some(1 << 50)]);
        assert_eq!([-1, MOST_MIB + 1].map(read), [None, None]);
    }
}
