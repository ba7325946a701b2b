//! What is computed for somebody who computes nothing: whose turn it is to have it done.
//!
//! A key exchange in a large group: the library asks for the group, sends it, and computes where it is as soon as it has read the peer's
//! answer; it reads nothing further before it has. And a request to log in with a certificate: it checks what the authority signed, with
//! a key of whatever kind and length the peer likes, before it asks us, who take no certificates.
//!
//! So the line passes on the beginning of a packet, and more only with a turn, which is over with the next read or write: whoever waits
//! for a peer has no turn, however long that takes, and whoever comes before its turn is not read from.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use super::places::{Turn, Turns, What};
use super::proxy;

/// A packet begins with its length, in bytes (RFC 4253 §6). Nothing is computed of that alone; of how little more, the library decides:
/// a number of one byte is an answer as good as any, and padding it does not insist on.
const LENGTH: usize = 4;
/// Requests to log in with the keys that most have, of Ed25519 or over nistp256, are shorter on the wire, also with a long user name
/// (some 250 and 310 bytes with `git`). Certificates that take longer to check than an exchange of keys are not: those of an authority
/// over nistp384 have 370 bytes at least, and those that RSA signs more than their modulus twice.
const SHORT: usize = 350;

/// What a connection is about to have computed, which its handler tells its line. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// The prime of a group that the peer is given, in bytes, until the line hears of it.
    prime: AtomicUsize,
    /// Whether it may ask to be logged in.
    login: AtomicBool,
    /// Whether it began with what balancers say of others.
    header: AtomicBool,
    /// The turn of what is computed now.
    turn: Mutex<Option<Turn>>,
}

impl Asked {
    /// It is given a group with a prime of so many bytes.
    pub(super) fn group(&self, prime: usize) {
        self.0.prime.store(prime, Ordering::Relaxed);
    }

    /// From now on it may ask to be logged in.
    pub(super) fn login(&self) {
        self.0.login.store(true, Ordering::Relaxed);
    }

    /// It is.
    pub(super) fn logged_in(&self) {
        self.0.login.store(false, Ordering::Relaxed);
        self.computed();
    }

    /// It began with the header of a PROXY protocol, which was not awaited.
    pub(super) fn header(&self) {
        self.0.header.store(true, Ordering::Relaxed);
    }

    /// Whether it did.
    pub(super) fn has_header(&self) -> bool {
        self.0.header.load(Ordering::Relaxed)
    }

    /// What was computed is; the connection may wait for something else now.
    pub(super) fn computed(&self) {
        self.turn(None);
    }

    fn turn(&self, turn: Option<Turn>) {
        *self.0.turn.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }
}

/// What a line has computed.
pub(super) struct Exchanges {
    asked: Asked,
    turns: Turns,
    exchange: Option<Exchange>,
    /// Bytes that were passed on since the exchange began, or since something was said to who is to log in.
    read: usize,
    waits: Option<Pin<Box<dyn Future<Output = Option<Turn>> + Send>>>,
}

/// An exchange in a group, from the group on until it is answered.
struct Exchange {
    prime: usize,
    /// Bytes since then.
    written: usize,
}

impl Exchanges {
    pub(super) fn new(asked: Asked, turns: Turns) -> Self {
        Self { asked, turns, exchange: None, read: 0, waits: None }
    }

    /// The library reads or writes: what it has read before is computed. Whether anything may have to be from now on.
    pub(super) fn goes_on(&mut self) -> bool {
        let prime = self.asked.0.prime.swap(0, Ordering::Relaxed);
        if prime > 0 {
            self.exchange = Some(Exchange { prime, written: 0 });
            self.read = 0;
        }
        let goes_on = self.free().is_some();
        if goes_on {
            self.asked.computed();
        }
        goes_on
    }

    /// What may come next, and how much of it may be passed on without a turn.
    fn free(&self) -> Option<(What, usize)> {
        match self.exchange {
            Some(_) => Some((What::Exchange, LENGTH)),
            None => self.asked.0.login.load(Ordering::Relaxed).then_some((What::Login, SHORT)),
        }
    }

    /// Looks at what a peer says first.
    pub(super) fn greeted(&self, there: &[u8]) {
        if proxy::is_header(there) {
            self.asked.header();
        }
    }

    /// Waits until so many more bytes may be passed on.
    pub(super) fn poll_pass(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        let Some((what, free)) = self.free() else { return Poll::Ready(()) };
        if bytes > 0 && self.read + bytes > free {
            let turns = &self.turns;
            let waits = self.waits.get_or_insert_with(|| Box::pin(turns.next(what)));
            let turn = ready!(waits.as_mut().poll(cx));
            self.waits = None;
            self.asked.turn(turn);
        }
        self.read += bytes;
        Poll::Ready(())
    }

    /// So much was sent. The group is sent, and then the answer, which has a number of the same length and the host key in it: twice the
    /// prime is more than the first of them and less than both. A request to log in has an answer of any length.
    pub(super) fn wrote(&mut self, bytes: usize) {
        if let Some(exchange) = &mut self.exchange {
            exchange.written += bytes;
            if exchange.written < 2 * exchange.prime {
                return;
            }
            self.exchange = None;
        }
        self.read = 0;
    }
}
