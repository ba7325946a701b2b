//! Every "no", and the one map from its true reason to the words that a client hears.

use std::fmt;
use std::net::IpAddr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::audit::Subject;
use crate::model::key_name::KeyName;
use crate::model::repo_path::RepoPath;
use crate::model::text::printable;
use crate::registry::change::Unavailable;

/// The longest part of a client's own text that is repeated to it, in characters.
const ECHO: usize = 120;

/// The stable word of a refusal: what scripts match and what the troubleshooting guide is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// No such repository, or not granted: the same words.
    NotGranted,
    /// A push.
    ReadOnly,
    /// The key is over.
    Expired,
    /// The key is out of use for the time being.
    Suspended,
    /// Another key took its place, and its overlap is over.
    Rotated,
    /// The key was removed while its connection was open.
    Removed,
    /// The key may not come from there.
    SourceAddress,
    /// Too much is going on.
    Busy,
    /// The registry or the store cannot say.
    Unavailable,
    /// The repository is granted, but cannot be served.
    Repository,
    /// The repository borrows objects of one that is not granted.
    SharedObjects,
    /// No repository can have that path.
    BadPath,
    /// The command is none that is served.
    NotServed,
    /// The login rests on SHA-1.
    Sha1Signature,
    /// One of the gateway's clocks ran out on a fetch.
    TimedOut,
    /// The client sent more than is taken.
    Flooded,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::NotGranted,
        Self::ReadOnly,
        Self::Expired,
        Self::Suspended,
        Self::Rotated,
        Self::Removed,
        Self::SourceAddress,
        Self::Busy,
        Self::Unavailable,
        Self::Repository,
        Self::SharedObjects,
        Self::BadPath,
        Self::NotServed,
        Self::Sha1Signature,
        Self::TimedOut,
        Self::Flooded,
    ];

    /// The word, as it stands in brackets at the end of a message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotGranted => "not-granted",
            Self::ReadOnly => "read-only",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::Rotated => "rotated",
            Self::Removed => "removed",
            Self::SourceAddress => "source-address",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Repository => "repository",
            Self::SharedObjects => "shared-objects",
            Self::BadPath => "bad-path",
            Self::NotServed => "not-served",
            Self::Sha1Signature => "sha1-signature",
            Self::TimedOut => "timed-out",
            Self::Flooded => "flooded",
        }
    }
}

/// What can be refused without looking anything up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declined {
    /// A push; with the path that was named, as text of the client.
    Push(String),
    /// A path that no repository can have, and why.
    BadPath(String, String),
    /// A command that is not served.
    NotServed(String),
    /// The login rests on SHA-1.
    Sha1Signature,
    /// The registry could not say who this is.
    Unavailable,
    /// Too much is going on.
    Busy,
    /// The key has as many connections as one may.
    Crowded,
}

/// Why, in truth. Its `Display` is for records and operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    NotGranted { repo: RepoPath },
    Missing { repo: RepoPath },
    Expired { at: Timestamp },
    Suspended { since: Timestamp },
    Rotated { at: Timestamp, by: KeyName },
    Removed,
    SourceAddress { from: Option<IpAddr> },
    Unavailable(String),
    Repository { repo: RepoPath, why: String },
    SharedObjects { repo: RepoPath, other: RepoPath },
    NotThere { repo: RepoPath },
    NothingSelected { repo: RepoPath },
    TimedOut { repo: RepoPath },
    Flooded { repo: RepoPath },
    Stopped { repo: RepoPath },
    Declined(Declined),
}

impl From<Declined> for Reason {
    fn from(declined: Declined) -> Self {
        Self::Declined(declined)
    }
}

impl From<Unavailable> for Reason {
    fn from(unavailable: Unavailable) -> Self {
        tracing::error!(%unavailable, "a request cannot be decided");
        Self::Unavailable(unavailable.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted { .. } => f.write_str("no grant covers it"),
            Self::Missing { .. } => f.write_str("granted, but not in the store"),
            Self::Expired { at } => write!(f, "expired at {}", minute(*at)),
            Self::Suspended { since } => write!(f, "suspended since {}", minute(*since)),
            Self::Rotated { at, by } => write!(f, "replaced by {by}, ended at {}", minute(*at)),
            Self::Removed => f.write_str("the key is no longer registered"),
            Self::SourceAddress { from: Some(from) } => write!(f, "not from {from}"),
            Self::SourceAddress { from: None } => f.write_str("the address is not known"),
            Self::Unavailable(why) => f.write_str(why),
            Self::Repository { why, .. } => f.write_str(why),
            Self::NotThere { .. } => f.write_str("what was asked for is not in it"),
            Self::NothingSelected { .. } => f.write_str("nothing of it is within the bounds that were asked for"),
            Self::TimedOut { .. } => f.write_str("a clock ran out"),
            Self::Flooded { .. } => f.write_str("the client sent too much"),
            Self::Stopped { .. } => f.write_str("the gateway was stopped"),
            Self::SharedObjects { other, .. } => write!(f, "it borrows objects from {other}, which no grant covers"),
            Self::Declined(declined) => f.write_str(match declined {
                Declined::Push(_) => "a push",
                Declined::BadPath(_, why) => why,
                Declined::NotServed(_) => "not a command of this gateway",
                Declined::Sha1Signature => "the login was signed with SHA-1",
                Declined::Unavailable => "the registry could not say who this is",
                Declined::Busy => "too much is going on",
                Declined::Crowded => "the key has too many connections",
            }),
        }
    }
}

/// A time for people, UTC.
fn minute(at: Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%d %H:%M UTC")
}

impl Reason {
    /// What was asked for, safe to print.
    pub(super) fn asked(&self) -> String {
        match self {
            Self::NotGranted { repo }
            | Self::Missing { repo }
            | Self::Repository { repo, .. }
            | Self::NotThere { repo }
            | Self::NothingSelected { repo }
            | Self::TimedOut { repo }
            | Self::Flooded { repo }
            | Self::Stopped { repo }
            | Self::SharedObjects { repo, .. } => repo.to_string(),
            Self::Declined(Declined::Push(text) | Declined::BadPath(text, _) | Declined::NotServed(text)) => {
                printable(text, ECHO)
            }
            Self::Declined(Declined::Sha1Signature | Declined::Unavailable | Declined::Busy | Declined::Crowded)
            | Self::Expired { .. }
            | Self::Suspended { .. }
            | Self::Rotated { .. }
            | Self::Removed
            | Self::SourceAddress { .. }
            | Self::Unavailable(_) => String::new(),
        }
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::NotGranted { .. } | Self::Missing { .. } => Code::NotGranted,
            Self::Expired { .. } => Code::Expired,
            Self::Suspended { .. } => Code::Suspended,
            Self::Rotated { .. } => Code::Rotated,
            Self::Removed => Code::Removed,
            Self::SourceAddress { .. } => Code::SourceAddress,
            Self::Unavailable(_) | Self::Stopped { .. } | Self::Declined(Declined::Unavailable) => Code::Unavailable,
            Self::Repository { .. } | Self::NotThere { .. } | Self::NothingSelected { .. } => Code::Repository,
            Self::SharedObjects { .. } => Code::SharedObjects,
            Self::TimedOut { .. } => Code::TimedOut,
            Self::Flooded { .. } => Code::Flooded,
            Self::Declined(Declined::Push(_)) => Code::ReadOnly,
            Self::Declined(Declined::BadPath(..)) => Code::BadPath,
            Self::Declined(Declined::NotServed(_)) => Code::NotServed,
            Self::Declined(Declined::Sha1Signature) => Code::Sha1Signature,
            Self::Declined(Declined::Busy | Declined::Crowded) => Code::Busy,
        }
    }

    /// The sentence and the remedy. `who` is `key acme/ci (SHA256:…)`, `account` who can help.
    fn words(&self, who: &str, account: &str) -> String {
        let asked = self.asked();
        match self {
            // Word for word the same, whether it is there or not.
            Self::NotGranted { repo } | Self::Missing { repo } => {
                format!("{repo}: repository not found, or not granted to {who}")
            }
            Self::Expired { at } => format!(
                "{who} expired on {}; ask an administrator of {account} to extend or rotate it",
                last_day(*at)
            ),
            Self::Suspended { since } => format!(
                "{who} is suspended since {}; ask an administrator of {account} to resume it",
                day(*since)
            ),
            Self::Rotated { at, by } => format!(
                "{who} was replaced by {by} and ended on {}; use the new key, or ask an administrator of {account}",
                day(*at)
            ),
            Self::Removed => {
                format!("{who} is no longer registered; ask an administrator of {account} to register a key")
            }
            Self::SourceAddress { from: Some(from) } => {
                format!("{who} may not be used from {from}; ask an administrator of {account} to allow that address")
            }
            Self::SourceAddress { from: None } => {
                format!("{who} may only be used from certain addresses, and yours is not known")
            }
            Self::Unavailable(_) | Self::Declined(Declined::Unavailable) => {
                "this gateway cannot look up keys or repositories at the moment; try again in a minute".to_owned()
            }
            Self::Repository { repo, .. } => {
                format!("{repo}: the repository cannot be served as it is; an operator of this gateway can see why")
            }
            Self::NotThere { repo } => {
                format!(
                    "{repo}: that is not in the repository, or no more, as after a forced push; fetch again, and if that does \
                     not help, ask an operator of this gateway"
                )
            }
            Self::NothingSelected { repo } => {
                format!(
                    "{repo}: git cannot answer that: no commit is as new as --shallow-since asks for, or no ref is called as \
                     --shallow-exclude says; where both are there, an operator of this gateway can see why"
                )
            }
            Self::TimedOut { repo } => {
                format!("{repo}: nothing moved for too long, or the fetch took too long; fetch again, or less at once")
            }
            Self::Flooded { repo } => {
                format!("{repo}: this client sent more at once than this gateway takes; fetch fewer refs at once, or try again later")
            }
            Self::Stopped { repo } => format!("{repo}: this gateway is being stopped, and had no more time for this fetch; fetch again"),
            Self::SharedObjects { repo, .. } => format!(
                "{repo}: it shares objects with another repository that is not granted to {who}; ask an administrator of {account}"
            ),
            Self::Declined(Declined::Push(_)) => {
                format!("this gateway is read-only: git push to {asked} is not possible here")
            }
            Self::Declined(Declined::BadPath(_, why)) => format!("{asked}: {why}"),
            Self::Declined(Declined::NotServed(_)) => {
                format!("{asked}: not served here; this gateway serves git clone, fetch and ls-remote")
            }
            Self::Declined(Declined::Sha1Signature) => {
                "signatures with SHA-1 (ssh-rsa) are not accepted: use an ed25519 or ECDSA key, or a client that signs with rsa-sha2-256"
                    .to_owned()
            }
            Self::Declined(Declined::Busy) => "too many requests at the moment; try again in a minute".to_owned(),
            Self::Declined(Declined::Crowded) => {
                format!("{who} has too many connections open; close some or try again in a minute, or let fewer agents share a key")
            }
        }
    }
}

/// A "no" as a client hears it: one line with sentence, remedy, code and the id of its record.
///
/// Never holds a path of the server, and no control character whatever the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    text: String,
}

impl Refusal {
    pub(super) fn new(id: &str, subject: &Subject, reason: &Reason) -> Self {
        let code = reason.code();
        let (who, account) = match (&subject.key, &subject.fingerprint) {
            (Some(name), Some(fingerprint)) => (format!("key {name} ({fingerprint})"), name.account.to_string()),
            _ => ("this key".to_owned(), "the account".to_owned()),
        };
        let text = format!("{} [{}] (id {id})", reason.words(&who, &account), code.as_str());
        Self { code, text }
    }

    /// The stable word.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The last day on which a key was good: `2027-03-01` is stored as the midnight after it.
pub(super) fn last_day(end: Timestamp) -> Date {
    day(end.checked_sub(SignedDuration::from_secs(1)).unwrap_or(end))
}

/// The day of UTC.
pub(super) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_counted_by_its_name() {
        assert_eq!(Code::ALL.map(Code::as_str), crate::audit::counters::CODES);
    }
}
