//! What can happen to the registry, and why it may not.

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{Holder, KeyRecord, MAX_GRANTS, MAX_MEMBERS, MAX_SOURCES};
use crate::model::expiry::Expiry;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::{AccountName, GroupName, Label};
use crate::model::public_key::PublicKey;
use crate::model::repo_path::RepoPath;
use crate::model::text::Note;

/// One change of the registry. Several can be committed together: all of them happen, or none.
///
/// Keys are named by fingerprint, which cannot change, so that a change means the same whenever it is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// A new account.
    AccountAdd {
        /// Its name.
        account: AccountName,
    },
    /// An account goes, with all of its keys, groups and public repositories, and with the grants of other accounts' keys
    /// that reach into it.
    AccountRemove {
        /// Its name.
        account: AccountName,
    },
    /// A new key.
    KeyAdd {
        /// The key.
        key: PublicKey,
        /// Where it is registered.
        name: KeyName,
        /// A machine's or a person's.
        holder: Holder,
        /// A remark.
        #[serde(default)]
        note: Note,
        /// Until when it is good.
        #[serde(default)]
        expiry: Expiry,
        /// The networks it may come from.
        #[serde(default)]
        sources: Vec<IpNet>,
        /// What it may fetch.
        #[serde(default)]
        grants: Vec<Grant>,
    },
    /// A key goes, and is free at once.
    KeyRemove {
        /// Which.
        key: Fingerprint,
    },
    /// A new label.
    KeyRename {
        /// Which.
        key: Fingerprint,
        /// The new label in the same account.
        label: Label,
    },
    /// A new remark.
    KeyNote {
        /// Which.
        key: Fingerprint,
        /// The remark; empty takes it away.
        note: Note,
    },
    /// More grants.
    KeyGrant {
        /// Which.
        key: Fingerprint,
        /// What it may fetch from now on beside what it could.
        grants: Vec<Grant>,
    },
    /// Fewer grants.
    KeyUngrant {
        /// Which.
        key: Fingerprint,
        /// The grants to take away, spelled as they were given.
        grants: Vec<Grant>,
    },
    /// An account goes that holds no key. It is committed only when nothing else goes with it either; in journals of before
    /// that rule, what goes with [`Change::AccountRemove`] does. Since version 2 of the journal, as everything below.
    AccountClose {
        /// Its name.
        account: AccountName,
    },
    /// Another end of a key's time.
    KeyExpire {
        /// Which.
        key: Fingerprint,
        /// Until when it is good.
        expiry: Expiry,
    },
    /// A key is out of use until it is resumed.
    KeySuspend {
        /// Which.
        key: Fingerprint,
        /// Why; may be empty.
        #[serde(default)]
        reason: Note,
    },
    /// A suspended key is in use again.
    KeyResume {
        /// Which.
        key: Fingerprint,
    },
    /// Other networks that a key may come from.
    KeySources {
        /// Which.
        key: Fingerprint,
        /// The networks; none means anywhere.
        sources: Vec<IpNet>,
    },
    /// A new key takes a key's place: it inherits grants, note and sources, and the old one ends after an overlap.
    KeyRotate {
        /// The key that goes.
        old: Fingerprint,
        /// The key that comes.
        new: PublicKey,
        /// The new key's label in the same account.
        label: Label,
        /// Until when the new key is good.
        expiry: Expiry,
        /// From when on the old key is refused.
        until: Timestamp,
    },
    /// The overlap of a key that was replaced ends at another time. Since version 3 of the journal.
    KeyOverlap {
        /// The key that was replaced.
        key: Fingerprint,
        /// From when on it is refused.
        until: Timestamp,
    },
    /// A group gets more members; it is made when it is not there.
    GroupAdd {
        /// The account.
        account: AccountName,
        /// The group in it.
        group: GroupName,
        /// Repositories of the account.
        repos: Vec<RepoPath>,
    },
    /// A group loses members; it stays, even without any.
    GroupDrop {
        /// The account.
        account: AccountName,
        /// The group in it.
        group: GroupName,
        /// The repositories to take out.
        repos: Vec<RepoPath>,
    },
    /// A group goes, with the grants that name it.
    GroupRemove {
        /// The account.
        account: AccountName,
        /// The group in it.
        group: GroupName,
    },
    /// Every registered key may fetch a repository.
    RepoPublish {
        /// Which.
        repo: RepoPath,
    },
    /// Only keys with a grant may fetch it again.
    RepoUnpublish {
        /// Which.
        repo: RepoPath,
    },
    /// A repository goes from the registry: the grants that name it exactly, its memberships, and that it is public.
    RepoRemove {
        /// Which.
        repo: RepoPath,
    },
}

impl Change {
    /// The registered key that the change is about, when it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&Fingerprint> {
        match self {
            Self::KeyRemove { key }
            | Self::KeyRename { key, .. }
            | Self::KeyNote { key, .. }
            | Self::KeyGrant { key, .. }
            | Self::KeyUngrant { key, .. }
            | Self::KeyExpire { key, .. }
            | Self::KeySuspend { key, .. }
            | Self::KeyResume { key }
            | Self::KeySources { key, .. }
            | Self::KeyOverlap { key, .. }
            | Self::KeyRotate { old: key, .. } => Some(key),
            Self::AccountAdd { .. }
            | Self::AccountRemove { .. }
            | Self::AccountClose { .. }
            | Self::KeyAdd { .. }
            | Self::GroupAdd { .. }
            | Self::GroupDrop { .. }
            | Self::GroupRemove { .. }
            | Self::RepoPublish { .. }
            | Self::RepoUnpublish { .. }
            | Self::RepoRemove { .. } => None,
        }
    }
}

impl Change {
    /// Until when a key is to be good, when the change says so.
    #[must_use]
    pub fn expiry(&self) -> Option<Expiry> {
        if let Self::KeyAdd { expiry, .. } | Self::KeyExpire { expiry, .. } | Self::KeyRotate { expiry, .. } = self {
            Some(*expiry)
        } else {
            None
        }
    }

    /// The grants that the change gives.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        if let Self::KeyAdd { grants, .. } | Self::KeyGrant { grants, .. } = self { grants } else { &[] }
    }
}

/// A rule of the registry that a change would break. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Rule 1: a public key is registered at most once.
    #[error("this public key is already registered as {holder}")]
    KeyHeld {
        /// Where.
        holder: KeyName,
        /// As what.
        kind: Holder,
    },
    /// A label names one key.
    #[error("the label {name} is taken by another key ({fingerprint})")]
    LabelTaken {
        /// The label.
        name: KeyName,
        /// The key that has it.
        fingerprint: Fingerprint,
    },
    /// No such account.
    #[error("there is no account {0}")]
    NoAccount(AccountName),
    /// Something goes with it, and it was to go only without.
    #[error("keys, groups, public repositories or grants of others go with the account {0}")]
    NotEmpty(AccountName),
    /// No such key.
    #[error("there is no key {0}")]
    NoKey(KeyRef),
    /// Account keys read all of their account and hold no grants.
    #[error("{0} is an account key: it reads every repository of its account and holds no grants")]
    NotADeployKey(KeyName),
    /// More than [`MAX_GRANTS`].
    #[error("{0} would hold more than {MAX_GRANTS} grants")]
    TooManyGrants(KeyName),
    /// More than [`MAX_SOURCES`].
    #[error("{0} would hold more than {MAX_SOURCES} source networks")]
    TooManySources(KeyName),
    /// A key is replaced once.
    #[error("{name} was replaced by {by} already")]
    Replaced {
        /// The key.
        name: KeyName,
        /// The key that took its place.
        by: KeyName,
    },
    /// It has no overlap whose end could be moved.
    #[error("{0} was not replaced by another key")]
    NotReplaced(KeyName),
    /// No such group.
    #[error("there is no group {0}/@{1}")]
    NoGroup(AccountName, GroupName),
    /// A group is of one account.
    #[error("{repo} is not in the account {account}: a group holds repositories of its own account")]
    NotOfAccount {
        /// The repository.
        repo: RepoPath,
        /// The group's account.
        account: AccountName,
    },
    /// More than [`MAX_MEMBERS`].
    #[error("the group {0}/@{1} would hold more than {MAX_MEMBERS} repositories")]
    TooManyMembers(AccountName, GroupName),
}

/// Why a change was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A rule stands against it; nothing was changed.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The registry cannot say or cannot write; nothing was changed.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The registry cannot answer: neither "no" nor "yes".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the registry is unavailable: {reason}")]
pub struct Unavailable {
    /// For the log and for operators; never shown to a client.
    pub reason: String,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The first sequence number of what was written: the same as `seq`, but for a commit that is very large.
    pub first: u64,
    /// The journal's sequence number after it.
    pub seq: u64,
    /// Whether anything changed: `false` when everything asked for was so already, and nothing was written.
    pub changed: bool,
}

/// What a single change did, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What was committed.
    pub committed: Committed,
    /// The key that the change was about, as the change met it: whatever was read before, this is what was changed.
    pub met: Option<Box<KeyRecord>>,
}
