//! Protocol versions 0 and 1, in which the server speaks first. What it says is the same for everybody until a ref changes,
//! so a client that only wants to know has no git of its own: one is started for the client that asks for something.

pub(super) mod told;

use bytes::Bytes;

use super::clocks::Clocks;
use super::inbound::Inbound;
use super::polls;
use super::pump::{self, Begun, Served, send_all};
use super::turn::{self, NoSlot};
use super::{Git, Outbound};
use crate::audit::{Ended, Source};
use crate::gate::{Fetch, Unserved};
use told::Told;

/// Serves until git ends, the client leaves, or a clock runs out.
pub(super) async fn serve<O: Outbound>(git: &Git, fetch: &Fetch, mut inbound: Inbound, outbound: &mut O) -> Served {
    let (said, source) = match polls::advertisement(git, fetch).await {
        Ok(kept) => kept,
        Err(why) => {
            let source = Some(Source::Bypass(why.to_owned()));
            return Served { source, ..pump::own(git, fetch, Begun::default(), inbound, outbound).await };
        }
    };
    let mut clocks = Clocks::start(&git.settings);
    let (bytes_out, sent) = send_all(said.clone(), &mut clocks, outbound).await;
    let not = |ended| Served::not(ended, Unserved::Repository, 0, bytes_out);
    if let Err(ended) = sent {
        return Served { source: Some(source), ..not(ended) };
    }
    let words = match first_words(&mut inbound, &clocks, outbound).await {
        Ok(words) => words,
        Err(ended) => return Served { source: Some(source), ..not(ended) },
    };
    let bytes_in = words.len() as u64;
    // It has seen what it wanted to see.
    if words == b"0000".as_slice() {
        return Served { status: 0, source: Some(source), bytes_in, ..not(Ended::Served) };
    }
    // Nobody is there to see how it ends; git calls it a hang-up.
    if words.is_empty() {
        return Served { source: Some(source), ..not(Ended::ClientGone) };
    }
    let source = Some(Source::Bypass("old-protocol".to_owned()));
    let quiet = memchr::memmem::find(&words, b"no-progress").is_some();
    let slot = match turn::wait(git, fetch, quiet, &mut clocks, &inbound, outbound).await {
        Ok(slot) => slot,
        Err(NoSlot::Ended(ended)) => return Served { source, bytes_in, ..not(ended) },
        Err(NoSlot::Busy) => {
            return Served { source, ..Served::not(Ended::Failed, Unserved::Busy, bytes_in, bytes_out) };
        }
    };
    let begun = Begun { bytes_in, bytes_out, pending: words, told: Some(Told::new(said)), slot: Some(slot) };
    Served { source, ..pump::own(git, fetch, begun, inbound, outbound).await }
}

/// What the client says first, a whole pkt-line's head at least; less only when it says no more.
async fn first_words<O: Outbound>(inbound: &mut Inbound, clocks: &Clocks, outbound: &mut O) -> Result<Bytes, Ended> {
    let mut words = bytes::BytesMut::new();
    while words.len() < 4 {
        tokio::select! {
            next = inbound.next() => match next {
                Some(piece) => words.extend_from_slice(&piece),
                None if inbound.flooded() => return Err(Ended::Flooded),
                None => break,
            },
            () = tokio::time::sleep_until(clocks.deadline()) => return Err(Ended::TimedOut),
            () = outbound.gone() => return Err(Ended::ClientGone),
        }
    }
    Ok(words.freeze())
}
