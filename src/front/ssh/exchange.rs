//! A key exchange in a large group: whose turn it is to have one computed.
//!
//! The library asks for the group, sends it, and computes where it is as soon as it has read the peer's answer; it reads nothing
//! further before it has. So the line passes on the length of a packet, and more only with a turn, which is over with the next read or
//! write: whoever waits for a peer has no turn, however long that takes, and whoever comes before its turn is not read from.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use super::places::{Turn, Turns};

/// A packet begins with its length, in bytes (RFC 4253 §6). Nothing is computed of that alone; of how little more, the library decides:
/// a number of one byte is an answer as good as any, and padding it does not insist on.
const LENGTH: usize = 4;

/// That a peer is given a group: what the handler of a connection tells its line. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<AtomicUsize>);

impl Asked {
    /// One with a prime of so many bytes.
    pub(super) fn group(&self, prime: usize) {
        self.0.store(prime, Ordering::Relaxed);
    }
}

/// The exchanges of a line.
pub(super) struct Exchanges {
    asked: Asked,
    turns: Turns,
    running: Option<Running>,
}

/// One of them, from the group on until it is answered.
struct Running {
    prime: usize,
    /// Bytes since then.
    read: usize,
    written: usize,
    turn: Option<Turn>,
    waits: Option<Pin<Box<dyn Future<Output = Option<Turn>> + Send>>>,
}

impl Exchanges {
    pub(super) fn new(asked: Asked, turns: Turns) -> Self {
        Self { asked, turns, running: None }
    }

    /// The library reads or writes: what it has read before is computed. Whether there is an exchange.
    pub(super) fn goes_on(&mut self) -> bool {
        let prime = self.asked.0.swap(0, Ordering::Relaxed);
        if prime > 0 {
            self.running = Some(Running { prime, read: 0, written: 0, turn: None, waits: None });
        }
        self.running.as_mut().map(|running| running.turn = None).is_some()
    }

    /// Waits until so many more bytes may be passed on.
    pub(super) fn poll_pass(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        let Some(running) = &mut self.running else { return Poll::Ready(()) };
        if bytes > 0 && running.read + bytes > LENGTH {
            let turns = &self.turns;
            let waits = running.waits.get_or_insert_with(|| Box::pin(turns.next()));
            running.turn = ready!(waits.as_mut().poll(cx));
            running.waits = None;
        }
        running.read += bytes;
        Poll::Ready(())
    }

    /// So much was sent. The group is sent, and then the answer, which has a number of the same length and the host key in it: twice the
    /// prime is more than the first of them and less than both.
    pub(super) fn wrote(&mut self, bytes: usize) {
        if let Some(running) = &mut self.running {
            running.written += bytes;
            if running.written >= 2 * running.prime {
                self.running = None;
            }
        }
    }
}
