//! One client of version 0 or 1 on its way to an answer that is shared with everybody.

use bytes::{Bytes, BytesMut};

use super::ask;
use super::reframe::{Part, Reframer};
use crate::gate::{Fetch, Withdrawn};
use crate::git::inbound::Inbound;
use crate::git::{Gone, Outbound};

/// The way to a client that reads an old version, for an answer of version 2.
pub(super) struct Shared<'a, O> {
    fetch: &'a Fetch,
    outbound: &'a mut O,
    inbound: &'a mut Inbound,
    reframer: Reframer,
    /// The shallow commits that it was told.
    pub(super) shallow: Bytes,
    /// What it said after that, and did not need to say for a clone.
    pub(super) more_words: Bytes,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Why no more can be sent although the client is there.
    pub(super) stopped: Option<Stopped>,
}

/// Why an answer is not given to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The client has something already, and says what.
    Negotiates,
    /// What was kept is no answer to a clone.
    NotAnAnswer,
    /// When the client said that it wants the pack, it might not have it any more.
    Withdrawn(Withdrawn),
}

impl<'a, O: Outbound> Shared<'a, O> {
    pub(super) fn new(fetch: &'a Fetch, outbound: &'a mut O, inbound: &'a mut Inbound, deepens: bool) -> Self {
        Self {
            fetch,
            outbound,
            inbound,
            reframer: Reframer::new(deepens),
            shallow: Bytes::new(),
            more_words: Bytes::new(),
            bytes_in: 0,
            bytes_out: 0,
            stopped: None,
        }
    }

    async fn give(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let length = bytes.len() as u64;
        self.outbound.send(bytes).await?;
        self.bytes_out += length;
        Ok(())
    }

    fn stop(&mut self, why: Stopped) -> Result<(), Gone> {
        self.stopped = Some(why);
        Err(Gone)
    }

    /// Waits for its `done`, which it says when it knows how shallow it will be.
    async fn done(&mut self) -> Result<(), Gone> {
        let mut words = BytesMut::new();
        let done = loop {
            if let Some(done) = ask::done(&words) {
                break done;
            }
            let piece = self.inbound.next().await.ok_or(Gone)?;
            self.bytes_in += piece.len() as u64;
            words.extend_from_slice(&piece);
        };
        self.more_words = words.freeze();
        if done { Ok(()) } else { self.stop(Stopped::Negotiates) }
    }
}

impl<O: Outbound> Outbound for Shared<'_, O> {
    async fn send(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let mut part = self.reframer.push(bytes);
        loop {
            match part {
                Some(Part::Pack(bytes)) => self.give(bytes).await?,
                Some(Part::Shallow(bytes)) => {
                    self.shallow = bytes.clone();
                    self.give(bytes).await?;
                    self.done().await?;
                    if let Err(withdrawn) = self.fetch.recheck() {
                        return self.stop(Stopped::Withdrawn(withdrawn));
                    }
                }
                None => {}
            }
            part = match self.reframer.next_part() {
                Ok(None) => return Ok(()),
                Ok(part) => part,
                Err(super::reframe::NotAnAnswer) => return self.stop(Stopped::NotAnAnswer),
            };
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), Gone> {
        self.outbound.say(text).await
    }

    async fn gone(&mut self) {
        self.outbound.gone().await;
    }
}
