//! The section `[metrics]`: where it is told how the gateway fares.

use std::net::SocketAddr;

use super::section::{Section, Wrong, wrong};

const REMEDY: &str =
    "write one address of this machine alone with its port, such as \"127.0.0.1:9180\", or \"\" for none";

pub(super) fn read(section: &mut Section<'_>) -> Option<SocketAddr> {
    section.take("listen", None, loopback)
}

/// Nobody logs in there, so nobody else may get there.
fn loopback(value: &toml::Value) -> Result<Option<SocketAddr>, Vec<Wrong>> {
    let Some(text) = value.as_str() else { return wrong(format!("is of type {}", value.type_str()), REMEDY) };
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if !address.ip().to_canonical().is_loopback() => wrong(
            format!("{text} can be reached from other machines, and nobody logs in there"),
            "listen on loopback, and put a proxy that asks who it is in front of it where others are to read it",
        ),
        Ok(address) if address.port() == 0 => wrong(format!("{text} has no port"), REMEDY),
        Ok(address) => Ok(Some(address)),
        Err(_) => wrong(format!("'{text}' is no address and port"), REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::daemon::config::Config;

    #[test]
    fn only_loopback_is_listened_on() {
        let parse = |text: &str| {
            Config::parse(&format!("[metrics]\nlisten = {text}"), Path::new("/srv/config.toml"))
                .map(|config| config.metrics.map(|address| address.to_string()))
                .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(parse("''"), Ok(None));
        for good in ["127.0.0.1:9180", "127.8.8.8:1", "[::1]:9180"] {
            assert_eq!(parse(&format!("'{good}'")), Ok(Some(good.to_owned())));
        }
        for far in ["0.0.0.0:9180", "[::]:9180", "192.0.2.1:9180", "[2001:db8::1]:9180", "[::ffff:192.0.2.1]:9180"] {
            let faults = parse(&format!("'{far}'")).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with("metrics.listen: "), "{faults:?}");
            assert!(faults[0].contains("can be reached from other machines"), "{faults:?}");
        }
        for bad in ["'localhost:9180'", "':9180'", "'9180'", "9180", "true", "['127.0.0.1:9180']", "'127.0.0.1:0'"] {
            let faults = parse(bad).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains("\"127.0.0.1:9180\""), "{bad}: {faults:?}");
        }
    }
}
