//! From what is kept, or is just being made, to one client.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::produce::{Work, produce};
use super::request::Question;
use crate::audit::{Ended, Source};
use crate::cache::{Found, Key, Reader, Why};
use crate::gate::{Fetch, Unserved, Withdrawn};
use crate::git::child::Ready;
use crate::git::clocks::Clocks;
use crate::git::meter::Limit;
use crate::git::pkt_line;
use crate::git::polls::settled;
use crate::git::pump::send;
use crate::git::slots::{Label, Lent};
use crate::git::{Git, Outbound, turn};

/// How often a question is put to a git for all, before the connection's own git has to answer.
const TRIES: usize = 2;
/// How long nothing is sent while no pack has begun: as long, another git can still be tried. git's own sign of life while
/// it works comes every five seconds, and goes on to the client from then on.
const HOLD: Duration = Duration::from_secs(5);
/// The start of a pack (gitformat-pack).
const PACK: &[u8] = b"PACK";

/// What came of a question.
pub(in crate::git) enum Relayed {
    /// It was answered with this many bytes.
    Whole(u64, Source),
    /// It was not, and nothing was sent; a stable word why.
    Not(&'static str),
    /// It was not, and nothing was sent, for there was no slot for it, or it is not permitted any more.
    Unserved(Unserved),
    /// The answer broke off after this many bytes.
    Broken(u64, Ended),
}

/// Answers a question from the cache, making the answer if it is missing.
pub(in crate::git) async fn answer(
    git: &Git,
    fetch: &Fetch,
    question: &Question,
    quiet: bool,
    clocks: &mut Clocks,
    outbound: &mut impl Outbound,
) -> Relayed {
    let label = match label_of(git, fetch, question).await {
        Ok(label) => label,
        Err(why) => return Relayed::Not(why),
    };
    let begun = Instant::now();
    for _ in 0..TRIES {
        let (reader, source) = match git.cache.get(Key::new(label)) {
            Found::Kept(reader) => (reader, Source::Hit),
            Found::Growing(reader) => (reader, Source::Joined),
            Found::Bypass(why) => return Relayed::Not(why),
            Found::Missing(writer, reader) => {
                let Ok(place) = turn::ask(git, fetch, Some(label)) else {
                    return Relayed::Unserved(Unserved::Busy);
                };
                let ready = match Ready::for_request(git, fetch) {
                    Ok(ready) => ready,
                    Err(error) => {
                        tracing::error!(%error, "git cannot be started");
                        return Relayed::Not("no-git");
                    }
                };
                let (patience, total) = (git.slots.patience(), git.settings.total);
                let work = Work { ready, place, question: question.bytes.clone(), writer, patience, total };
                // On its own feet: it goes on when the client that began it leaves and others wait.
                drop(tokio::spawn(produce(work).in_current_span()));
                (reader, Source::Miss)
            }
        };
        // Nobody waits for what is there.
        let lent = if source == Source::Hit { None } else { turn::lend(git, fetch, label) };
        let wait = Wait { git, fetch, label, lent, quiet };
        match relay(reader, wait, clocks, outbound).await {
            Outcome::Whole(bytes) => return Relayed::Whole(bytes, source),
            // It waited for its slot, and does not begin again to wait.
            Outcome::Again if begun.elapsed() >= git.slots.patience() => {
                git.meter.met(Limit::Wait);
                return Relayed::Unserved(Unserved::Busy);
            }
            Outcome::Withdrawn(withdrawn) => return Relayed::Unserved(Unserved::Withdrawn(withdrawn)),
            Outcome::Again => {}
            Outcome::Broken(bytes, ended) => return Relayed::Broken(bytes, ended),
        }
    }
    Relayed::Not("producer-failed")
}

/// What an answer depends on, and nothing of who asks.
async fn label_of(git: &Git, fetch: &Fetch, question: &Question) -> Result<Label, Why> {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    let stamps = settled(fetch, question.needs_refs).await?;
    add(b"answer of version 2 to a fetch");
    add(git.program.version().as_bytes());
    add(&stamps.repository);
    // Those that the permission is about: whoever may not have them is given nothing that was made with them, although the
    // repository borrows them by now.
    for other in fetch.repo().borrows() {
        add(other.as_str().as_bytes());
    }
    add(&question.bytes);
    if question.needs_refs {
        add(&stamps.refs);
    }
    Ok(hash.finalize().into())
}

enum Outcome {
    Whole(u64),
    /// Nothing was sent, and nothing more comes.
    Again,
    /// Nothing was sent: when the answer was there, it was not permitted any more.
    Withdrawn(Withdrawn),
    Broken(u64, Ended),
}

/// Where the work for an answer may wait for its slot.
struct Wait<'a> {
    git: &'a Git,
    fetch: &'a Fetch,
    label: Label,
    /// This one's turn, if it waits for its own or for another's.
    lent: Option<Lent>,
    /// The client wants no progress.
    quiet: bool,
}

async fn relay(mut reader: Reader, mut wait: Wait<'_>, clocks: &mut Clocks, outbound: &mut impl Outbound) -> Outcome {
    let mut sent = 0;
    let mut held = Some(BytesMut::new());
    let hold_until = Instant::now() + HOLD;
    let mut news = Instant::now() + turn::FIRST_NEWS;
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
            // Only while nothing has come: then the work may wait for its slot.
            () = tokio::time::sleep_until(news), if held.as_ref().is_some_and(BytesMut::is_empty) => {
                news = Instant::now() + turn::NEWS;
                // Who came before the one that it follows had its place has lent nothing yet.
                let Wait { git, fetch, label, lent, quiet } = &mut wait;
                *lent = lent.take().or_else(|| turn::lend(git, fetch, *label));
                if let Some(ahead) = lent.as_ref().and_then(Lent::ahead) {
                    clocks.moved();
                    if !*quiet && outbound.say(&git.slots.waiting(ahead)).await.is_err() {
                        return Outcome::Broken(sent, Ended::ClientGone);
                    }
                }
            }
            () = tokio::time::sleep_until(clocks.deadline()) => return Outcome::Broken(sent, clocks.ran_out()),
            () = outbound.gone() => return Outcome::Broken(sent, Ended::ClientGone),
        }
        if held.as_ref().is_some_and(|held| whole || memchr::memmem::find(held, PACK).is_some()) {
            ready = held.take().unwrap_or_default().freeze();
        }
        if !ready.is_empty() {
            if sent == 0
                && let Err(withdrawn) = wait.fetch.recheck()
            {
                return Outcome::Withdrawn(withdrawn);
            }
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

/// What a client is told whose pack cannot be completed. The next try may find another git, or one that works.
fn broken_off() -> Bytes {
    pkt_line::broken_off("the pack broke off: git ended early on this gateway; try again")
}
