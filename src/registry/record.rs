//! What the registry holds about accounts and keys.

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::expiry::Expiry;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName, Label};
use crate::model::public_key::PublicKey;
use crate::model::repo_path::RepoPath;
use crate::model::text::Note;

/// The most grants that one key holds. A key that needs more wants a pattern; the bound keeps a record far below the
/// 128 KiB at which the index would store it in a file of its own that is never synced.
pub const MAX_GRANTS: usize = 200;
/// The most source networks of one key.
pub const MAX_SOURCES: usize = 64;
/// The most repositories of one group. What needs more wants a pattern; bounded for the same reason as [`MAX_GRANTS`].
pub const MAX_MEMBERS: usize = 400;
/// The longest `by`, in characters.
pub const MAX_BY: usize = 64;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Its name.
    pub name: AccountName,
    /// When it was added.
    pub added_at: Timestamp,
    /// The operator who added it; a record, not an owner.
    pub added_by: String,
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A machine's: fetches what its grants cover.
    DeployKey,
    /// A person's: fetches every repository of the account.
    AccountKey,
}

/// Since when and why a key is out of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Since when.
    pub at: Timestamp,
    /// By which operator.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: Note,
}

/// The other key of a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The other key.
    pub key: Fingerprint,
    /// Its name: as it is now, or as it was when it was removed.
    pub name: KeyName,
    /// When the one took the other's place.
    pub at: Timestamp,
    /// From when on the older of the two is refused.
    pub until: Timestamp,
}

/// What is left of a key that was removed: its history, and no claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The key.
    pub key: Fingerprint,
    /// The name that it had.
    pub name: KeyName,
    /// What it was.
    pub holder: Holder,
    /// Its remark.
    #[serde(default)]
    pub note: Note,
    /// When it was added.
    pub added_at: Timestamp,
    /// The operator who added it.
    pub added_by: String,
    /// When it was removed.
    pub removed_at: Timestamp,
    /// The operator who removed it.
    pub removed_by: String,
    /// The key that had taken its place, if one had.
    #[serde(default)]
    pub replaced_by: Option<Rotation>,
}

/// A named set of repositories of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The account.
    pub account: AccountName,
    /// The group's name in it, without the `@`.
    pub name: GroupName,
    /// Its members, sorted, at most [`MAX_MEMBERS`].
    pub repos: Vec<RepoPath>,
    /// When it was made.
    pub added_at: Timestamp,
    /// By which operator.
    pub added_by: String,
}

/// A repository that every registered key may fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicRecord {
    /// Which.
    pub repo: RepoPath,
    /// Since when.
    pub at: Timestamp,
    /// By which operator.
    pub by: String,
}

/// A registered key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Where it is registered. This and the next two come first: a start reads no more of a row than these.
    pub name: KeyName,
    /// Whether it is a machine's or a person's.
    pub holder: Holder,
    /// What it may fetch, sorted, at most [`MAX_GRANTS`]. Empty for account keys.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// The key; it cannot be changed.
    pub key: PublicKey,
    /// A remark.
    #[serde(default)]
    pub note: Note,
    /// When it was added.
    pub added_at: Timestamp,
    /// The operator who added it; a record, not an owner.
    pub added_by: String,
    /// Until when it is good.
    #[serde(default)]
    pub expiry: Expiry,
    /// When that was said; none: when the key was added.
    #[serde(default)]
    pub expiry_set: Option<Timestamp>,
    /// Whether and since when it is suspended.
    #[serde(default)]
    pub suspended: Option<Suspension>,
    /// The networks it may come from; empty means anywhere.
    #[serde(default)]
    pub sources: Vec<IpNet>,
    /// The key whose place it took.
    #[serde(default)]
    pub replaces: Option<Rotation>,
    /// The key that took its place.
    #[serde(default)]
    pub replaced_by: Option<Rotation>,
}

impl KeyRecord {
    /// The fingerprint of the key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint()
    }

    /// The account that holds the key.
    #[must_use]
    pub fn account(&self) -> &AccountName {
        &self.name.account
    }

    /// The key's label.
    #[must_use]
    pub fn label(&self) -> &Label {
        &self.name.label
    }
}
