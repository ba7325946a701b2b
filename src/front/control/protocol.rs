//! What goes over the control socket: frames of at most [`MAX_FRAME`] bytes, each a length (u32, big endian) and JSON.
//!
//! Every frame says which version of the protocol it speaks. Requests carry text as a person typed it; the service parses.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::admin::cache::CacheView;
use crate::admin::explain::Explained;
use crate::admin::fault::{Fault, Kind};
use crate::admin::group::GroupView;
use crate::admin::repo::RepoView;
use crate::admin::view::{AccountView, KeyView, Page};
use crate::admin::{Done, Faults};
use crate::registry::change::Change;
use crate::registry::record::Holder;

/// The version of the protocol. It changes when a request or an answer changes its meaning.
pub const VERSION: u32 = 1;
/// The largest frame, without its length, in bytes. Nobody but an operator makes the daemon take so much: the kernel says who
/// a peer is before a byte of it is read. A large [`Request::Apply`] comes in several.
pub const MAX_FRAME: usize = 4 * 1024 * 1024;
/// How many bytes of changes go into one frame, about.
pub const PART: usize = 1024 * 1024;
/// The bytes of a frame's length.
pub const HEADER: usize = 4;

/// A deploy key to register, as it was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAdd {
    /// The account.
    pub account: String,
    /// The label in it.
    pub label: String,
    /// The text of a public key file.
    pub key: String,
    /// What it may fetch.
    #[serde(default)]
    pub grants: Vec<String>,
    /// Until when it is good.
    #[serde(default)]
    pub expires: Option<String>,
    /// The networks it may come from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// A remark.
    #[serde(default)]
    pub note: Option<String>,
}

/// Which keys are asked for, as it was typed. What is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyFilter {
    /// Keys of machines or of people.
    pub holder: Option<Holder>,
    /// Not used for so long.
    pub unused: Option<String>,
    /// Ending within this time.
    pub expiring: Option<String>,
    /// Over already.
    pub expired: bool,
    /// Suspended.
    pub suspended: bool,
    /// Able to fetch this repository by their grants.
    pub grants: Option<String>,
}

/// What can be asked for. A `key` is `account/label` or a fingerprint; `after` continues a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each is a verb of the command, with its operands")]
pub enum Request {
    AccountAdd {
        account: String,
    },
    AccountList {
        after: Option<String>,
    },
    AccountRemove {
        account: String,
        with_keys: bool,
    },
    KeyAdd(KeyAdd),
    AccountKeyAdd(KeyAdd),
    KeyList {
        account: Option<String>,
        after: Option<String>,
        #[serde(default)]
        filter: KeyFilter,
    },
    KeyShow {
        key: String,
    },
    KeyRename {
        key: String,
        label: String,
    },
    KeyNote {
        key: String,
        note: String,
    },
    KeyGrant {
        key: String,
        grants: Vec<String>,
    },
    KeyUngrant {
        key: String,
        grants: Vec<String>,
    },
    KeyExpire {
        key: String,
        expires: String,
    },
    KeySuspend {
        key: String,
        reason: Option<String>,
    },
    KeyResume {
        key: String,
    },
    KeySources {
        key: String,
        sources: Vec<String>,
    },
    KeyRotate {
        old: String,
        key: String,
        label: Option<String>,
        overlap: Option<String>,
        expires: Option<String>,
    },
    KeyRemove {
        key: String,
    },
    AccountKeyRemove {
        key: String,
    },
    GroupList {
        account: Option<String>,
        after: Option<String>,
    },
    GroupAdd {
        group: String,
        repos: Vec<String>,
    },
    GroupDrop {
        group: String,
        repos: Vec<String>,
    },
    GroupRemove {
        group: String,
        with_grants: bool,
    },
    /// Changes to be committed together, which the command made out of a file, or to be checked with `dry_run`. With `more`, the
    /// next frame has others of them, and nothing is done before the last one.
    Apply {
        changes: Vec<Change>,
        #[serde(default)]
        more: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    PublicList {
        after: Option<String>,
    },
    CacheShow {},
    CacheClear {},
    /// Answered when another process serves, or is known not to.
    Upgrade {},
    Explain {
        key: String,
        repo: String,
        from: Option<String>,
    },
    WhereIs {
        fingerprint: Option<String>,
        key: Option<String>,
    },
    RepoList {
        account: Option<String>,
        after: Option<String>,
    },
    RepoShow {
        repo: String,
    },
    RepoPublish {
        repo: String,
    },
    RepoUnpublish {
        repo: String,
    },
    RepoRemove {
        repo: String,
        with_grants: bool,
    },
}

/// What comes back when it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// A change.
    Done(Done),
    /// A page of accounts.
    Accounts(Page<AccountView>),
    /// A page of keys.
    Keys(Page<KeyView>),
    /// One key.
    Key(Box<KeyView>),
    /// A page of repositories.
    Repos(Page<RepoView>),
    /// One repository.
    Repo(RepoView),
    /// A page of groups.
    Groups(Page<GroupView>),
    /// A page of names of public repositories.
    Public(Page<String>),
    /// Why a key may or may not fetch a repository.
    Explained(Box<Explained>),
    /// What is kept of answers.
    Cache(Box<CacheView>),
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It was done.
    Answer(Answer),
    /// It was not; nothing was changed.
    Faults(Faults),
}

impl From<Result<Answer, Faults>> for Response {
    fn from(result: Result<Answer, Faults>) -> Self {
        match result {
            Ok(answer) => Self::Answer(answer),
            Err(faults) => Self::Faults(faults),
        }
    }
}

/// Why bytes are no frame, or a value makes none.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// More than [`MAX_FRAME`] bytes.
    #[error("a frame of {0} bytes is longer than the {MAX_FRAME} that are allowed")]
    TooLong(usize),
    /// Not JSON, or not of the shape that this version has.
    #[error("the frame is not understood: {0}")]
    Malformed(#[source] serde_json::Error),
    /// Another version of the protocol.
    #[error("the frame speaks version {0} of the control protocol, and this is version {VERSION}")]
    Version(u32),
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        let fact = error.to_string();
        match error {
            FrameError::TooLong(_) => Self::new(Kind::Invalid, fact).hint("ask for less at once"),
            FrameError::Malformed(_) | FrameError::Version(_) => Self::new(Kind::Invalid, fact)
                .hint("use the `pullgate` command of the same release as the daemon (`pullgate --version`)"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    v: u32,
    body: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

/// The whole frame of a request or a response: length and JSON.
///
/// # Errors
/// [`FrameError::TooLong`]
pub fn encode<T: Serialize>(body: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; HEADER];
    serde_json::to_writer(&mut frame, &Envelope { v: VERSION, body }).map_err(FrameError::Malformed)?;
    let length = frame.len() - HEADER;
    let bytes = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or(FrameError::TooLong(length))?;
    for (place, byte) in frame.iter_mut().zip(bytes.to_be_bytes()) {
        *place = byte;
    }
    Ok(frame)
}

/// The length that a frame's first bytes announce.
///
/// # Errors
/// [`FrameError::TooLong`], so that nobody reserves memory for it.
pub fn length(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if length > MAX_FRAME { Err(FrameError::TooLong(length)) } else { Ok(length) }
}

/// Reads what is in a frame, behind its length. The version is looked at first: what another version says is not guessed at.
///
/// # Errors
/// [`FrameError::Version`], [`FrameError::Malformed`]
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    let VersionOnly { v } = serde_json::from_slice(json).map_err(FrameError::Malformed)?;
    if v != VERSION {
        return Err(FrameError::Version(v));
    }
    let envelope: Envelope<T> = serde_json::from_slice(json).map_err(FrameError::Malformed)?;
    Ok(envelope.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken_apart(frame: &[u8]) -> &[u8] {
        let header = frame[..HEADER].try_into().unwrap();
        assert_eq!(length(header).unwrap(), frame.len() - HEADER);
        &frame[HEADER..]
    }

    #[test]
    fn the_wire_form_is_fixed() {
        let request = Request::KeyGrant { key: "acme/ci".to_owned(), grants: vec!["acme/*".to_owned()] };
        let frame = encode(&request).unwrap();
        let json = r#"{"v":1,"body":{"verb":"key-grant","key":"acme/ci","grants":["acme/*"]}}"#;
        assert_eq!(frame[..HEADER], [0, 0, 0, u8::try_from(json.len()).unwrap()]);
        assert_eq!(std::str::from_utf8(taken_apart(&frame)).unwrap(), json);
    }

    #[test]
    fn another_version_is_named_whatever_else_it_says() {
        for json in [r#"{"v":2,"body":{"verb":"fly"}}"#, r#"{"v":2,"new":true}"#] {
            assert!(matches!(decode::<Request>(json.as_bytes()), Err(FrameError::Version(2))), "{json}");
        }
    }

    #[test]
    fn a_field_that_is_not_known_is_refused() {
        for json in [
            r#"{"v":1,"body":{"verb":"key-remove","key":"acme/ci","force":true}}"#,
            r#"{"v":1,"body":{"verb":"key-add","account":"a","label":"b","key":"c","write":true}}"#,
            r#"{"v":1,"body":{"verb":"sudo"}}"#,
            r#"{"v":1}"#,
            "[]",
            "",
        ] {
            assert!(matches!(decode::<Request>(json.as_bytes()), Err(FrameError::Malformed(_))), "{json}");
        }
    }

    #[test]
    fn what_is_too_long_is_neither_announced_nor_made() {
        assert!(matches!(length([0xff; HEADER]), Err(FrameError::TooLong(_))));
        assert_eq!(length([0, 0x40, 0, 0]).unwrap(), MAX_FRAME);
        assert!(matches!(length([0, 0x40, 0, 1]), Err(FrameError::TooLong(_))));
        let request = Request::KeyNote { key: "a/b".to_owned(), note: "x".repeat(MAX_FRAME) };
        assert!(matches!(encode(&request), Err(FrameError::TooLong(_))));
    }

    prop_compose! {
        fn key_add()(
            account in ".*", label in ".*", key in ".*", grants in proptest::collection::vec(".*", 0..4),
            expires in proptest::option::of(".*"), sources in proptest::collection::vec(".*", 0..3),
            note in proptest::option::of(".*"),
        ) -> KeyAdd {
            KeyAdd { account, label, key, grants, expires, sources, note }
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_the_wire(add in key_add(), name in ".*") {
            for request in [
                Request::KeyAdd(add),
                Request::AccountRemove { account: name.clone(), with_keys: true },
                Request::KeyList { account: Some(name.clone()), after: None, filter: KeyFilter::default() },
                Request::WhereIs { fingerprint: None, key: Some(name) },
            ] {
                let frame = encode(&request).unwrap();
                prop_assert_eq!(decode::<Request>(taken_apart(&frame)).unwrap(), request);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), header in any::<[u8; HEADER]>()) {
            drop((decode::<Request>(&bytes), decode::<Response>(&bytes)));
            if let Ok(length) = length(header) {
                prop_assert!(length <= MAX_FRAME);
            }
        }
    }
}
