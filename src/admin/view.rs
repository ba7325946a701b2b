//! What listings show. The field names are stable: scripts read them behind `--json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Faults;
use crate::model::expiry::Expiry;
use crate::registry::change::Unavailable;
use crate::registry::record::{AccountRecord, Holder, KeyRecord, Rotation, Suspension};
use crate::usage::{KeyUse, Use};

/// An account, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its name.
    pub name: String,
    /// How many keys it holds.
    pub keys: usize,
    /// When it was added.
    pub added_at: Timestamp,
    /// By which operator.
    pub added_by: String,
}

impl AccountView {
    pub(super) fn of(record: &AccountRecord, keys: usize) -> Self {
        Self { name: record.name.to_string(), keys, added_at: record.added_at, added_by: record.added_by.clone() }
    }
}

/// Whether a key can be used at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// It can.
    Active,
    /// Its time is over.
    Expired,
    /// An operator took it out of use.
    Suspended,
    /// Another key took its place, and its overlap is over.
    Replaced,
}

/// A key, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// `account/label`.
    pub name: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// The type as SSH names it, e.g. `ssh-ed25519`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its size in bits.
    pub bits: u32,
    /// The public key as one line of a `.pub` file, without comment.
    pub public_key: String,
    /// A machine's or a person's.
    pub holder: Holder,
    /// Whether it can be used now.
    pub state: KeyState,
    /// What it may fetch; empty for an account key, which reads its whole account.
    pub grants: Vec<String>,
    /// From which networks; empty means anywhere.
    pub sources: Vec<String>,
    /// From when on it is refused; none means never.
    pub expires: Option<Timestamp>,
    /// A remark; may be empty.
    pub note: String,
    /// When it was added.
    pub added_at: Timestamp,
    /// By which operator.
    pub added_by: String,
    /// Since when and why it is suspended, if it is.
    pub suspended: Option<Suspension>,
    /// The key whose place it took.
    pub replaces: Option<Rotation>,
    /// The key that took its place.
    pub replaced_by: Option<Rotation>,
    /// When it was used last; none: never since it was added.
    pub last_used: Option<Use>,
    /// The last use through each grant that was used.
    #[serde(default)]
    pub grant_uses: Vec<GrantUse>,
    /// What the key that it replaces was still used for since then.
    #[serde(default)]
    pub old_uses: Vec<GrantUse>,
    /// An earlier registration of the same key that was removed, in words.
    pub before: Option<String>,
}

/// The last use of a key through one grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantUse {
    /// The grant.
    pub grant: String,
    /// Its last use.
    pub last: Use,
}

pub(super) fn use_view((grant, last): (String, Use)) -> GrantUse {
    GrantUse { grant, last }
}

impl KeyView {
    /// The same with what is known of its uses.
    pub(super) fn used(mut self, uses: Option<KeyUse>) -> Self {
        if let Some(uses) = uses {
            self.last_used = Some(uses.last);
            self.grant_uses = uses.grants.into_iter().map(use_view).collect();
        }
        self
    }

    /// When it ends: by its own time, or since another takes its place.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        self.expires.into_iter().chain(self.replaced_by.as_ref().map(|rotation| rotation.until)).min()
    }

    pub(super) fn of(record: &KeyRecord, now: Timestamp) -> Self {
        let replaced = record.replaced_by.as_ref().is_some_and(|rotation| now >= rotation.until);
        let state = match (&record.suspended, replaced, record.expiry.is_over(now)) {
            (Some(_), _, _) => KeyState::Suspended,
            (None, true, _) => KeyState::Replaced,
            (None, false, true) => KeyState::Expired,
            (None, false, false) => KeyState::Active,
        };
        Self {
            name: record.name.to_string(),
            fingerprint: record.fingerprint().to_string(),
            type_name: record.key.type_name().to_owned(),
            bits: record.key.bits(),
            public_key: record.key.to_string(),
            holder: record.holder,
            state,
            grants: record.grants.iter().map(ToString::to_string).collect(),
            sources: record.sources.iter().map(ToString::to_string).collect(),
            expires: match record.expiry {
                Expiry::Never => None,
                Expiry::At(at) => Some(at),
            },
            note: record.note.to_string(),
            added_at: record.added_at,
            added_by: record.added_by.clone(),
            suspended: record.suspended.clone(),
            replaces: record.replaces.clone(),
            replaced_by: record.replaced_by.clone(),
            last_used: None,
            grant_uses: Vec::new(),
            old_uses: Vec::new(),
            before: None,
        }
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page starts: after this name. None: this is the last one.
    #[serde(default = "none")]
    pub next: Option<String>,
}

fn none() -> Option<String> {
    None
}

/// How many items and how many bytes of JSON one page has at most, about: an answer has to fit into a frame of the control
/// protocol, and the largest key is about 60 KiB.
const PAGE_ITEMS: usize = 500;
const PAGE_BYTES: usize = 512 * 1024;

impl<T: Serialize> Page<T> {
    /// As many as fit of items that are made one by one.
    pub(super) fn fill_checked(
        items: impl Iterator<Item = Result<T, Unavailable>>,
        name: impl Fn(&T) -> &str,
    ) -> Result<Self, Faults> {
        let mut failed = None;
        let good = items.map_while(|item| item.map_err(|error| failed = Some(error)).ok());
        let page = Self::fill(good, false, name);
        failed.map_or(Ok(page), |error| Err(error.into()))
    }

    /// As many of `items` as fit. `more` says whether there are others behind them.
    pub(super) fn fill(items: impl Iterator<Item = T>, more: bool, name: impl Fn(&T) -> &str) -> Self {
        let mut page = Self { items: Vec::new(), next: None };
        let mut bytes = 0;
        for item in items {
            if page.items.len() >= PAGE_ITEMS || bytes >= PAGE_BYTES {
                page.next = page.items.last().map(|last| name(last).to_owned());
                return page;
            }
            // What cannot be written as JSON is found when the answer is; here it only has to count as large.
            bytes += serde_json::to_vec(&item).map_or(PAGE_BYTES, |json| json.len());
            page.items.push(item);
        }
        if more {
            page.next = page.items.last().map(|last| name(last).to_owned());
        }
        page
    }
}
