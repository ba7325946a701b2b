//! Changes in words: for records of them, one by one.

use super::change::Change;
use super::record::Holder;
use crate::model::expiry::Expiry;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::name::Label;

/// What a key is called, for whoever knows it.
pub type Names<'a> = &'a dyn Fn(&Fingerprint) -> Option<KeyName>;

impl Change {
    /// What it does, in words, with at most `most` names of each list.
    #[must_use]
    pub fn words(&self, names: Names<'_>, most: usize) -> String {
        let listed = Listed(most);
        let who = |key: &Fingerprint| names(key).map_or_else(|| key.to_string(), |name| format!("{name} ({key})"));
        let called = |key: &Fingerprint, label: &Label| {
            names(key).map_or_else(|| label.to_string(), |old| format!("{}/{label}", old.account))
        };
        match self {
            Self::AccountAdd { account } => format!("added account {account}"),
            Self::AccountRemove { account } | Self::AccountClose { account } => format!("removed account {account}"),
            Self::KeyAdd { key, name, holder, note: _, expiry, sources, grants } => {
                let what = match holder {
                    Holder::DeployKey => "key",
                    Holder::AccountKey => "account key",
                };
                let mut words = format!("added {what} {name} ({})", key.fingerprint());
                if !grants.is_empty() {
                    words.push_str(&format!(", which may fetch {}", listed.of(grants)));
                }
                if let Expiry::At(_) = expiry {
                    words.push_str(&format!(", until {expiry}"));
                }
                if !sources.is_empty() {
                    words.push_str(&format!(", from {}", listed.of(sources)));
                }
                words
            }
            Self::KeyRemove { key } => format!("removed key {}", who(key)),
            Self::KeyRename { key, label } => format!("renamed key {} to {}", who(key), called(key, label)),
            Self::KeyNote { key, .. } => format!("changed the note of key {}", who(key)),
            Self::KeyGrant { key, grants } => format!("granted {} to key {}", listed.of(grants), who(key)),
            Self::KeyUngrant { key, grants } => format!("took {} from key {}", listed.of(grants), who(key)),
            Self::KeyExpire { key, expiry } => format!("set the expiry of key {} to {expiry}", who(key)),
            Self::KeySuspend { key, .. } => format!("suspended key {}", who(key)),
            Self::KeyResume { key } => format!("resumed key {}", who(key)),
            Self::KeySources { key, sources } if sources.is_empty() => {
                format!("took the networks from key {}, which may come from anywhere", who(key))
            }
            Self::KeySources { key, sources } => {
                format!("set the networks of key {} to {}", who(key), listed.of(sources))
            }
            Self::KeyRotate { old, new, label, .. } => {
                format!("replaced key {} by key {} ({})", who(old), called(old, label), new.fingerprint())
            }
            Self::KeyOverlap { key, until } => format!("ended the overlap of key {} at {until}", who(key)),
            Self::GroupAdd { account, group, repos } if repos.is_empty() => format!("added group {account}/@{group}"),
            Self::GroupAdd { account, group, repos } => format!("added {} to {account}/@{group}", listed.of(repos)),
            Self::GroupDrop { account, group, repos } => format!("took {} from {account}/@{group}", listed.of(repos)),
            Self::GroupRemove { account, group } => format!("removed group {account}/@{group}"),
            Self::RepoPublish { repo } => format!("published {repo}"),
            Self::RepoUnpublish { repo } => format!("unpublished {repo}"),
            Self::RepoRemove { repo } => format!("removed repository {repo}"),
        }
    }

    /// How many names its longest list has.
    #[must_use]
    pub fn longest(&self) -> usize {
        let own = if let Self::KeyUngrant { grants, .. } = self {
            grants.len()
        } else if let Self::GroupAdd { repos, .. } | Self::GroupDrop { repos, .. } = self {
            repos.len()
        } else if let Self::KeyAdd { sources, .. } | Self::KeySources { sources, .. } = self {
            sources.len()
        } else {
            0
        };
        own.max(self.grants().len())
    }

    /// The accounts that it names. That of a key that it names by its fingerprint only is not among them.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        let of = match self {
            Self::AccountAdd { account }
            | Self::AccountRemove { account }
            | Self::AccountClose { account }
            | Self::GroupAdd { account, .. }
            | Self::GroupDrop { account, .. }
            | Self::GroupRemove { account, .. } => Some(account.as_str()),
            Self::KeyAdd { name, .. } => Some(name.account.as_str()),
            Self::RepoPublish { repo } | Self::RepoUnpublish { repo } | Self::RepoRemove { repo } => {
                Some(repo.account_str())
            }
            Self::KeyRemove { .. }
            | Self::KeyRename { .. }
            | Self::KeyNote { .. }
            | Self::KeyGrant { .. }
            | Self::KeyUngrant { .. }
            | Self::KeyExpire { .. }
            | Self::KeySuspend { .. }
            | Self::KeyResume { .. }
            | Self::KeySources { .. }
            | Self::KeyRotate { .. }
            | Self::KeyOverlap { .. } => None,
        };
        let taken = if let Self::KeyUngrant { grants, .. } = self { grants.as_slice() } else { &[] };
        of.into_iter().chain(self.grants().iter().chain(taken).map(|grant| grant.account_str()))
    }
}

/// `a, b and 3 more`.
struct Listed(usize);

impl Listed {
    fn of<T: std::fmt::Display>(&self, items: &[T]) -> String {
        let first = items.iter().take(self.0).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match items.len().checked_sub(self.0) {
            Some(more @ 1..) => format!("{first} and {more} more"),
            Some(0) | None => first,
        }
    }
}
