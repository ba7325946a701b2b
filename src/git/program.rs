//! Which git serves.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The oldest git that is known to honour what the gateway relies on: `GIT_CONFIG_COUNT` (2.31) and an exact
/// `safe.directory` (2.35.2), in bare repositories too (2.38.1).
pub(super) const OLDEST: (u32, u32) = (2, 38);

/// Why there is no git to serve with.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// None on the search path.
    #[error("there is no git in {0}")]
    NotFound(String),
    /// It did not say its version.
    #[error("{0} does not say its version: {1}")]
    Silent(PathBuf, String),
    /// Older than [`OLDEST`].
    #[error("{0} is git {1}, and at least {major}.{minor} is needed", major = OLDEST.0, minor = OLDEST.1)]
    TooOld(PathBuf, String),
}

/// A git program that was found and asked for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    version: String,
}

impl Program {
    /// The first git on a search path such as `$PATH`.
    ///
    /// # Errors
    /// [`ProgramError`]
    pub fn find(search: &OsStr) -> Result<Self, ProgramError> {
        let found = std::env::split_paths(search)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("git"))
            .find(|path| path.is_file())
            .ok_or_else(|| ProgramError::NotFound(search.to_string_lossy().into_owned()))?;
        let text = super::child::version(&found).map_err(|why| ProgramError::Silent(found.clone(), why))?;
        let version = text.strip_prefix("git version ").unwrap_or_default().trim().to_owned();
        match numbers(&version) {
            Some(numbers) if numbers >= OLDEST => Ok(Self { path: found, version }),
            Some(_) => Err(ProgramError::TooOld(found, version)),
            None => Err(ProgramError::Silent(found, text)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, as it says it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("2.47.3").unwrap() > OLDEST);
        assert!(numbers("2.9.5").unwrap() < OLDEST);
        assert_eq!(numbers("2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(numbers("unknown"), None);
    }

    #[test]
    fn an_empty_path_has_no_git() {
        assert!(matches!(Program::find(OsStr::new("/nonexistent:relative")), Err(ProgramError::NotFound(_))));
    }
}
