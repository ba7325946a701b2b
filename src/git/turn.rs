//! Waiting for a slot in a client's name: it hears where it stands, and the clocks do not run against it.

use std::time::Duration;

use tokio::time::Instant;

use super::clocks::Clocks;
use super::inbound::Inbound;
use super::meter::Limit;
use super::slots::{Full, Place, Slot, Work};
use super::{Git, Outbound};
use crate::audit::Ended;
use crate::gate::{Fetch, Unserved};

/// When a client that waits hears of it first, and how often after that. Short waits are nobody's business.
pub(super) const FIRST_NEWS: Duration = Duration::from_secs(2);
pub(super) const NEWS: Duration = Duration::from_secs(10);

/// Why there is no slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// Too many wait, or it took too long; or the fetch was permitted when it began to wait, and is not any more.
    Not(Unserved),
    /// The fetch is over.
    Ended(Ended),
}

/// Whose turn it is to take, and on what: a key's turns are its own whatever it is called.
fn work_of(fetch: &Fetch) -> Work {
    let key = fetch.subject().fingerprint.as_ref().map(ToString::to_string);
    Work { key: key.unwrap_or_default(), repository: fetch.repo().name().to_string() }
}

/// Joins the queue for a slot.
pub(super) fn ask(git: &Git, fetch: &Fetch, label: Option<[u8; 32]>) -> Result<Place, Full> {
    git.slots.ask(work_of(fetch), label).inspect_err(|Full| git.meter.met(Limit::Queue))
}

/// What a client hears that waits.
pub(super) fn waiting(ahead: usize) -> String {
    format!("waiting for a free slot, {ahead} ahead")
}

/// Whether a client wants no progress, by what it asked; every version of the protocol has the same word for it.
pub(super) fn is_quiet(asked: &[u8]) -> bool {
    memchr::memmem::find(asked, b"no-progress").is_some()
}

/// Waits for a slot. Whoever waited is asked for again.
pub(super) async fn wait(
    git: &Git,
    fetch: &Fetch,
    quiet: bool,
    clocks: &mut Clocks,
    inbound: &Inbound,
    outbound: &mut impl Outbound,
) -> Result<Slot, NoSlot> {
    let mut place = ask(git, fetch, None).map_err(|Full| NoSlot::Not(Unserved::Busy))?;
    let (end, mut news) = (Instant::now() + git.slots.patience(), Instant::now() + FIRST_NEWS);
    loop {
        tokio::select! {
            // First what is there already: a free slot costs no look at the clocks.
            biased;
            slot = place.granted() => {
                clocks.moved();
                fetch.recheck().map_err(|withdrawn| NoSlot::Not(Unserved::Withdrawn(withdrawn)))?;
                // The queue was full, and others had less in it.
                return slot.ok_or_else(|| {
                    git.meter.met(Limit::Queue);
                    NoSlot::Not(Unserved::Busy)
                });
            }
            () = tokio::time::sleep_until(news) => {
                news = Instant::now() + NEWS;
                clocks.moved();
                if !quiet && outbound.say(&waiting(place.ahead())).await.is_err() {
                    return Err(NoSlot::Ended(Ended::ClientGone));
                }
            }
            () = tokio::time::sleep_until(end) => {
                git.meter.met(Limit::Wait);
                return Err(NoSlot::Not(Unserved::Busy));
            }
            () = outbound.gone() => return Err(NoSlot::Ended(Ended::ClientGone)),
        }
        if inbound.flooded() {
            return Err(NoSlot::Ended(Ended::Flooded));
        }
    }
}
