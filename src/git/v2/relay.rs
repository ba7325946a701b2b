//! From what is kept, or is just being made, to one client.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::produce::produce;
use super::request::Question;
use super::{broken_off, send};
use crate::audit::{Ended, Source};
use crate::cache::{Found, Key, Reader};
use crate::gate::Fetch;
use crate::git::child::Child;
use crate::git::clocks::Clocks;
use crate::git::inbound::Inbound;
use crate::git::{Git, Outbound};
use crate::store::stamps::{SLACK, Stamps, Unwatchable};

/// How often a question is put to a git for all, before the connection's own git has to answer.
const TRIES: usize = 2;
/// How long nothing is sent while no pack has begun: as long, another git can still be tried. git's own sign of life while
/// it works comes every five seconds, and goes on to the client from then on.
const HOLD: Duration = Duration::from_secs(5);
/// The start of a pack (gitformat-pack).
const PACK: &[u8] = b"PACK";

/// What came of a question.
pub(super) enum Relayed {
    /// It was answered with this many bytes.
    Whole(u64, Source),
    /// It was not, and nothing was sent; a stable word why.
    Not(&'static str),
    /// The answer broke off after this many bytes.
    Broken(u64, Ended),
}

/// Answers a question from the cache, making the answer if it is missing.
pub(super) async fn answer(
    git: &Git,
    fetch: &Fetch,
    question: &Question,
    clocks: &mut Clocks,
    inbound: &Inbound,
    outbound: &mut impl Outbound,
) -> Relayed {
    let key = match key_of(git, fetch, question).await {
        Ok(key) => key,
        Err(Unwatchable(why)) => return Relayed::Not(why),
    };
    for _ in 0..TRIES {
        let (reader, source) = match git.cache.get(key) {
            Found::Kept(reader) => (reader, Source::Hit),
            Found::Growing(reader) => (reader, Source::Joined),
            Found::Bypass(why) => return Relayed::Not(why),
            Found::Missing(writer, reader) => match Child::start_request(git, fetch) {
                Ok(child) => {
                    let end = Instant::now() + git.settings.total;
                    // On its own feet: it goes on when the client that began it leaves and others wait.
                    drop(tokio::spawn(produce(child, question.bytes.clone(), writer, end)));
                    (reader, Source::Miss)
                }
                Err(error) => {
                    tracing::error!(%error, "git cannot be started");
                    return Relayed::Not("no-git");
                }
            },
        };
        match relay(reader, clocks, inbound, outbound).await {
            Outcome::Whole(bytes) => return Relayed::Whole(bytes, source),
            Outcome::Again => {}
            Outcome::Broken(bytes, ended) => return Relayed::Broken(bytes, ended),
        }
    }
    Relayed::Not("producer-failed")
}

/// What an answer depends on, and nothing of who asks.
async fn key_of(git: &Git, fetch: &Fetch, question: &Question) -> Result<Key, Unwatchable> {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    let stamps = settled(fetch, question.needs_refs).await?;
    add(b"answer of version 2 to a fetch");
    add(git.program.version().as_bytes());
    add(&stamps.repository);
    add(&question.bytes);
    if question.needs_refs {
        add(&stamps.refs);
    }
    Ok(Key::new(hash.finalize().into()))
}

/// A look at the repository. Where the refs count, refs that changed just now are looked at again, a tick later.
async fn settled(fetch: &Fetch, needs_refs: bool) -> Result<Stamps, Unwatchable> {
    for last in [false, true] {
        // Before the look: what changes during it is then too young.
        let now = SystemTime::now();
        let stamps = fetch.repo().stamps()?;
        if !needs_refs || stamps.is_settled(now) {
            return Ok(stamps);
        }
        if !last {
            tokio::time::sleep(2 * SLACK).await;
        }
    }
    Err(Unwatchable("refs-just-changed"))
}

enum Outcome {
    Whole(u64),
    /// Nothing was sent, and nothing more comes.
    Again,
    Broken(u64, Ended),
}

async fn relay(mut reader: Reader, clocks: &mut Clocks, inbound: &Inbound, outbound: &mut impl Outbound) -> Outcome {
    let mut sent = 0;
    let mut held = Some(BytesMut::new());
    let hold_until = Instant::now() + HOLD;
    loop {
        let mut ready = Bytes::new();
        let mut whole = false;
        tokio::select! {
            piece = reader.next() => match piece {
                Ok(Some(bytes)) => {
                    clocks.moved();
                    match &mut held {
                        Some(before) => before.extend_from_slice(&bytes),
                        None => ready = bytes,
                    }
                }
                Ok(None) => whole = true,
                Err(crate::cache::Lost) if held.is_some() => return Outcome::Again,
                Err(crate::cache::Lost) => {
                    return match send(broken_off(), clocks, outbound).await {
                        Ok(bytes) => Outcome::Broken(sent + bytes, Ended::Failed),
                        Err(ended) => Outcome::Broken(sent, ended),
                    };
                }
            },
            () = tokio::time::sleep_until(hold_until), if held.as_ref().is_some_and(|held| !held.is_empty()) => {
                ready = held.take().unwrap_or_default().freeze();
            }
            () = tokio::time::sleep_until(clocks.deadline()) => return Outcome::Broken(sent, Ended::TimedOut),
            () = outbound.gone() => return Outcome::Broken(sent, Ended::ClientGone),
        }
        if inbound.flooded() {
            return Outcome::Broken(sent, Ended::Flooded);
        }
        if held.as_ref().is_some_and(|held| whole || memchr::memmem::find(held, PACK).is_some()) {
            ready = held.take().unwrap_or_default().freeze();
        }
        if !ready.is_empty() {
            match send(ready, clocks, outbound).await {
                Ok(bytes) => sent += bytes,
                Err(ended) => return Outcome::Broken(sent, ended),
            }
        }
        if whole {
            return Outcome::Whole(sent);
        }
    }
}
