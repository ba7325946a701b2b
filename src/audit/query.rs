//! Which records somebody wants to see.

use ipnet::IpNet;
use jiff::Timestamp;

use super::{Ended, Event, Record, Subject};
use crate::model::details::Details;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;

/// What may stand around a name in a sentence.
const FRAME: &[char] = &[',', ';', ':', '(', ')', '\'', '"'];

/// Every word that [`Event::word`] can say, in the order of a fetch's life.
pub const WORDS: [&str; 15] = [
    "login",
    "login-refused",
    "refused",
    "allowed",
    "served",
    "failed",
    "client-gone",
    "timed-out",
    "flooded",
    "cut",
    "changed",
    "restored",
    "gap",
    "checkpoint",
    "suppressed",
];

impl Event {
    /// What happened, in one word: the name of the event, and for the end of a fetch how it ended.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Login { .. } => "login",
            Self::LoginRefused { .. } => "login-refused",
            Self::Refused { .. } => "refused",
            Self::Allowed { .. } => "allowed",
            Self::Fetch { outcome, .. } => match outcome {
                Ended::Served => "served",
                Ended::Failed => "failed",
                Ended::ClientGone => "client-gone",
                Ended::TimedOut => "timed-out",
                Ended::Flooded => "flooded",
                Ended::Cut => "cut",
            },
            Self::Changed { .. } => "changed",
            Self::Restored { .. } => "restored",
            Self::Gap { .. } => "gap",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Suppressed { .. } => "suppressed",
        }
    }

    /// Who asked, if it is about somebody who asked.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Login { subject }
            | Self::LoginRefused { subject, .. }
            | Self::Refused { subject, .. }
            | Self::Allowed { subject, .. }
            | Self::Fetch { subject, .. } => Some(subject),
            Self::Changed { .. }
            | Self::Restored { .. }
            | Self::Gap { .. }
            | Self::Checkpoint { .. }
            | Self::Suppressed { .. } => None,
        }
    }

    /// The repository that was asked for, if it was one.
    #[must_use]
    pub fn repository(&self) -> Option<RepoPath> {
        match self {
            Self::Allowed { repository, .. } | Self::Fetch { repository, .. } => Some(repository.clone()),
            Self::Refused { repository: Some(repository), .. } => Some(repository.clone()),
            // Of an older version.
            Self::Refused { repository: None, asked, .. } => RepoPath::parse(asked).ok(),
            Self::Login { .. }
            | Self::LoginRefused { .. }
            | Self::Changed { .. }
            | Self::Restored { .. }
            | Self::Gap { .. }
            | Self::Checkpoint { .. }
            | Self::Suppressed { .. } => None,
        }
    }

    /// The code that a client was shown, without brackets.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        if let Self::Refused { code, .. } | Self::Fetch { code: Some(code), .. } = self { Some(code) } else { None }
    }

    /// What was done to the registry, in words: as a whole, and one by one where there is that too.
    fn told(&self) -> impl Iterator<Item = &str> {
        let what = if let Self::Changed { what, .. } | Self::Restored { what, .. } = self { Some(what) } else { None };
        let each = self.details().map_or([].as_slice(), |details| details.told.as_slice());
        what.into_iter().chain(each).map(String::as_str)
    }

    /// The changes of a commit one by one.
    #[must_use]
    pub fn details(&self) -> Option<&Details> {
        if let Self::Changed { details, .. } = self { Some(details) } else { None }
    }
}

/// Which records are wanted. What is left empty does not matter; a record has to fit all that is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// This key, by its name at that time or by its fingerprint; a change that names it, too.
    pub key: Option<KeyRef>,
    /// This repository, or those that a pattern covers; a change that names one, too. A group covers none.
    pub repo: Option<Grant>,
    /// Keys or repositories of this account; a change that names one of them, too.
    pub account: Option<AccountName>,
    /// One of these [`WORDS`].
    pub outcomes: Vec<String>,
    /// This code.
    pub code: Option<String>,
    /// Somebody at an address in this network.
    pub address: Option<IpNet>,
    /// The record with this id; the end of a fetch has that of its beginning.
    pub id: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Changes of the registry.
    pub changes: bool,
    /// Ends of fetches.
    pub fetches: bool,
}

impl Query {
    /// Whether a line can hold a wanted record: a quick look at its bytes, which spares most lines the parser.
    #[must_use]
    pub fn may_want(&self, line: &[u8]) -> bool {
        let has = |text: &str| memchr::memmem::find(line, text.as_bytes()).is_some();
        self.id.as_deref().is_none_or(has) && self.code.as_deref().is_none_or(has)
    }

    /// Whether the record is wanted.
    #[must_use]
    pub fn wants(&self, record: &Record) -> bool {
        let event = &record.event;
        let subject = event.subject();
        self.wants_but_names(record)
            && self.key.as_ref().is_none_or(|key| {
                subject.is_some_and(|subject| is_key(subject, key)) || event.told().any(|told| names_key(told, key))
            })
            && self.repo.as_ref().is_none_or(|repo| {
                event.repository().is_some_and(|asked| covers(repo, &asked))
                    || event.told().any(|told| names_repo(told, repo))
            })
            && self.account.as_ref().is_none_or(|account| of_account(event, account))
    }

    /// Whether the record is of a commit with so many changes that it does not name all of them, and may have been wanted for
    /// one of those: it is of the account that is asked for.
    #[must_use]
    pub fn leaves_open(&self, record: &Record) -> bool {
        let Some(Details { left_out: 1.., accounts, .. }) = record.event.details() else { return false };
        let of = |account: &str| accounts.is_empty() || accounts.iter().any(|there| there == account);
        let asked = self.key.is_some() || self.repo.is_some() || self.account.is_some();
        asked
            && self.wants_but_names(record)
            && !self.wants(record)
            && self.key.as_ref().is_none_or(|key| match key {
                KeyRef::Name(name) => of(name.account.as_str()),
                KeyRef::Fingerprint(_) => true,
            })
            && self.repo.as_ref().is_none_or(|repo| of(repo.account_str()))
            && self.account.as_ref().is_none_or(|account| of(account.as_str()))
    }

    /// Whether one change, in words, names what is asked for: all of it.
    #[must_use]
    pub fn names(&self, told: &str) -> bool {
        self.key.as_ref().is_none_or(|key| names_key(told, key))
            && self.repo.as_ref().is_none_or(|repo| names_repo(told, repo))
            && self.account.as_ref().is_none_or(|account| names_account(told, account))
    }

    fn wants_but_names(&self, record: &Record) -> bool {
        let event = &record.event;
        self.id.as_ref().is_none_or(|id| record.id == *id)
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time <= until)
            && self.wants_kind(event)
            && self.code.as_deref().is_none_or(|code| event.code() == Some(code))
            && self.address.is_none_or(|network| {
                let from = event.subject().and_then(|subject| subject.address);
                from.is_some_and(|address| network.contains(&address))
            })
    }

    fn wants_kind(&self, event: &Event) -> bool {
        let word = event.word();
        let change = matches!(event, Event::Changed { .. } | Event::Restored { .. } | Event::Gap { .. });
        let fetch = matches!(event, Event::Fetch { .. });
        let kind = (!self.changes && !self.fetches) || (self.changes && change) || (self.fetches && fetch);
        kind && (self.outcomes.is_empty() || self.outcomes.iter().any(|wanted| wanted == word))
    }
}

fn is_key(subject: &Subject, key: &KeyRef) -> bool {
    match key {
        KeyRef::Name(name) => subject.key.as_ref() == Some(name),
        KeyRef::Fingerprint(key) => subject.fingerprint.as_ref() == Some(key),
    }
}

fn covers(grant: &Grant, repo: &RepoPath) -> bool {
    match grant {
        Grant::Repo(named) => named == repo,
        Grant::Glob(glob) => glob.covers(repo),
        Grant::Group(..) => false,
    }
}

fn of_account(event: &Event, account: &AccountName) -> bool {
    let key = event.subject().and_then(|subject| subject.key.as_ref());
    key.is_some_and(|key| key.account == *account)
        || event.repository().is_some_and(|repo| repo.account_str() == account.as_str())
        || event.told().any(|told| names_account(told, account))
        || event.details().is_some_and(|details| details.accounts.iter().any(|there| there == account.as_str()))
}

fn names_key(told: &str, key: &KeyRef) -> bool {
    let key = key.to_string();
    mentions(told, |word| word == key)
}

fn names_repo(told: &str, repo: &Grant) -> bool {
    mentions(told, |word| RepoPath::parse(word).is_ok_and(|named| covers(repo, &named)))
}

fn names_account(told: &str, account: &AccountName) -> bool {
    let named = |word: &str| {
        KeyName::parse(word).is_ok_and(|key| key.account == *account)
            || Grant::parse(word).is_ok_and(|grant| grant.account_str() == account.as_str())
    };
    // By itself a word may be any word: it is an account's behind `account`.
    let behind = |(before, word): (&str, &str)| before == "account" && word.trim_matches(FRAME) == account.as_str();
    mentions(told, named) || told.split_whitespace().zip(told.split_whitespace().skip(1)).any(behind)
}

/// Whether the words of a change have one that fits, such as the name of a key.
fn mentions(told: &str, fits: impl Fn(&str) -> bool) -> bool {
    told.split_whitespace().any(|word| {
        // A fingerprint has a colon of its own, inside.
        let bare = word.trim_matches(FRAME);
        Fingerprint::parse(bare).map_or_else(|_| fits(bare), |key| fits(&key.to_string()))
    })
}

#[cfg(test)]
mod tests;
