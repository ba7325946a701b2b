//! What a record can tell of.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::details::Details;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::repo_path::RepoPath;

/// Who asked, as far as it was known when it was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The key's name, if it is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyName>,
    /// The key's fingerprint, if one was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Where the connection came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The client's identification string, made printable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// git ended with status 0.
    Served,
    /// git ended with another status, or was not asked to begin: the code says why.
    Failed,
    /// The client went away before the end.
    ClientGone,
    /// One of our clocks ran out.
    TimedOut,
    /// The client sent more than it may.
    Flooded,
    /// The gateway stopped, and did not wait for it any longer.
    Cut,
}

/// Where the pack of a fetch came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cache", content = "why", rename_all = "kebab-case")]
pub enum Source {
    /// All of it was kept already.
    Hit,
    /// From the work that another fetch had begun.
    Joined,
    /// From work that others could join.
    Miss,
    /// From a git of its own; a stable word why.
    Bypass(String),
}

/// What happened. Closed: a new kind of record is a new variant and a line in the documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A registered key proved itself and was let in.
    Login {
        /// Who.
        #[serde(flatten)]
        subject: Subject,
    },
    /// Nobody was let in on this connection.
    LoginRefused {
        /// Who tried.
        #[serde(flatten)]
        subject: Subject,
        /// Why, as a stable word.
        reason: String,
    },
    /// A request of somebody who was let in was refused.
    Refused {
        /// Who asked.
        #[serde(flatten)]
        subject: Subject,
        /// The code that the client was shown, without brackets.
        code: String,
        /// The true reason, which may say more than the client was told.
        reason: String,
        /// What was asked for, made printable.
        asked: String,
        /// The repository that was asked for, if that was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repository: Option<RepoPath>,
    },
    /// A fetch was allowed. Its end has a record of its own, under the same id.
    Allowed {
        /// Who.
        #[serde(flatten)]
        subject: Subject,
        /// What.
        repository: RepoPath,
        /// The git protocol version, 0 to 2.
        protocol: u8,
    },
    /// A fetch that was allowed has ended.
    Fetch {
        /// Who.
        #[serde(flatten)]
        subject: Subject,
        /// What.
        repository: RepoPath,
        /// The git protocol version, 0 to 2.
        protocol: u8,
        /// How it ended.
        outcome: Ended,
        /// Bytes to the client.
        bytes_out: u64,
        /// Bytes from the client.
        bytes_in: u64,
        /// Milliseconds from the decision to the end.
        duration_ms: u64,
        /// Where the pack came from, if there was one and the cache was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
        /// The code that the client was shown, without brackets, if the fetch came to no good end and it was told why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// The registry was changed.
    Changed {
        /// The operator.
        by: String,
        /// The journal's sequence number.
        seq: u64,
        /// The first one, of a change that is so large that it has several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_seq: Option<u64>,
        /// What was done, in words.
        what: String,
        /// The changes one by one, where those words do not name all that was changed.
        #[serde(flatten)]
        details: Details,
        /// Whether the record was made from the journal at a later start, because the process ended before it was written.
        #[serde(default, skip_serializing_if = "is_false")]
        recovered: bool,
    },
    /// Another registry was put in the place of this one; what follows is counted from its last change.
    Restored {
        /// The operator.
        by: String,
        /// The sequence number of its journal.
        seq: u64,
        /// What was done, in words.
        what: String,
    },
    /// Changes of which no record of their own could be made.
    Gap {
        /// The first of them, if any are missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_seq: Option<u64>,
        /// The last one; what follows is counted from here.
        seq: u64,
        /// Why, in words.
        why: String,
    },
    /// The gateway signed how far the chain of changes goes.
    Checkpoint {
        /// The change up to which each has a record in the chain.
        seq: u64,
        /// How many records of changes the chain has had.
        changes: u64,
        /// The public half of the audit key, as OpenSSH writes it, without a comment.
        key: String,
    },
    /// Records that were left out, since somebody without a registered key can cause as many as they like.
    Suppressed {
        /// The event that they would have been.
        of: String,
        /// Why that happened, as a stable word: the reason of a refused login, or a code.
        reason: String,
        /// Where they came from, an IPv4 address or a /64 of IPv6; left out for all networks that were not counted apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<IpNet>,
        /// How many.
        count: u64,
        /// When the first of them was.
        since: Timestamp,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
