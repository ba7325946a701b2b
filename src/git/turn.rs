//! Waiting for a slot in a client's name: it hears where it stands, and the clocks do not run against it.

use std::time::Duration;

use tokio::time::Instant;

use super::clocks::Clocks;
use super::meter::Limit;
use super::slots::{Full, Label, Lent, Place, Slot, Slots, Work};
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
pub(super) fn ask(git: &Git, fetch: &Fetch, label: Option<Label>) -> Result<Place, Full> {
    git.slots.ask(work_of(fetch), label).inspect_err(|Full| git.meter.met(Limit::Queue))
}

/// Room for a git that has no slot, if there is some.
pub(super) fn room(git: &Git, fetch: &Fetch) -> Option<Slot> {
    git.rooms.take(work_of(fetch))
}

/// Waits for room for a git that has no slot, as for a slot.
pub(super) async fn wait_for_room(
    git: &Git,
    fetch: &Fetch,
    clocks: &mut Clocks,
    outbound: &mut impl Outbound,
) -> Result<Slot, NoSlot> {
    // There is some, nearly always.
    match room(git, fetch) {
        Some(room) => Ok(room),
        None => wait_in(&git.rooms, git, fetch, false, clocks, outbound).await,
    }
}

/// Lends its turn to who asked for the same, if that one waits.
pub(super) fn lend(git: &Git, fetch: &Fetch, label: Label) -> Option<Lent> {
    git.slots.lend(work_of(fetch), label)
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
    outbound: &mut impl Outbound,
) -> Result<Slot, NoSlot> {
    wait_in(&git.slots, git, fetch, quiet, clocks, outbound).await
}

async fn wait_in(
    slots: &Slots,
    git: &Git,
    fetch: &Fetch,
    quiet: bool,
    clocks: &mut Clocks,
    outbound: &mut impl Outbound,
) -> Result<Slot, NoSlot> {
    let mut place = slots.ask(work_of(fetch), None).map_err(|Full| {
        git.meter.met(Limit::Queue);
        NoSlot::Not(Unserved::Busy)
    })?;
    let (end, mut news) = (Instant::now() + slots.patience(), Instant::now() + FIRST_NEWS);
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
                if !quiet && outbound.say(&slots.waiting(place.ahead())).await.is_err() {
                    return Err(NoSlot::Ended(Ended::ClientGone));
                }
            }
            () = tokio::time::sleep_until(end) => {
                git.meter.met(Limit::Wait);
                return Err(NoSlot::Not(Unserved::Busy));
            }
            () = outbound.gone() => return Err(NoSlot::Ended(Ended::ClientGone)),
        }
    }
}
