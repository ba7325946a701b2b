//! What a deploy key may fetch.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::{AccountName, GroupName, NameError};
use super::repo_path::{MAX_DEPTH, MAX_PATH, RepoPath, RepoPathError};

/// Why a text is not a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No account in front.
    #[error("a grant is account/name, a pattern such as account/* or account/team-*, or a group account/@name")]
    Shape,
    /// The account may not be a pattern.
    #[error("a pattern stays in one account: the part before the first slash has no '*'")]
    AccountPattern,
    /// `**` somewhere other than alone in the last place.
    #[error("'**' stands alone, at the end, as in account/folder/**")]
    DoubleStar,
    /// Longer or deeper than a repository can be.
    #[error("the pattern is longer than any repository's path")]
    TooLong,
    /// One of its names is none.
    #[error("{0}")]
    Name(#[from] NameError),
    /// It names one repository, wrongly.
    #[error("{0}")]
    Repo(#[from] RepoPathError),
}

/// A pattern over the repositories of one account.
///
/// `*` stands for any characters inside one component; `**`, alone at the end, for one component or more. So `acme/*`
/// covers `acme/app`, today's and tomorrow's, and `acme/**` covers `acme/backend/app` as well.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Glob {
    text: String,
}

impl Glob {
    fn parse(text: &str) -> Result<Self, GrantError> {
        let text = text.strip_suffix(".git").unwrap_or(text);
        if text.len() > MAX_PATH || text.split('/').count() > MAX_DEPTH {
            return Err(GrantError::TooLong);
        }
        let (account, rest) = text.split_once('/').ok_or(GrantError::Shape)?;
        if account.contains('*') {
            return Err(GrantError::AccountPattern);
        }
        AccountName::parse(account)?;
        let mut components = rest.split('/').peekable();
        while let Some(component) = components.next() {
            if component == "**" && components.peek().is_none() {
                continue;
            }
            if component.contains("**") {
                return Err(GrantError::DoubleStar);
            }
            // Any name that the pattern could stand for is a name; so the fixed letters have to be letters of names.
            super::name::check(&component.replace('*', "a"))?;
        }
        Ok(Self { text: text.to_owned() })
    }

    /// Whether the pattern covers this repository.
    #[must_use]
    pub fn covers(&self, repo: &RepoPath) -> bool {
        let mut wanted = self.text.split('/');
        let mut given = repo.components();
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some("**"), Some(_)) => return true,
                (Some(pattern), Some(component)) if component_matches(pattern.as_bytes(), component.as_bytes()) => {}
                _ => return false,
            }
        }
    }

    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// `*` against one component. Linear in space and O(n·m) in the worst case, with n and m at most 100: remembers only the
/// last star, so that no pattern can make it backtrack exponentially.
fn component_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if wanted == byte => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    star = Some((star_p, star_t + 1));
                    p = star_p + 1;
                    t = star_t + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

/// What a deploy key may fetch: one repository, a pattern over one account, or a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grant {
    /// Exactly this repository.
    Repo(RepoPath),
    /// Every repository that the pattern covers when the fetch is asked for.
    Glob(Glob),
    /// Every repository that is in the group when the fetch is asked for.
    Group(AccountName, GroupName),
}

impl Grant {
    /// Parses `acme/app`, `acme/team-*`, `acme/**`, `acme/@backend`.
    ///
    /// # Errors
    /// [`GrantError`]
    pub fn parse(text: &str) -> Result<Self, GrantError> {
        if let Some((account, group)) = text.split_once("/@") {
            return Ok(Self::Group(AccountName::parse(account)?, GroupName::parse(group)?));
        }
        if text.contains('*') {
            return Ok(Self::Glob(Glob::parse(text)?));
        }
        match RepoPath::parse(text) {
            Ok(path) => Ok(Self::Repo(path)),
            Err(RepoPathError::NoRepository) => Err(GrantError::Shape),
            Err(other) => Err(other.into()),
        }
    }

    /// The account that the grant reaches into, as text.
    #[must_use]
    pub fn account_str(&self) -> &str {
        match self {
            Self::Repo(path) => path.account_str(),
            Self::Glob(glob) => glob.text.split('/').next().unwrap_or_default(),
            Self::Group(account, _) => account.as_str(),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repo(path) => path.fmt(f),
            Self::Glob(glob) => f.write_str(&glob.text),
            Self::Group(account, group) => write!(f, "{account}/@{group}"),
        }
    }
}

impl TryFrom<String> for Grant {
    type Error = GrantError;
    fn try_from(text: String) -> Result<Self, GrantError> {
        Self::parse(&text)
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> String {
        grant.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(grant: &str, repo: &str) -> bool {
        match Grant::parse(grant).unwrap() {
            Grant::Glob(glob) => glob.covers(&RepoPath::parse(repo).unwrap()),
            Grant::Repo(path) => path == RepoPath::parse(repo).unwrap(),
            Grant::Group(..) => unreachable!("no groups in this test"),
        }
    }

    #[test]
    fn patterns_cover_what_they_say() {
        for (grant, repo) in [
            ("acme/app", "acme/app.git"),
            ("acme/*", "acme/app"),
            ("acme/team-*", "acme/team-"),
            ("acme/team-*", "acme/team-a"),
            ("acme/*-lib", "acme/a-b-lib"),
            ("acme/a*b*c", "acme/aXbXbc"),
            ("acme/backend/*", "acme/backend/app"),
            ("acme/*/app", "acme/backend/app"),
            ("acme/**", "acme/app"),
            ("acme/**", "acme/a/b/c"),
            ("acme/backend/**", "acme/backend/a/b"),
        ] {
            assert!(covers(grant, repo), "{grant} {repo}");
        }
        for (grant, repo) in [
            ("acme/app", "acme/app2"),
            ("acme/*", "acme2/app"),
            ("acme/*", "acme/backend/app"),
            ("acme/team-*", "acme/team"),
            ("acme/team-*", "acme/xteam-a"),
            ("acme/backend/**", "acme/backend2/app"),
            ("acme/backend/**", "acme/backend"),
            ("acme/A*", "acme/abc"),
        ] {
            assert!(!covers(grant, repo), "{grant} {repo}");
        }
    }

    #[test]
    fn grants_stay_in_one_account() {
        for bad in [
            "",
            "*",
            "acme",
            "*/app",
            "ac*/app",
            "**",
            "acme/**/app",
            "acme/a**",
            "acme/***",
            "acme/",
            "acme/@",
            "/@x",
            "acme/@-x",
            "acme/..*",
            "acme/-*",
            "acme/a b*",
            "acme/*.git/hooks",
            "acme//*",
        ] {
            assert!(Grant::parse(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(Grant::parse("acme/@backend"), Ok(Grant::Group(..))));
    }

    proptest! {
        #[test]
        fn a_pattern_never_reaches_another_account(pattern in "[a-c]{1,2}/[a-c*/]{1,8}", repo in "[a-c]{1,2}/[a-c/]{1,8}") {
            if let (Ok(Grant::Glob(glob)), Ok(repo)) = (Grant::parse(&pattern), RepoPath::parse(&repo))
                && glob.covers(&repo)
            {
                prop_assert_eq!(pattern.split('/').next().unwrap(), repo.account_str());
            }
        }

        #[test]
        fn text_and_value_agree(text in "[a-c]{1,2}/[@a-c*/.]{1,8}") {
            if let Ok(grant) = Grant::parse(&text) {
                prop_assert_eq!(Grant::parse(&grant.to_string()).unwrap(), grant);
            }
        }

        #[test]
        fn matching_agrees_with_a_naive_matcher(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            fn naive(p: &[u8], t: &[u8]) -> bool {
                match (p.first(), t.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => naive(&p[1..], t) || (!t.is_empty() && naive(p, &t[1..])),
                    (Some(a), Some(b)) if a == b => naive(&p[1..], &t[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(component_matches(pattern.as_bytes(), text.as_bytes()), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
