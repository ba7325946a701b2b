//! From what was typed to what `admin` does. All faults of a request are reported at once.

use ipnet::IpNet;
use jiff::Timestamp;

use super::protocol::{Answer, KeyAdd, Request};
use crate::admin::fault::{Fault, Kind};
use crate::admin::key::NewKey;
use crate::admin::operator::Operator;
use crate::admin::{Admin, Faults};
use crate::model::expiry::Expiry;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::{AccountName, Label};
use crate::model::public_key::PublicKey;
use crate::model::repo_path::RepoPath;
use crate::model::text::{Note, printable};
use crate::registry::record::{MAX_GRANTS, MAX_SOURCES};

/// The most of a text that a fault quotes, in characters.
const QUOTED: usize = 80;

/// Does what is asked for. Blocks while the registry writes.
///
/// # Errors
/// Every fault of the request, or why it was not done.
pub fn handle(admin: &Admin, by: &Operator, request: Request) -> Result<Answer, Faults> {
    let mut parse = Parse::default();
    match request {
        Request::AccountAdd { account } => {
            let account = parse.account(&account);
            parse.done()?;
            with(account, |account| admin.account_add(by, &account).map(Answer::Done))
        }
        Request::AccountList { after } => {
            let after = parse.optional(after, |parse, text| parse.cursor(&text, AccountName::parse));
            parse.done()?;
            admin.account_list(by, after.as_ref()).map(Answer::Accounts)
        }
        Request::AccountRemove { account, with_keys } => {
            let account = parse.account(&account);
            parse.done()?;
            with(account, |account| admin.account_remove(by, &account, with_keys).map(Answer::Done))
        }
        Request::KeyAdd(add) => {
            let new = parse.new_key(add);
            parse.done()?;
            with(new, |new| admin.key_add(by, new).map(Answer::Done))
        }
        Request::KeyList { account, after } => {
            let account = parse.optional(account, |parse, text| parse.account(&text));
            let after = parse.optional(after, |parse, text| parse.cursor(&text, KeyName::parse));
            parse.done()?;
            admin.key_list(by, account.as_ref(), after.as_ref()).map(Answer::Keys)
        }
        Request::KeyShow { key } => {
            let key = parse.key_ref(&key);
            parse.done()?;
            with(key, |key| admin.key_show(by, &key).map(|view| Answer::Key(Box::new(view))))
        }
        Request::KeyRename { key, label } => {
            let both = both(parse.key_ref(&key), parse.label(&label));
            parse.done()?;
            with(both, |(key, label)| admin.key_rename(by, &key, &label).map(Answer::Done))
        }
        Request::KeyNote { key, note } => {
            let both = both(parse.key_ref(&key), parse.note(&note));
            parse.done()?;
            with(both, |(key, note)| admin.key_note(by, &key, &note).map(Answer::Done))
        }
        Request::KeyGrant { key, grants } => {
            let both = both(parse.key_ref(&key), parse.grants(&grants, true));
            parse.done()?;
            with(both, |(key, grants)| admin.key_grant(by, &key, &grants).map(Answer::Done))
        }
        Request::KeyUngrant { key, grants } => {
            let both = both(parse.key_ref(&key), parse.grants(&grants, true));
            parse.done()?;
            with(both, |(key, grants)| admin.key_ungrant(by, &key, &grants).map(Answer::Done))
        }
        Request::KeyRemove { key } => {
            let key = parse.key_ref(&key);
            parse.done()?;
            with(key, |key| admin.key_remove(by, &key).map(Answer::Done))
        }
        Request::WhereIs { fingerprint, key } => {
            let fingerprint = parse.fingerprint(fingerprint, key);
            parse.done()?;
            with(fingerprint, |wanted| admin.whereis(by, &wanted).map(|view| Answer::Key(Box::new(view))))
        }
        Request::RepoList { account, after } => {
            let account = parse.optional(account, |parse, text| parse.account(&text));
            let after = parse.optional(after, |parse, text| parse.cursor(&text, RepoPath::parse));
            parse.done()?;
            admin.repo_list(by, account.as_ref(), after.as_ref()).map(Answer::Repos)
        }
        Request::RepoShow { repo } => {
            let repo = parse.checked("repo", &repo, RepoPath::parse(&repo), None);
            parse.done()?;
            with(repo, |repo| admin.repo_show(by, &repo).map(Answer::Repo))
        }
    }
}

/// What was parsed, once there were no faults. That it is missing without a fault would be a fault of ours.
fn with<T>(parsed: Option<T>, verb: impl FnOnce(T) -> Result<Answer, Faults>) -> Result<Answer, Faults> {
    verb(parsed.ok_or_else(|| Fault::new(Kind::Internal, "a field was refused without a reason"))?)
}

fn both<A, B>(a: Option<A>, b: Option<B>) -> Option<(A, B)> {
    a.zip(b)
}

/// Collects faults while fields are parsed; a field with a fault is `None`.
#[derive(Default)]
struct Parse {
    faults: Vec<Fault>,
}

impl Parse {
    fn done(self) -> Result<(), Faults> {
        Faults::check(self.faults)
    }

    fn fault(&mut self, field: &str, fact: &str, hint: Option<&str>) {
        let fault = Fault::new(Kind::Invalid, fact).field(field);
        self.faults.push(match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    }

    fn checked<T>(
        &mut self,
        field: &str,
        text: &str,
        result: Result<T, impl std::fmt::Display>,
        hint: Option<&str>,
    ) -> Option<T> {
        result.map_err(|error| self.fault(field, &format!("'{}': {error}", printable(text, QUOTED)), hint)).ok()
    }

    fn optional<T>(&mut self, text: Option<String>, parse: impl FnOnce(&mut Self, String) -> Option<T>) -> Option<T> {
        text.and_then(|text| parse(self, text))
    }

    /// Where a listing goes on. Came from us, so the general word is enough.
    fn cursor<T, E: std::fmt::Display>(&mut self, text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.checked("after", text, parse(text), Some("start the listing again"))
    }

    fn account(&mut self, text: &str) -> Option<AccountName> {
        self.checked("account", text, AccountName::parse(text), None)
    }

    fn label(&mut self, text: &str) -> Option<Label> {
        self.checked("label", text, Label::parse(text), None)
    }

    fn key_ref(&mut self, text: &str) -> Option<KeyRef> {
        self.checked("key", text, KeyRef::parse(text), Some("`pullgate key list` lists all keys"))
    }

    fn note(&mut self, text: &str) -> Option<Note> {
        self.checked("note", text, Note::parse(text), None)
    }

    /// The text of a public key is not quoted: it may be a private one.
    fn public_key(&mut self, text: &str) -> Option<PublicKey> {
        PublicKey::parse(text).map_err(|error| self.fault("key", &error.to_string(), None)).ok()
    }

    fn grants(&mut self, texts: &[String], some: bool) -> Option<Vec<Grant>> {
        if some && texts.is_empty() {
            self.fault("grant", "nothing is named", Some("name repositories or patterns, such as acme/app or acme/*"));
        }
        self.list("grant", texts, MAX_GRANTS, |text| Grant::parse(text).map_err(|error| error.to_string()))
    }

    fn sources(&mut self, texts: &[String]) -> Option<Vec<IpNet>> {
        self.list("from", texts, MAX_SOURCES, network)
    }

    fn list<T>(
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

    fn new_key(&mut self, add: KeyAdd) -> Option<NewKey> {
        let account = self.account(&add.account);
        let label = self.label(&add.label);
        let key = self.public_key(&add.key);
        let grants = self.grants(&add.grants, false);
        let expiry = match &add.expires {
            None => Some(Expiry::Never),
            Some(text) => self.checked("expires", text, Expiry::parse(text, Timestamp::now()), None),
        };
        let sources = self.sources(&add.sources);
        let note = match &add.note {
            None => Some(Note::default()),
            Some(text) => self.note(text),
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

    fn fingerprint(&mut self, fingerprint: Option<String>, key: Option<String>) -> Option<Fingerprint> {
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

/// A network in CIDR notation, or one address. Bits behind the prefix are refused: `10.1.2.3/8` is rarely what was meant.
fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet = text.parse().map_err(|_| "a network looks like 10.0.0.0/8 or 2001:db8::/32".to_owned())?;
    if net.trunc() == net { Ok(net) } else { Err(format!("did you mean {}?", net.trunc())) }
}

#[cfg(test)]
mod tests;
