//! Where the config file is looked for.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// The environment variable that names the file.
pub const ENVIRONMENT: &str = "PULLGATE_CONFIG";
/// The place in the working directory.
const HERE: &str = "config.toml";
/// The place of an installed service.
const SYSTEM: &str = "/etc/pullgate/config.toml";

/// The config file: `flag` when it was given, else what [`ENVIRONMENT`] says, else `config.toml` in the working directory,
/// else `/etc/pullgate/config.toml`. A file that was named is taken at its word; that it is missing is found by reading it.
///
/// # Errors
/// [`ConfigError::NotFound`] with all places.
pub fn locate(flag: Option<&Path>, environment: Option<OsString>) -> Result<PathBuf, ConfigError> {
    search(flag, environment, &[Path::new(HERE), Path::new(SYSTEM)])
}

fn search(flag: Option<&Path>, environment: Option<OsString>, usual: &[&Path]) -> Result<PathBuf, ConfigError> {
    // An empty variable is how a shell spells an unset one.
    let named = flag.map(Path::to_owned).or(environment.filter(|value| !value.is_empty()).map(PathBuf::from));
    if let Some(named) = named {
        return Ok(named);
    }
    for place in usual {
        match std::fs::metadata(place) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // A file that cannot be looked at is there: to go on to the next place would take another configuration.
            Ok(_) | Err(_) => return Ok((*place).to_owned()),
        }
    }
    let mut places = vec!["--config".to_owned(), format!("${ENVIRONMENT}")];
    places.extend(usual.iter().map(|place| match place.is_relative() {
        true => format!("./{}", place.display()),
        false => place.display().to_string(),
    }));
    Err(ConfigError::NotFound(places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_is_named_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let usual = [a.as_path(), b.as_path()];
        let found = |flag: Option<&str>, env: Option<&str>| {
            search(flag.map(Path::new), env.map(OsString::from), &usual).map_err(|error| error.to_string())
        };
        assert!(found(None, None).unwrap_err().contains("--config, $PULLGATE_CONFIG, /"));
        assert!(found(None, Some("")).is_err());
        std::fs::write(&b, "").unwrap();
        assert_eq!(found(None, None).unwrap(), b);
        std::fs::write(&a, "").unwrap();
        assert_eq!(found(None, None).unwrap(), a);
        assert_eq!(found(None, Some("env")).unwrap(), Path::new("env"));
        assert_eq!(found(Some("flag"), Some("env")).unwrap(), Path::new("flag"));
    }

    #[test]
    fn the_places_are_listed_when_there_is_none() {
        let error = search(None, None, &[Path::new("no-such.toml"), Path::new("/nonexistent/c.toml")]).unwrap_err();
        let text = "there is no config file; looked at --config, $PULLGATE_CONFIG, ./no-such.toml, /nonexistent/c.toml";
        assert_eq!(error.to_string(), text);
    }
}
