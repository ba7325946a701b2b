//! The registry as a file: what `export` writes and `apply` reads.

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::Session;
use super::io::Stop;
use super::session::unexpected;
use crate::admin::view::KeyView;
use crate::front::control::protocol::{Answer, KeyFilter, Request};
use crate::model::expiry::Expiry;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName};
use crate::model::network;
use crate::model::public_key::PublicKey;
use crate::model::repo_path::RepoPath;
use crate::model::text::Note;
use crate::registry::record::Holder;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Declared {
    pub(super) accounts: Vec<AccountName>,
    pub(super) public: Vec<RepoPath>,
    #[serde(rename = "group")]
    pub(super) groups: Vec<DeclaredGroup>,
    #[serde(rename = "key")]
    pub(super) keys: Vec<DeclaredKey>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredGroup {
    pub(super) account: AccountName,
    pub(super) name: GroupName,
    #[serde(default)]
    pub(super) repositories: Vec<RepoPath>,
}

/// A key. What is left out of it is not changed when the key is there, but for grants and networks, which are then none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredKey {
    pub(super) name: KeyName,
    pub(super) key: PublicKey,
    #[serde(default = "deploy_key")]
    pub(super) kind: Holder,
    #[serde(default)]
    pub(super) grants: Vec<Grant>,
    #[serde(default, deserialize_with = "networks")]
    pub(super) from: Vec<IpNet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<Note>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) suspended: Option<bool>,
    /// What no file says: only of a key that is there, when another one took its place.
    #[serde(skip)]
    pub(super) replaced: Option<Replaced>,
}

/// Both ends of a key that was replaced; the sooner of them is when it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replaced {
    /// The key that took its place.
    pub(super) by: KeyName,
    /// Its own expiry, as a file said it that was written before the rotation.
    pub(super) own: Expiry,
    /// The end of the overlap.
    pub(super) until: Expiry,
}

impl Declared {
    /// From the text of a file.
    ///
    /// # Errors
    /// The line and what is wrong there.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            format!("line {}: {}", before.matches('\n').count() + 1, error.message())
        })
    }
}

/// Reads the text of a file for `apply` and writes what it says: what the reader makes of it, for tests of it that have no
/// registry.
///
/// # Errors
/// The line and what is wrong there.
pub fn rewritten(text: &str) -> Result<String, String> {
    toml::to_string(&Declared::parse(text)?).map_err(|error| error.to_string())
}

fn deploy_key() -> Holder {
    Holder::DeployKey
}

/// `never`, a date (good until the end of that day, UTC) or an RFC 3339 time; no span, which would mean something else every
/// time that the file is applied. It may lie in the past: such a key is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Moment(pub(super) Expiry);

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "expires is \"never\", a date such as \"2027-03-01\", or an RFC 3339 time, in quotes";
        if text == "never" {
            return Ok(Self(Expiry::Never));
        }
        if text.len() == "2027-03-01".len() {
            let next = text.parse::<Date>().and_then(|date| date.tomorrow()).map_err(|_| WRONG)?;
            let start = next.to_zoned(TimeZone::UTC).map_err(|_| WRONG)?;
            return Ok(Self(Expiry::At(start.timestamp())));
        }
        text.parse::<Timestamp>().map(|at| Self(Expiry::At(at))).map_err(|_| WRONG)
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        match moment.0 {
            Expiry::Never => "never".to_owned(),
            Expiry::At(at) => at.to_string(),
        }
    }
}

/// The registry as it is. The history of a rotation is not part of it: a key that was replaced ends when its overlap does.
pub(super) fn current(session: &Session) -> Result<Declared, Stop> {
    let mut declared = Declared::default();
    let accounts = session.all(
        |after| Request::AccountList { after },
        |answer| {
            let Answer::Accounts(page) = answer else { return Err(unexpected(&answer)) };
            Ok(page)
        },
    )?;
    for account in accounts {
        declared.accounts.push(read(AccountName::parse(&account.name))?);
    }
    for group in session.groups()? {
        let Ok(Grant::Group(account, name)) = Grant::parse(&group.name) else {
            return Err(read::<(), _>(Err("a group without a name")).err().unwrap_or(Stop::NobodyReads));
        };
        let repositories = group.repositories.iter().map(|repo| read(RepoPath::parse(repo)));
        declared.groups.push(DeclaredGroup { account, name, repositories: repositories.collect::<Result<_, _>>()? });
    }
    let keys = session.all(
        |after| Request::KeyList { account: None, after, filter: KeyFilter::default() },
        |answer| {
            let Answer::Keys(page) = answer else { return Err(unexpected(&answer)) };
            Ok(page)
        },
    )?;
    for key in keys {
        declared.keys.push(declared_key(key)?);
    }
    let public = session.all(
        |after| Request::PublicList { after },
        |answer| {
            let Answer::Public(page) = answer else { return Err(unexpected(&answer)) };
            Ok(page)
        },
    )?;
    for repo in public {
        declared.public.push(read(RepoPath::parse(&repo))?);
    }
    Ok(declared)
}

fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let exact = |text: &String| network::exact(text).map_err(|why| D::Error::custom(format!("'{text}': {why}")));
    texts.iter().map(exact).collect()
}

fn declared_key(key: KeyView) -> Result<DeclaredKey, Stop> {
    let own = Expiry::from(key.expires);
    let ends = key.ends();
    let replaced =
        key.replaced_by.map(|rotation| Replaced { by: rotation.name, own, until: Expiry::At(rotation.until) });
    let grants = key.grants.iter().map(|grant| read(Grant::parse(grant)));
    let from = key.sources.iter().map(|network| read(network.parse::<IpNet>()));
    Ok(DeclaredKey {
        name: read(KeyName::parse(&key.name))?,
        key: read(PublicKey::parse(&key.public_key))?,
        kind: key.holder,
        grants: grants.collect::<Result<_, _>>()?,
        from: from.collect::<Result<_, _>>()?,
        expires: Some(Moment(Expiry::from(ends))),
        note: Some(read(Note::parse(&key.note))?),
        suspended: Some(key.suspended.is_some()),
        replaced,
    })
}

/// What the registry itself wrote can be read; if not, it is a fault of ours.
fn read<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, Stop> {
    use crate::admin::fault::{Fault, Kind};
    result
        .map_err(|error| Fault::new(Kind::Internal, format!("the registry's own words cannot be read: {error}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtqJ7zOtqQtYqOo0CpvDXNlMV3HeJDpjrASKGLWdopa";

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, says) in [
            ("accounts = ['acme']\n\n[[key]]\nname = 'acme/../x'", "line 4: "),
            ("[[key]]\nname = 'acme/ci'\nkey = 'ssh-ed25519 AAAA'", "line 3: "),
            ("accounts = ['acme']\nrepos = []", "line 2: "),
            ("public = ['acme/app', '../etc']", "line 1: "),
            ("[[key]]\nexpires = '90d'", "line 2: expires is "),
        ] {
            let why = rewritten(text).unwrap_err();
            assert!(why.starts_with(says), "{text}: {why}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_as_the_same(
            lines in prop::collection::vec(prop_oneof![
                Just("accounts = ['acme', 'b']".to_owned()), Just("public = ['acme/app', '/b/c.git']".to_owned()),
                Just("[[group]]\naccount = 'acme'\nname = 'all'\nrepositories = ['acme/app']".to_owned()),
                Just(format!("[[key]]\nname = 'acme/ci'\nkey = '{KEY}'")),
                "grants = \\['acme/[a-z*@/]{1,6}'\\]", "from = \\['[0-9.]{1,9}(/[0-9]{1,2})?'\\]", "note = '[^']{0,9}'",
                "expires = '(never|20[0-9]{2}-[01][0-9]-[0-3][0-9](T00:00:00Z)?)'", "\\PC{0,30}",
            ], 0..9),
        ) {
            if let Ok(once) = rewritten(&lines.join("\n")) {
                prop_assert_eq!(rewritten(&once), Ok(once));
            }
        }
    }
}
