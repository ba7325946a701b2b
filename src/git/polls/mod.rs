//! What git says before anybody fetches: its capabilities, and the refs. Polls ask for nothing else, and nine in ten fetches
//! are polls; so it is asked of git once, kept, and said again for as long as the repository looks the same.
//!
//! Nothing is computed here but which of git's lines a question asks for.

pub mod ask;
pub mod list;
mod produce;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Git;
use crate::audit::Source;
use crate::cache::{By, Key, Why};
use crate::gate::Fetch;
use crate::model::protocol::GitProtocol;
use crate::store::look;
use crate::store::stamps::{SLACK, Stamps, Unwatchable};
use list::RefList;
use produce::Kind;

/// What git said about a repository, whole.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// The capabilities of version 2, with the format of the repository's object names.
    Capabilities(Arc<Capabilities>),
    /// All refs, as version 2 lists them.
    Refs(Arc<RefList>),
    /// The advertisement of version 0 or 1.
    Advertisement(Bytes),
    /// Something that must not be said again; a stable word why.
    Once(Why),
}

/// The capabilities of version 2.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// As git sent them, flush included.
    pub(super) bytes: Bytes,
    /// `sha1` or `sha256`.
    pub(super) format: String,
}

/// How often what changed while git looked at it is looked at again.
const TRIES: usize = 3;

/// The capabilities of version 2.
///
/// # Errors
/// A stable word why they have to come from the connection's own git.
pub(super) async fn capabilities(git: &Git, fetch: &Fetch) -> Result<Arc<Capabilities>, Why> {
    if !git.polls.is_on() {
        return Err("off");
    }
    let settings = look(|| fetch.repo().settings_stamp()).await?;
    let key = key_of(git, Kind::Capabilities, fetch, &settings, &[]);
    let make = async {
        let said = produce::produce(git, fetch, Kind::Capabilities, None).await?;
        // They depend on nothing else, and a configuration that is changed while git reads it is changed back by nobody.
        if look(|| fetch.repo().settings_stamp()).await? == settings { Ok(said) } else { Err("changing") }
    };
    match git.polls.get(key, make).await?.0 {
        Said::Capabilities(capabilities) => Ok(capabilities),
        Said::Once(why) => Err(why),
        Said::Refs(_) | Said::Advertisement(_) => Err("confused"),
    }
}

/// All refs, for a question of version 2.
///
/// # Errors
/// A stable word why they have to come from the connection's own git.
pub(super) async fn refs(git: &Git, fetch: &Fetch, known: &Capabilities) -> Result<(Arc<RefList>, Source), Why> {
    match of_refs(git, fetch, Kind::Refs, Some(known)).await? {
        (Said::Refs(list), source) => Ok((list, source)),
        (Said::Once(why), _) => Err(why),
        (Said::Capabilities(_) | Said::Advertisement(_), _) => Err("confused"),
    }
}

/// The advertisement of version 0 or 1.
///
/// # Errors
/// A stable word why it has to come from the connection's own git.
pub(super) async fn advertisement(git: &Git, fetch: &Fetch) -> Result<(Bytes, Source), Why> {
    match of_refs(git, fetch, Kind::Advertisement, None).await? {
        (Said::Advertisement(bytes), source) => Ok((bytes, source)),
        (Said::Once(why), _) => Err(why),
        (Said::Capabilities(_) | Said::Refs(_), _) => Err("confused"),
    }
}

async fn of_refs(git: &Git, fetch: &Fetch, kind: Kind, known: Option<&Capabilities>) -> Result<(Said, Source), Why> {
    if !git.polls.is_on() {
        return Err("off");
    }
    let mut fault = "refs-changing";
    for _ in 0..TRIES {
        let before = settled(fetch, true).await?;
        let key = key_of(git, kind, fetch, &before.settings, &before.refs);
        let make = async {
            let said = produce::produce(git, fetch, kind, known).await?;
            // What git read is what was looked at only if that is still so.
            let after = look(|| fetch.repo().stamps()).await?;
            if (after.settings, after.refs) == (before.settings, before.refs) { Ok(said) } else { Err("refs-changing") }
        };
        match git.polls.get(key, make).await {
            Ok((said, by)) => {
                let source = match by {
                    By::Kept => Source::Hit,
                    By::Joined => Source::Joined,
                    By::Made => Source::Miss,
                };
                return Ok((said, source));
            }
            Err("refs-changing") => {}
            Err(why) => {
                fault = why;
                break;
            }
        }
    }
    Err(fault)
}

/// A look at the repository. Where the refs count, refs that changed just now are looked at again, a tick later.
pub(super) async fn settled(fetch: &Fetch, needs_refs: bool) -> Result<Stamps, Why> {
    for last in [false, true] {
        // Before the look: what changes during it is then too young.
        let now = SystemTime::now();
        let stamps = look(|| fetch.repo().stamps()).await?;
        if !needs_refs || stamps.is_settled(now) {
            return Ok(stamps);
        }
        if !last {
            tokio::time::sleep(2 * SLACK).await;
        }
    }
    Err("refs-just-changed")
}

/// Looks; it may be a file system that hangs.
async fn look<T>(at: impl FnOnce() -> Result<T, Unwatchable>) -> Result<T, Why> {
    look::look(at).await.map_err(|Unwatchable(why)| why)
}

/// What an answer depends on, and nothing of who asks.
fn key_of(git: &Git, kind: Kind, fetch: &Fetch, settings: &[u8], refs: &[u8]) -> Key {
    let protocol = match fetch.protocol() {
        GitProtocol::V0 => b"0",
        GitProtocol::V1 => b"1",
        GitProtocol::V2 => b"2",
    };
    let mut hash = Sha256::new();
    for part in [kind.word(), protocol, git.program.version().as_bytes(), settings, refs] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    Key::new(hash.finalize().into())
}
