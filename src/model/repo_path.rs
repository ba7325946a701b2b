//! `RepoPath`: the one spelling of a repository's name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::{self, AccountName, NameError};

/// The longest canonical path, in bytes.
pub const MAX_PATH: usize = 255;
/// The most components, the account included.
pub const MAX_DEPTH: usize = 8;

/// Why a text is not a repository's path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepoPathError {
    /// Nothing is left after the slashes.
    #[error("the repository path is empty")]
    Empty,
    /// More than [`MAX_PATH`] bytes.
    #[error("the repository path is longer than {MAX_PATH} bytes")]
    TooLong,
    /// More than [`MAX_DEPTH`] components.
    #[error("the repository path has more than {MAX_DEPTH} levels")]
    TooDeep,
    /// An account alone names no repository.
    #[error("a repository is named account/name")]
    NoRepository,
    /// `~user/…`: there are no home directories here.
    #[error("home-directory paths are not served; use ssh://host/account/name.git")]
    Home,
    /// One component breaks the grammar of names.
    #[error("{0}")]
    Component(#[from] NameError),
}

/// A repository: `account/name`, or deeper below the account.
///
/// Promise: canonical, and unable to leave the store or to enter a repository. There is no leading or trailing slash, no
/// empty, `.` or `..` component, no component that ends in `.git`, and every component follows [`name::check`].
///
/// The only way to make one is [`RepoPath::parse`] (and its twin for stored text, which checks the same):
///
/// ```
/// use pullgate::model::repo_path::RepoPath;
/// assert_eq!(RepoPath::parse("/acme/app.git").unwrap().to_string(), "acme/app");
/// assert!(RepoPath::parse("acme/../../etc/passwd").is_err());
/// ```
/// ```compile_fail
/// // The field is private: text that was not parsed is no path.
/// let path = pullgate::model::repo_path::RepoPath { canonical: "../../etc".to_owned() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath {
    canonical: String,
}

impl RepoPath {
    /// Parses what a client or a person wrote.
    ///
    /// Leading slashes, one trailing slash and one trailing `.git` are spelling and are taken off, as the forms that real
    /// clients send demand (`acme/app`, `/acme/app.git`, `//acme/app.git`, `/acme/app.git/`).
    ///
    /// # Errors
    /// [`RepoPathError`], the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, RepoPathError> {
        let trimmed = text.trim_start_matches('/');
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        if trimmed.starts_with('~') {
            return Err(RepoPathError::Home);
        }
        let trimmed = trimmed.strip_suffix(".git").unwrap_or(trimmed);
        if trimmed.is_empty() {
            return Err(RepoPathError::Empty);
        }
        if trimmed.len() > MAX_PATH {
            return Err(RepoPathError::TooLong);
        }
        let mut depth = 0;
        for component in trimmed.split('/') {
            depth += 1;
            name::check(component)?;
        }
        match depth {
            0 | 1 => Err(RepoPathError::NoRepository),
            2..=MAX_DEPTH => Ok(Self { canonical: trimmed.to_owned() }),
            _ => Err(RepoPathError::TooDeep),
        }
    }

    /// The canonical spelling: no leading slash, no `.git`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// The account's part as text: everything before the first slash.
    #[must_use]
    pub fn account_str(&self) -> &str {
        self.canonical.split('/').next().unwrap_or_default()
    }

    /// Whether the repository lies in this account.
    #[must_use]
    pub fn is_in(&self, account: &AccountName) -> bool {
        self.account_str() == account.as_str()
    }

    /// The components, the account first.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.canonical.split('/')
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

impl TryFrom<String> for RepoPath {
    type Error = RepoPathError;
    fn try_from(text: String) -> Result<Self, RepoPathError> {
        Self::parse(&text)
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> String {
        path.canonical
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_that_clients_send_has_one_spelling() {
        for form in ["acme/app", "acme/app.git", "/acme/app.git", "//acme/app.git", "/acme/app.git/", "/acme/app"] {
            assert_eq!(RepoPath::parse(form).unwrap().as_str(), "acme/app", "{form}");
        }
        assert_eq!(RepoPath::parse("acme/backend/app").unwrap().account_str(), "acme");
    }

    #[test]
    fn hostile_paths_are_no_paths() {
        for bad in [
            "",
            "/",
            "///",
            "acme",
            "/acme.git",
            ".git",
            "..",
            "../acme/app",
            "acme/..",
            "acme/../app",
            "acme/./app",
            "acme//app",
            "acme/app//",
            "acme/app.git/hooks",
            "acme/app.git.git",
            "acme/app.GIT",
            "acme/-app",
            "--help",
            "-x/y",
            "--upload-pack=touch x",
            "acme/a b",
            "acme/a\0b",
            "acme/a\\b",
            "acme/..%2f..%2fetc",
            "acme/app\n",
            "acme/\u{ff0e}\u{ff0e}/x",
            "acme/\u{202e}app",
            "acme/.hidden",
            "a/b/c/d/e/f/g/h/i",
            "acme/it's",
            "acme/$(id)",
            "acme/`id`",
        ] {
            assert!(RepoPath::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(RepoPath::parse("~bob/app.git"), Err(RepoPathError::Home));
        assert_eq!(RepoPath::parse("/~bob/app.git"), Err(RepoPathError::Home));
        let long = format!("acme/{}/{}/{}", "a".repeat(90), "b".repeat(90), "c".repeat(90));
        assert_eq!(RepoPath::parse(&long), Err(RepoPathError::TooLong));
    }

    proptest! {
        #[test]
        fn parsing_is_idempotent_and_never_escapes(text in "[./~a-zA-Z0-9_\\-]{0,40}|\\PC{0,60}") {
            if let Ok(path) = RepoPath::parse(&text) {
                prop_assert_eq!(&RepoPath::parse(path.as_str()).unwrap(), &path);
                prop_assert_eq!(&RepoPath::parse(&format!("/{path}.git")).unwrap(), &path);
                prop_assert!(path.components().all(|c| !c.is_empty() && !c.starts_with(['.', '-']) && !c.ends_with(".git")));
                prop_assert!(path.components().count() >= 2);
            }
        }
    }
}
