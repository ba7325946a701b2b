//! Protocol version 2, in which every request is a whole question: equal questions of many clients are answered by one git,
//! and the answer is kept for those who come later. What is no such question goes to a git of the connection's own,
//! unchanged; a client that asks nothing else has none.
//!
//! Nothing here knows who asks. It is reached with a [`Fetch`] in hand, which is the permission for this repository.

pub mod frames;
mod own;
mod produce;
pub(super) mod relay;
pub mod request;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::clocks::Clocks;
use super::inbound::Inbound;
use super::polls::ask::Ask;
use super::polls::{self, Capabilities};
use super::pump::{Exit, Served, is_bounded, refusal_in, send_all};
use super::slots::Slot;
use super::turn::{self, NoSlot};
use super::{Git, Outbound, cannot_start};
use crate::audit::{Ended, Source};
use crate::gate::{Fetch, Unserved};
use frames::{Piece, Splitter};
use own::{Moved, Own};
use relay::Relayed;
use request::{Plan, Question};

/// A client's farewell.
const FLUSH: &[u8] = b"0000";

/// What is to be done next.
enum Turn {
    /// A fetch that may be answered without the connection's git, and how it was asked.
    Fetch(Question, Bytes),
    /// A question about refs, likewise.
    Refs(Ask, Bytes),
    /// For the connection's git, with the number of requests that end in it.
    Own(Bytes, u64, Weight),
}

/// What a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// No slot is taken for it.
    Light,
    /// It may end in a pack.
    Heavy,
}

/// One connection's talk.
struct Talk<'a, O> {
    git: &'a Git,
    fetch: &'a Fetch,
    inbound: Inbound,
    outbound: &'a mut O,
    clocks: Clocks,
    splitter: Splitter,
    known: Option<Arc<Capabilities>>,
    /// What was said to the client first, as each git says it.
    told: BytesMut,
    own: Option<Own>,
    /// While its own git works on what may become a pack.
    slot: Option<Slot>,
    /// What its own git has otherwise.
    room: Option<Slot>,
    bytes_in: u64,
    bytes_out: u64,
    source: Option<Source>,
    why: Unserved,
    /// What git said in an error line, which the client has not seen.
    error: Option<String>,
    /// A pack was asked for, and not only the refs.
    pack: bool,
    /// Within bounds in which there may be nothing.
    bounded: bool,
    client_ended: bool,
}

/// Serves until git ends, the client leaves, or a clock runs out.
pub(super) async fn serve<O: Outbound>(git: &Git, fetch: &Fetch, inbound: Inbound, outbound: &mut O) -> Served {
    let mut talk = Talk {
        git,
        fetch,
        inbound,
        outbound,
        clocks: Clocks::start(&git.settings, &git.meter),
        splitter: Splitter::default(),
        known: None,
        told: BytesMut::new(),
        own: None,
        slot: None,
        room: None,
        bytes_in: 0,
        bytes_out: 0,
        source: None,
        why: Unserved::Repository,
        error: None,
        pack: false,
        bounded: false,
        client_ended: false,
    };
    let ended = match talk.all().await {
        Ok(()) => Ended::Served,
        Err(ended) => ended,
    };
    let (status, ended) = match (ended, talk.own.take()) {
        (Ended::Served, None) => (0, ended),
        (Ended::Served, Some(own)) => match own.exit().await {
            // git complains of a client that leaves in the middle; the fault is not its own.
            Exit { status, ended: Ended::Failed, .. } if talk.client_ended && talk.bytes_out > 0 => {
                (status, Ended::ClientGone)
            }
            exit => {
                talk.why = exit.why;
                (exit.status, exit.ended)
            }
        },
        (Ended::Failed | Ended::ClientGone | Ended::TimedOut | Ended::Flooded | Ended::Cut, own) => {
            own.inspect(Own::log);
            (128, ended)
        }
    };
    Served {
        status,
        ended,
        why: talk.why,
        bytes_in: talk.bytes_in,
        bytes_out: talk.bytes_out,
        source: talk.source,
        pack: talk.pack,
        bounded: talk.bounded,
        error: talk.error,
    }
}

impl<O: Outbound> Talk<'_, O> {
    async fn all(&mut self) -> Result<(), Ended> {
        match polls::capabilities(self.git, self.fetch).await {
            Ok(known) => {
                self.say(known.bytes.clone()).await?;
                self.told.extend_from_slice(&known.bytes);
                self.known = Some(known);
            }
            Err(_) => self.start_own().await?,
        }
        let mut turn = None;
        loop {
            if turn.is_none() && self.own.as_ref().is_none_or(Own::took_all) {
                turn = self.next_turn();
            }
            if self.slot.is_some() && self.own.as_ref().is_some_and(Own::is_done) && !self.splitter.is_within() {
                self.rest();
            }
            turn = match turn {
                // A flush alone is the client's farewell.
                Some(Turn::Own(bytes, 0, _)) if self.own.is_none() && bytes == FLUSH => return Ok(()),
                Some(Turn::Own(bytes, requests, weight)) => {
                    // A farewell asks nothing.
                    let asks = bytes != FLUSH;
                    if asks && weight == Weight::Heavy && self.slot.is_none() {
                        self.slot = Some(self.my_turn(&bytes).await?);
                        self.room = None;
                    } else if asks {
                        self.still_permitted()?;
                    }
                    if self.own.is_none() {
                        self.start_own().await?;
                    }
                    if let Some(own) = &mut self.own {
                        own.give(bytes, requests);
                    }
                    None
                }
                // Answers go out in the order of their questions.
                Some(Turn::Fetch(question, asked)) if self.own.as_ref().is_none_or(Own::is_done) => {
                    self.let_go();
                    match self.kept(&question, &asked).await? {
                        None => None,
                        Some(why) => {
                            self.source = Some(Source::Bypass(why.to_owned()));
                            Some(Turn::Own(asked, 1, Weight::Heavy))
                        }
                    }
                }
                Some(Turn::Refs(ask, asked)) if self.own.as_ref().is_none_or(Own::is_done) => {
                    self.still_permitted()?;
                    if self.refs(&ask).await? { None } else { Some(Turn::Own(asked, 1, Weight::Light)) }
                }
                waiting @ (Some(Turn::Fetch(..) | Turn::Refs(..)) | None) => {
                    if waiting.is_none() && self.client_ended && self.own.as_ref().is_none_or(Own::took_all) {
                        match &mut self.own {
                            None => return Ok(()),
                            Some(own) => own.hang_up(),
                        }
                    }
                    if self.wait(waiting.is_none()).await? {
                        return Ok(());
                    }
                    waiting
                }
            };
        }
    }

    /// It was permitted when it began; what it asks may come hours later.
    fn still_permitted(&mut self) -> Result<(), Ended> {
        self.fetch.recheck().map_err(|withdrawn| {
            self.why = Unserved::Withdrawn(withdrawn);
            Ended::Failed
        })
    }

    /// Its git has answered everything: the slot is for somebody else. Without room for a git that waits there is none; nor behind a
    /// pack, which the client may index for minutes before it leaves.
    fn rest(&mut self) {
        let unlike = own::is_unlike_others(&self.told);
        drop(self.slot.take_if(|_| !unlike));
        self.room = if self.clocks.is_negotiating() { turn::room(self.git, self.fetch) } else { None };
        if self.room.is_none() {
            self.let_go();
        }
    }

    /// Ends its git, which has answered everything. A request of version 2 is whole, whoever answered the last one, so another git can
    /// answer the next; but not where each says another thing of itself.
    fn let_go(&mut self) {
        let unlike = own::is_unlike_others(&self.told);
        if let Some(own) = self.own.take_if(|_| !unlike) {
            own.log();
            self.room = None;
        }
    }

    async fn start_own(&mut self) -> Result<(), Ended> {
        if self.slot.is_none() {
            let Self { git, fetch, clocks, outbound, .. } = self;
            let room = turn::wait_for_room(git, fetch, clocks, *outbound).await;
            self.room = Some(self.granted(room)?);
        }
        match Own::start(self.git, self.fetch, self.told.clone().freeze()) {
            Ok(own) => self.own = Some(own),
            Err(error) => {
                self.why = cannot_start(&error);
                return Err(Ended::Failed);
            }
        }
        Ok(())
    }

    /// What the client wants next, if all of it is here.
    fn next_turn(&mut self) -> Option<Turn> {
        let piece = match self.splitter.next_piece() {
            None if self.client_ended => self.splitter.rest(),
            piece => piece,
        };
        let bytes = match piece? {
            Piece::Pass(bytes, requests) => return Some(Turn::Own(bytes, requests, Weight::Heavy)),
            Piece::Request(bytes) => bytes,
        };
        self.bounded = is_bounded(&bytes);
        if self.own.as_ref().is_some_and(Own::is_lost) {
            return Some(Turn::Own(bytes, 1, Weight::Heavy));
        }
        Some(match request::plan(&bytes) {
            Plan::Keep(question) => Turn::Fetch(question, bytes),
            Plan::Nothing => Turn::Own(bytes, 0, Weight::Light),
            Plan::Pass(Some(why)) => {
                self.source = Some(Source::Bypass(why.to_owned()));
                self.pack = true;
                Turn::Own(bytes, 1, Weight::Heavy)
            }
            Plan::Pass(None) => match Ask::parse(&bytes) {
                Some(ask) => Turn::Refs(ask, bytes),
                None if request::is_light(&bytes) => Turn::Own(bytes, 1, Weight::Light),
                // Whatever else it is, it may become a pack.
                None => Turn::Own(bytes, 1, Weight::Heavy),
            },
        })
    }

    /// Waits until something moves; `true` when git has ended.
    async fn wait(&mut self, idle: bool) -> Result<bool, Ended> {
        let listens = self.own.as_ref().is_none_or(|own| own.listens() && own.took_all());
        tokio::select! {
            moved = moved(&mut self.own) => match moved {
                Ok(Moved::Over) => return Ok(true),
                Ok(Moved::Says(bytes)) => {
                    self.error = refusal_in(&bytes, &self.clocks);
                    if self.error.is_some() {
                        return Err(Ended::Failed);
                    }
                    if self.own.as_ref().is_some_and(Own::was_not_asked) {
                        self.told.extend_from_slice(&bytes);
                    }
                    if !bytes.is_empty() {
                        self.say(bytes).await?;
                    }
                }
                Ok(Moved::Busy) => {}
                Err(own::Differs) => {
                    tracing::warn!("git does not say what was kept of it: the repository's configuration changes");
                    return Err(Ended::Failed);
                }
            },
            next = self.inbound.next(), if idle && !self.client_ended && listens => match next {
                Some(piece) => {
                    self.bytes_in += piece.len() as u64;
                    self.splitter.push(&piece);
                    self.clocks.moved();
                }
                None => self.client_ended = true,
            },
            () = tokio::time::sleep_until(self.clocks.deadline()) => return Err(self.clocks.ran_out()),
            () = self.outbound.gone() => return Err(Ended::ClientGone),
        }
        Ok(false)
    }

    /// Answers a fetch from what is kept or made for all; or says why not.
    async fn kept(&mut self, question: &Question, asked: &[u8]) -> Result<Option<&'static str>, Ended> {
        self.pack = true;
        let quiet = turn::is_quiet(asked);
        let Self { git, fetch, clocks, outbound, .. } = self;
        match relay::answer(git, fetch, question, quiet, clocks, *outbound).await {
            Relayed::Whole(bytes, from) => {
                self.bytes_out += bytes;
                self.source = Some(from);
                Ok(None)
            }
            Relayed::Not(why) => Ok(Some(why)),
            Relayed::Unserved(why) => {
                self.why = why;
                Err(Ended::Failed)
            }
            Relayed::Broken(bytes, ended) => {
                self.bytes_out += bytes;
                Err(ended)
            }
        }
    }

    /// Answers a question about refs; `false` when git has to.
    async fn refs(&mut self, ask: &Ask) -> Result<bool, Ended> {
        let Some(known) = self.known.clone() else { return Ok(false) };
        // Without one a client speaks SHA-1; where that is wrong, git says so.
        if ask.format.as_deref().unwrap_or("sha1") != known.format {
            return Ok(false);
        }
        let (list, source) = match polls::refs(self.git, self.fetch, &known).await {
            Ok(found) => found,
            Err(why) => {
                self.source = Some(Source::Bypass(why.to_owned()));
                return Ok(false);
            }
        };
        // Of several answers the one that cost the most is told.
        if matches!(self.source, None | Some(Source::Hit)) {
            self.source = Some(source);
        }
        for piece in list.answer(ask) {
            self.say(piece).await?;
        }
        Ok(true)
    }

    /// Waits until its git may work.
    async fn my_turn(&mut self, asked: &[u8]) -> Result<Slot, Ended> {
        let Self { git, fetch, clocks, outbound, .. } = self;
        let slot = turn::wait(git, fetch, turn::is_quiet(asked), clocks, *outbound).await;
        self.granted(slot)
    }

    fn granted(&mut self, slot: Result<Slot, NoSlot>) -> Result<Slot, Ended> {
        slot.map_err(|not| match not {
            NoSlot::Ended(ended) => ended,
            NoSlot::Not(why) => {
                self.why = why;
                Ended::Failed
            }
        })
    }

    async fn say(&mut self, bytes: Bytes) -> Result<(), Ended> {
        let (sent, result) = send_all(bytes, &mut self.clocks, self.outbound).await;
        self.bytes_out += sent;
        result
    }
}

/// Waits for the connection's own git, or for ever when there is none.
async fn moved(own: &mut Option<Own>) -> Result<Moved, own::Differs> {
    match own {
        Some(own) => own.moved().await,
        None => std::future::pending().await,
    }
}
