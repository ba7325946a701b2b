//! Protocol versions 0 and 1, in which the server speaks first. What it says is the same for everybody until a ref changes,
//! so a client that only wants to know has no git of its own; and one that clones asks what clients of version 2 ask, so it
//! gets their answer. A git is started for the client that asks for something else.

pub mod ask;
pub mod reframe;
mod shared;
pub(super) mod told;

use bytes::{Bytes, BytesMut};

use super::clocks::Clocks;
use super::inbound::Inbound;
use super::polls;
use super::pump::{self, Begun, Served, send_all};
use super::turn::{self, NoSlot};
use super::v2::relay::{self, Relayed};
use super::v2::request::Question;
use super::{Git, Outbound};
use crate::audit::{Ended, Source};
use crate::gate::{Fetch, Unserved};
use ask::{Asked, Ripe};
use shared::{Shared, Stopped};
use told::Told;

/// One connection's talk, up to where it goes on with a git of its own.
struct Talk<'a, O> {
    git: &'a Git,
    fetch: &'a Fetch,
    inbound: Inbound,
    outbound: &'a mut O,
    clocks: Clocks,
    /// The advertisement.
    said: Bytes,
    /// What the client has said, and not yet been answered.
    words: Bytes,
    /// The shallow commits that the client was told, if it was.
    shallow: Bytes,
    bytes_in: u64,
    bytes_out: u64,
}

/// How a talk goes on, or ended.
enum Next {
    Over(Ended, Unserved, Option<Source>),
    /// With a git of its own, for this reason.
    Own(&'static str),
}

/// Serves until git ends, the client leaves, or a clock runs out.
pub(super) async fn serve<O: Outbound>(git: &Git, fetch: &Fetch, inbound: Inbound, outbound: &mut O) -> Served {
    let (said, source) = match polls::advertisement(git, fetch).await {
        Ok(kept) => kept,
        Err(why) => {
            let source = Some(Source::Bypass(why.to_owned()));
            return Served { source, ..pump::own(git, fetch, Begun::default(), inbound, outbound).await };
        }
    };
    let mut clocks = Clocks::start(&git.settings, &git.meter);
    let (bytes_out, sent) = send_all(said.clone(), &mut clocks, outbound).await;
    let (words, shallow) = (Bytes::new(), Bytes::new());
    let mut talk = Talk { git, fetch, inbound, outbound, clocks, said, words, shallow, bytes_in: 0, bytes_out };
    let asked = match sent {
        Ok(()) => talk.listen().await,
        Err(ended) => Err(ended),
    };
    let (bytes_in, bytes_out) = (talk.bytes_in, talk.bytes_out);
    let poll = |status, ended| {
        let not = Served::not(ended, Unserved::Repository, bytes_in, bytes_out);
        Served { status, source: Some(source.clone()), ..not }
    };
    let next = match asked {
        Err(ended) => return poll(128, ended),
        // It has seen what it wanted to see.
        Ok(None) if talk.words == b"0000".as_slice() => return poll(0, Ended::Served),
        // Nobody is there to see how it ends; git calls it a hang-up.
        Ok(None) => return poll(128, Ended::ClientGone),
        Ok(Some(Asked::Whole(question, deepens))) => talk.share(&question, deepens).await,
        Ok(Some(Asked::Own(why))) => Next::Own(why),
        Ok(Some(Asked::More)) => Next::Own("argument"),
    };
    match next {
        Next::Own(why) => Served { source: Some(Source::Bypass(why.to_owned())), ..talk.own().await },
        Next::Over(ended, why, source) => {
            let status = if ended == Ended::Served { 0 } else { 128 };
            let not = Served::not(ended, why, talk.bytes_in, talk.bytes_out);
            Served { status, source, pack: true, ..not }
        }
    }
}

impl<O: Outbound> Talk<'_, O> {
    /// Listens until it is clear what the client wants; `None` when it wants nothing.
    async fn listen(&mut self) -> Result<Option<Asked>, Ended> {
        let (mut words, mut ripe) = (BytesMut::new(), Ripe::default());
        loop {
            let piece = tokio::select! {
                piece = self.inbound.next() => piece,
                () = tokio::time::sleep_until(self.clocks.deadline()) => return Err(self.clocks.ran_out()),
                () = self.outbound.gone() => return Err(Ended::ClientGone),
            };
            let ended = piece.is_none();
            let piece = piece.unwrap_or_default();
            self.clocks.moved();
            self.bytes_in += piece.len() as u64;
            words.extend_from_slice(&piece);
            let asked = if ended || ripe.is_ripe(&words) { ask::asked(&words, &self.said) } else { Asked::More };
            let nothing = words.is_empty() || words == b"0000".as_slice();
            if ended || nothing || asked != Asked::More {
                self.words = words.freeze();
                return Ok((!nothing).then_some(asked));
            }
        }
    }

    /// Answers with what is kept or made for all.
    async fn share(&mut self, question: &Question, deepens: bool) -> Next {
        let Self { git, fetch, inbound, outbound, clocks, words, .. } = self;
        let quiet = turn::is_quiet(words);
        let mut shared = Shared::new(fetch, *outbound, inbound, deepens);
        let relayed = relay::answer(git, fetch, question, quiet, clocks, &mut shared).await;
        let Shared { shallow, more_words, bytes_in, bytes_out, stopped, .. } = shared;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        match (relayed, stopped) {
            (Relayed::Whole(_, source), _) => Next::Over(Ended::Served, Unserved::Repository, Some(source)),
            (Relayed::Not(why), _) => Next::Own(why),
            (Relayed::Unserved(why), _) => Next::Over(Ended::Failed, why, None),
            (Relayed::Broken(..), Some(Stopped::Negotiates)) => {
                self.shallow = shallow;
                self.words = [words.as_ref(), &more_words].concat().into();
                Next::Own("negotiation")
            }
            (Relayed::Broken(..), Some(Stopped::Withdrawn(withdrawn))) => {
                Next::Over(Ended::Failed, Unserved::Withdrawn(withdrawn), None)
            }
            (Relayed::Broken(..), Some(Stopped::NotAnAnswer)) => {
                tracing::warn!("what git answered to a clone is no answer to it");
                Next::Over(Ended::Failed, Unserved::Repository, None)
            }
            (Relayed::Broken(_, ended), None) => Next::Over(ended, Unserved::Repository, None),
        }
    }

    /// Goes on with a git of its own.
    async fn own(mut self) -> Served {
        let Self { git, fetch, outbound, clocks, words, bytes_in, bytes_out, .. } = &mut self;
        let slot = match turn::wait(git, fetch, turn::is_quiet(words), clocks, *outbound).await {
            Ok(slot) => slot,
            Err(NoSlot::Ended(ended)) => return Served::not(ended, Unserved::Repository, *bytes_in, *bytes_out),
            Err(NoSlot::Not(why)) => return Served::not(Ended::Failed, why, *bytes_in, *bytes_out),
        };
        let told = Some(Told::new(self.said).and_then(self.shallow));
        let (bytes_in, bytes_out) = (self.bytes_in, self.bytes_out);
        let begun = Begun { bytes_in, bytes_out, pending: self.words, told, slot: Some(slot) };
        pump::own(self.git, self.fetch, begun, self.inbound, self.outbound).await
    }
}
