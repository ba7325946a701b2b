//! The section `[sandbox]`: the cells in which git works.

use toml::Value;

use super::section::{Section, Wrong, wrong};
use crate::sandbox::{Limits, Mode, Settings, User};

/// A cell in which git cannot even start is a mistake.
const LEAST_MIB: i64 = 64;
/// 16 TiB.
const MOST_MIB: i64 = 16 << 20;
/// A week.
const MOST_SECONDS: i64 = 7 * 24 * 3600;

pub(super) fn read(section: &mut Section<'_>) -> Settings {
    let default = Settings::default();
    let mode = section.take("mode", default.mode, mode);
    let memory = section.take("memory_mib", default.limits.memory >> 20, |value| within(value, LEAST_MIB, MOST_MIB));
    let cpu = section.take("cpu_seconds", default.limits.cpu, |value| within(value, 1, MOST_SECONDS));
    // Whoever names a user wants git not to be root: without a cell it would be, and nobody would be told.
    let user = section.take("user", default.user, |value| match user(value)? {
        Some(_) if mode == Mode::Off => wrong(
            "git can become another user only in a cell, and mode is \"off\"",
            r#"write mode = "prefer", or user = """#,
        ),
        found => Ok(found),
    });
    Settings { mode, limits: Limits { memory: memory << 20, cpu }, user }
}

fn mode(value: &Value) -> Result<Mode, Vec<Wrong>> {
    const REMEDY: &str = r#"write "require", "prefer" or "off""#;
    match value.as_str() {
        Some("require") => Ok(Mode::Require),
        Some("prefer") => Ok(Mode::Prefer),
        Some("off") => Ok(Mode::Off),
        Some(other) => wrong(format!("'{other}' is not a mode"), REMEDY),
        None => wrong(format!("is of type {}", value.type_str()), REMEDY),
    }
}

fn within(value: &Value, least: i64, most: i64) -> Result<u64, Vec<Wrong>> {
    let remedy = format!("write a whole number from {least} to {most}");
    match value.as_integer() {
        Some(number) if (least..=most).contains(&number) => Ok(number.unsigned_abs()),
        Some(number) => wrong(format!("is {number}"), remedy),
        None => wrong(format!("is of type {}", value.type_str()), remedy),
    }
}

fn user(value: &Value) -> Result<Option<User>, Vec<Wrong>> {
    const REMEDY: &str = r#"write the name of a user of this machine, or "" for the daemon's own"#;
    let me = rustix::process::geteuid();
    match value.as_str() {
        Some("") => Ok(None),
        Some(name) => match uzers::get_user_by_name(name) {
            None => wrong(format!("there is no user '{name}' on this machine"), REMEDY),
            Some(user) if !me.is_root() && user.uid() != me.as_raw() => {
                wrong(format!("only root can start git as '{name}', and this is not root"), REMEDY)
            }
            Some(user) => Ok(Some(User { uid: user.uid(), gid: user.primary_group_id() })),
        },
        None => wrong(format!("is of type {}", value.type_str()), REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::daemon::config::Config;

    fn parse(text: &str) -> Result<Settings, Vec<String>> {
        Config::parse(&format!("[sandbox]\n{text}"), Path::new("/srv/config.toml"))
            .map(|config| config.sandbox)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_left_out_is_required() {
        let settings = parse("").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.mode, Mode::Require);
    }

    #[test]
    fn a_user_without_a_cell_is_refused() {
        assert_eq!(parse("mode = 'off'\nuser = ''").unwrap().user, None);
        let me = uzers::get_current_username().unwrap();
        let user = format!("user = '{}'", me.display());
        assert!(parse(&user).unwrap().user.is_some());
        let faults = parse(&format!("mode = 'off'\n{user}")).unwrap_err();
        assert!(faults.len() == 1 && faults[0].contains("only in a cell"), "{faults:?}");
    }

    #[test]
    fn modes_and_bounds_are_read() {
        let settings = parse("mode = 'prefer'\nmemory_mib = 512\ncpu_seconds = 60").unwrap();
        assert_eq!(settings.mode, Mode::Prefer);
        assert_eq!(settings.limits, Limits { memory: 512 << 20, cpu: 60 });
        assert_eq!(parse("mode = 'off'").unwrap().mode, Mode::Off);
        let faults = parse("mode = 'on'\nmemory_mib = 1\ncpu_seconds = 0\nuser = 'no-such-user-here'").unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:?}");
    }
}
