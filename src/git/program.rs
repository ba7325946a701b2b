//! Which git serves.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::profile::{interpreter, mapped, names_of, of_program};
use crate::sandbox::Profile;

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
    /// It could not be looked at while it ran.
    #[error("{0} cannot be looked at: {1}")]
    Hidden(PathBuf, String),
    /// Older than 2.38.
    #[error("{0} is git {1}, and at least {major}.{minor} is needed", major = OLDEST.0, minor = OLDEST.1)]
    TooOld(PathBuf, String),
}

/// A git program that was found, asked for its version, and watched once: what it executes and what it is linked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    version: String,
    exec_path: PathBuf,
    executables: Vec<PathBuf>,
    libraries: Vec<PathBuf>,
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
        let ask = |what: &str| super::child::ask(&found, what).map_err(|why| ProgramError::Silent(found.clone(), why));
        let text = ask("--version")?;
        let version = text.strip_prefix("git version ").unwrap_or_default().trim().to_owned();
        match numbers(&version) {
            Some(numbers) if numbers >= OLDEST => {}
            Some(_) => return Err(ProgramError::TooOld(found, version)),
            None => return Err(ProgramError::Silent(found, text)),
        }
        let exec_path = PathBuf::from(ask("--exec-path")?.trim_end());
        Self::watched(&found, version, exec_path).map_err(|why| ProgramError::Hidden(found, why))
    }

    /// Looks at a running one. What was found by its name may be a script or a link; what runs then is what serves.
    fn watched(found: &Path, version: String, exec_path: PathBuf) -> Result<Self, String> {
        let (path, maps) = super::child::watch(found)?;
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        // git starts its own commands as the `git` in its exec path: the same program, by another name or as a copy.
        let mut executables = vec![path.clone()];
        executables.extend(Some(exec_path.join("git")).filter(|git| git.is_file()));
        executables.extend(interpreter(&bytes));
        executables.dedup();
        let others = mapped(&maps).into_iter().filter(|file| *file != path);
        let libraries = others.flat_map(|library| names_of(&library)).collect();
        Ok(Self { path, version, exec_path, executables, libraries })
    }

    /// Where it is: the program itself, not a link or a script that leads to it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its commands are (`git --exec-path`).
    #[must_use]
    pub fn exec_path(&self) -> &Path {
        &self.exec_path
    }

    /// What is executed when it serves: itself, itself by another name, the loader.
    #[must_use]
    pub fn executables(&self) -> &[PathBuf] {
        &self.executables
    }

    /// What it is linked with.
    #[must_use]
    pub fn libraries(&self) -> &[PathBuf] {
        &self.libraries
    }

    /// What it may touch, whatever it serves; a repository comes to that with each fetch.
    #[must_use]
    pub fn profile(&self) -> Profile {
        of_program(self)
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
