//! What a person typed, as types; with every fault of it.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use crate::admin::Faults;
use crate::admin::fault::{Fault, Kind};
use crate::admin::key::{Filter, NewKey};
use crate::front::control::protocol::{KeyAdd, KeyFilter};
use crate::model::expiry::{self, Expiry};
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::{AccountName, GroupName, Label};
use crate::model::network;
use crate::model::public_key::PublicKey;
use crate::model::repo_path::RepoPath;
use crate::model::text::{Note, printable};
use crate::registry::record::{MAX_GRANTS, MAX_MEMBERS, MAX_SOURCES};

/// The most of a text that a fault quotes, in characters.
const QUOTED: usize = 80;

/// Collects faults while fields are parsed; a field with a fault is `None`.
#[derive(Debug, Default)]
pub(super) struct Parse {
    faults: Vec<Fault>,
}

impl Parse {
    pub(super) fn done(self) -> Result<(), Faults> {
        Faults::check(self.faults)
    }

    pub(super) fn fault(&mut self, field: &str, fact: &str, hint: Option<&str>) {
        let fault = Fault::new(Kind::Invalid, fact).field(field);
        self.faults.push(match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    }

    pub(super) fn checked<T>(
        &mut self,
        field: &str,
        text: &str,
        result: Result<T, impl std::fmt::Display>,
        hint: Option<&str>,
    ) -> Option<T> {
        result.map_err(|error| self.fault(field, &format!("'{}': {error}", printable(text, QUOTED)), hint)).ok()
    }

    pub(super) fn optional<T>(
        &mut self,
        text: Option<String>,
        parse: impl FnOnce(&mut Self, String) -> Option<T>,
    ) -> Option<T> {
        text.and_then(|text| parse(self, text))
    }

    /// Where a listing goes on. Came from us, so the general word is enough.
    pub(super) fn cursor<T, E: std::fmt::Display>(
        &mut self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.checked("after", text, parse(text), Some("start the listing again"))
    }

    pub(super) fn account(&mut self, text: &str) -> Option<AccountName> {
        self.checked("account", text, AccountName::parse(text), None)
    }

    pub(super) fn label(&mut self, text: &str) -> Option<Label> {
        self.checked("label", text, Label::parse(text), None)
    }

    pub(super) fn key_ref(&mut self, text: &str) -> Option<KeyRef> {
        self.checked("key", text, KeyRef::parse(text), Some("`pullgate key list` lists all keys"))
    }

    pub(super) fn note(&mut self, field: &str, text: &str) -> Option<Note> {
        self.checked(field, text, Note::parse(text), None)
    }

    /// The text of a public key is not quoted: it may be a private one.
    pub(super) fn public_key(&mut self, text: &str) -> Option<PublicKey> {
        PublicKey::parse(text).map_err(|error| self.fault("key", &error.to_string(), None)).ok()
    }

    pub(super) fn grants(&mut self, texts: &[String], some: bool) -> Option<Vec<Grant>> {
        if some && texts.is_empty() {
            self.fault("grant", "nothing is named", Some("name repositories or patterns, such as acme/app or acme/*"));
        }
        self.list("grant", texts, MAX_GRANTS, |text| Grant::parse(text).map_err(|error| error.to_string()))
    }

    pub(super) fn sources(&mut self, texts: &[String]) -> Option<Vec<IpNet>> {
        self.list("from", texts, MAX_SOURCES, network::exact)
    }

    pub(super) fn list<T>(
        &mut self,
        field: &str,
        texts: &[String],
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        if texts.len() > most {
            self.fault(field, &format!("{} are given, and {most} are possible", texts.len()), None);
            return None;
        }
        let parsed: Vec<Option<T>> = texts.iter().map(|text| self.checked(field, text, parse(text), None)).collect();
        parsed.into_iter().collect()
    }

    pub(super) fn new_key(&mut self, add: KeyAdd) -> Option<NewKey> {
        let account = self.account(&add.account);
        let label = self.label(&add.label);
        let key = self.public_key(&add.key);
        let grants = self.grants(&add.grants, false);
        let expiry = match &add.expires {
            None => Some(None),
            Some(text) => self.expiry(text).map(Some),
        };
        let sources = self.sources(&add.sources);
        let note = match &add.note {
            None => Some(Note::default()),
            Some(text) => self.note("note", text),
        };
        Some(NewKey {
            key: key?,
            name: KeyName { account: account?, label: label? },
            note: note?,
            expiry: expiry?,
            sources: sources?,
            grants: grants?,
        })
    }

    /// The same for a person, who needs no grants: all of the account can be read.
    pub(super) fn new_person(&mut self, add: KeyAdd) -> Option<NewKey> {
        if !add.grants.is_empty() {
            self.fault("grant", "an account key reads all of its account, and holds no grants", None);
        }
        self.new_key(KeyAdd { grants: Vec::new(), ..add })
    }

    pub(super) fn expiry(&mut self, text: &str) -> Option<Expiry> {
        self.checked("expires", text, Expiry::parse(text, Timestamp::now()), None)
    }

    pub(super) fn span(&mut self, field: &str, text: &str) -> Option<SignedDuration> {
        let hint = Some("write a span of time such as 90d, 12h or 4w");
        self.checked(field, text, expiry::span(text).map_err(|_| "that is no span of time"), hint)
    }

    pub(super) fn repo(&mut self, text: &str) -> Option<RepoPath> {
        self.checked("repo", text, RepoPath::parse(text), None)
    }

    pub(super) fn repos(&mut self, texts: &[String]) -> Option<Vec<RepoPath>> {
        self.list("repo", texts, MAX_MEMBERS, |text| RepoPath::parse(text).map_err(|error| error.to_string()))
    }

    pub(super) fn group(&mut self, text: &str) -> Option<(AccountName, GroupName)> {
        match Grant::parse(text) {
            Ok(Grant::Group(account, group)) => Some((account, group)),
            Ok(Grant::Repo(_) | Grant::Glob(_)) | Err(_) => {
                self.fault(
                    "group",
                    &format!("'{}' names no group", printable(text, QUOTED)),
                    Some("a group is named account/@name"),
                );
                None
            }
        }
    }

    pub(super) fn address(&mut self, text: &str) -> Option<IpAddr> {
        self.checked("from", text, text.parse::<IpAddr>(), Some("write one address, such as 10.1.2.3 or 2001:db8::1"))
    }

    pub(super) fn filter(&mut self, filter: KeyFilter) -> Option<Filter> {
        let KeyFilter { holder, unused, expiring, expired, suspended, grants } = filter;
        let unused = self.optional(unused, |parse, text| parse.span("unused", &text));
        let expiring = self.optional(expiring, |parse, text| parse.span("expiring", &text));
        let grants = self.optional(grants, |parse, text| parse.repo(&text));
        Some(Filter { holder, unused, expiring, expired, suspended, grants })
    }

    pub(super) fn fingerprint(&mut self, fingerprint: Option<String>, key: Option<String>) -> Option<Fingerprint> {
        match (fingerprint, key) {
            (Some(text), None) => self.checked("fingerprint", &text, Fingerprint::parse(&text), None),
            (None, Some(text)) => self.public_key(&text).map(|key| key.fingerprint()),
            (None, None) | (Some(_), Some(_)) => {
                self.fault("fingerprint", "either a fingerprint or a public key is needed", None);
                None
            }
        }
    }
}
