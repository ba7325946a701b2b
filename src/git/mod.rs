//! Floor 3: carries out a fetch. It needs a permission to work, so it stands above the gate.

mod child;
mod clocks;
pub mod counts;
mod cut;
pub mod inbound;
mod meter;
mod packing;
pub mod pkt_line;
pub mod polls;
mod profile;
mod program;
mod pump;
mod slots;
mod turn;
pub mod v0;
pub mod v2;

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument as _;

pub use program::{Program, ProgramError};

use crate::audit::Ended;
use crate::cache::{Cache, Contents, Small};
use crate::gate::{Fetch, Unserved};
use crate::model::protocol::GitProtocol;
use crate::sandbox::{CellError, Cells, Pool, Profile, Report};
use crate::store::is_shortage;
use cut::UntilCut;
use inbound::Inbound;
pub use packing::Packing;
use pump::{Begun, Served};
pub use slots::SlotSettings;
use slots::Slots;

/// The clocks of one fetch, all in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long the client may be silent before it has asked for its pack.
    pub negotiation: Duration,
    /// How long nothing at all may move, in either direction.
    pub idle: Duration,
    /// How long one fetch may take.
    pub total: Duration,
    /// How many may have git work for them.
    pub slots: SlotSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Between two requests a client may walk its whole history, on a slow disk.
            negotiation: Duration::from_secs(300),
            // A client that received its pack indexes it, silently, before it closes; git itself says something every five
            // seconds while it works.
            idle: Duration::from_secs(600),
            total: Duration::from_secs(6 * 3600),
            slots: SlotSettings::default(),
        }
    }
}

/// The client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// The way to the client.
pub trait Outbound: Send {
    /// Sends bytes; returns when there is room for more, so that a slow client slows its git down.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), Gone>> + Send;

    /// A line for whoever reads the client's log, beside the protocol.
    fn say(&mut self, text: &str) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Waits until the client has gone away.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;
}

/// How long a client may take to hear why its fetch failed.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How a fetch ended, for the one who answers the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The exit status to report, as git's own or 128 in its place.
    pub status: u32,
    /// How it ended.
    pub ended: Ended,
}

/// What is kept, and how often it was of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Whether anything is kept.
    pub enabled: bool,
    /// Answers in memory and on disk.
    pub entries: usize,
    /// Bytes of these, and of those that are only read to their end.
    pub bytes: u64,
    /// How many of these bytes are in memory.
    pub memory_bytes: u64,
    /// Answers to polls in memory.
    pub polls: usize,
    /// Bytes of these.
    pub poll_bytes: u64,
    /// Gits that may make packs at a time.
    pub slots: usize,
    /// Gits that do.
    pub running: usize,
    /// Fetches that wait for that.
    pub waiting: usize,
    /// How often, since the daemon started.
    pub counted: counts::Counted,
}

/// The git program, the cells that it works in, the clocks of its work, and what is kept of it.
#[derive(Debug, Clone)]
pub struct Git {
    program: Program,
    profile: Profile,
    pool: Pool,
    report: Option<Report>,
    settings: Settings,
    packing: Packing,
    cache: Cache,
    polls: Small<polls::Said>,
    slots: Slots,
    /// For gits of one client each that have no slot.
    rooms: Slots,
    counts: counts::Counts,
    meter: meter::Meter,
}

impl Git {
    /// Serves with this program in cells of this kind, which are tried once, and keeps answers in this cache.
    ///
    /// # Errors
    /// [`CellError`] when git does not work in such a cell, or the kernel cannot make one that is required.
    pub fn new(program: Program, settings: Settings, cells: Cells, cache: Cache) -> Result<Self, CellError> {
        let profile = profile::of_program(&program);
        let report = cells.trial(&child::introduction(&program, &profile).map_err(CellError::Start)?)?;
        let (polls, slots, rooms) =
            (cache.small(), Slots::new("slot", settings.slots), Slots::new("git", settings.slots.rooms()));
        // As many as may be busy at a time with packs; polls that come between take the same.
        let pool = Pool::new(cells, slots.all());
        let (counts, meter) = (counts::Counts::default(), meter::Meter::default());
        let packing = Packing::default();
        Ok(Self { program, profile, pool, report, settings, packing, cache, polls, slots, rooms, counts, meter })
    }

    /// The same, which has packs without history made in this way.
    #[must_use]
    pub fn with_packing(self, packing: Packing) -> Self {
        Self { packing, ..self }
    }

    /// What its cells enforce; `None` when they are switched off.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// The program that serves.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What is kept now, and how often it was of use.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let Contents { entries, bytes, memory_bytes } = self.cache.kept();
        let (polls, poll_bytes) = self.polls.used();
        let (running, waiting) = self.slots.counts();
        let waiting = waiting + self.rooms.counts().1;
        let counted = self.counts.now();
        let (enabled, slots) = (self.cache.is_on(), self.slots.all());
        Kept { enabled, entries, bytes, memory_bytes, polls, poll_bytes, slots, running, waiting, counted }
    }

    /// Forgets everything that is kept; says how many answers that were. Who reads one reads on.
    pub fn forget(&self) -> usize {
        self.cache.clear() + self.polls.clear()
    }

    /// Lets go of answers whose time is over; may wait for the disk.
    pub fn tidy(&self) {
        self.cache.tidy();
    }

    /// Serves one fetch to its end and records it. Gives the way to the client back, for its last words. Whatever is logged on
    /// the way has the fetch's id, which its client is shown, and its repository.
    pub async fn run<O: Outbound>(&self, fetch: Fetch, inbound: Inbound, outbound: O) -> (Finished, O) {
        // At the level of an error: it is there with each line that is.
        let span = tracing::error_span!("fetch", id = fetch.id(), repository = %fetch.repo().name());
        self.carry_out(fetch, inbound, outbound).instrument(span).await
    }

    async fn carry_out<O: Outbound>(&self, mut fetch: Fetch, inbound: Inbound, mut outbound: O) -> (Finished, O) {
        let watch = inbound.watch();
        let stopped = fetch.cut();
        let mut until_cut = UntilCut::new(&mut outbound, watch.clone(), stopped.clone());
        let served = match fetch.protocol() {
            GitProtocol::V2 if self.cache.is_on() => v2::serve(self, &fetch, inbound, &mut until_cut).await,
            GitProtocol::V0 | GitProtocol::V1 if self.cache.is_on() => {
                v0::serve(self, &fetch, inbound, &mut until_cut).await
            }
            GitProtocol::V0 | GitProtocol::V1 | GitProtocol::V2 => {
                pump::own(self, &fetch, Begun::default(), inbound, &mut until_cut).await
            }
        };
        let Served { status, ended, why, bytes_in, mut bytes_out, source, pack, bounded, error } = served;
        // For whoever serves, its client was gone, or had said all that it had to say.
        let (status, ended) = match ended {
            Ended::ClientGone | Ended::Served if watch.flooded() => (128, Ended::Flooded),
            Ended::ClientGone if stopped.is_cancelled() => (128, Ended::Cut),
            Ended::Served | Ended::Failed | Ended::ClientGone | Ended::TimedOut | Ended::Flooded | Ended::Cut => {
                (status, ended)
            }
        };
        if let Some(source) = source {
            self.counts.add(&source, pack, bytes_out);
            fetch.note(source);
        }
        // Before the first byte git reads an error line, and where it waits for an answer that has not begun, as it does when
        // there was no room for it or it is not permitted any more; in the middle of something it would read it as data.
        let is_awaited = matches!(why, Unserved::Busy | Unserved::NoGit | Unserved::Withdrawn(_))
            || bytes_out == 0
            || error.is_some();
        // git's own complaint is in our log, and could name our paths; the client hears ours.
        let words = match ended {
            Ended::Served | Ended::ClientGone => None,
            Ended::Cut => Some(fetch.unserved(Unserved::Stopped)),
            // A commit that went between the list of refs and the request for it, or one that somebody pinned.
            Ended::Failed if error.as_deref().is_some_and(is_not_there) => Some(fetch.unserved(Unserved::NotThere)),
            Ended::Failed if bounded && why == Unserved::Repository => Some(fetch.unserved(Unserved::NothingSelected)),
            Ended::Failed => Some(fetch.unserved(why)),
            Ended::TimedOut => Some(fetch.unserved(Unserved::TimedOut)),
            Ended::Flooded => Some(fetch.unserved(Unserved::Flooded)),
        };
        if let Some(words) = words {
            let words = words.to_string();
            // What git refused with is the client's to know: it names an object that was asked for, and nothing of ours.
            let words = error.as_ref().map_or_else(|| words.clone(), |error| format!("{error}: {words}"));
            let told = if is_awaited {
                let line = pkt_line::err(&words);
                bytes_out += line.len() as u64;
                tokio::time::timeout(LAST_WORDS, outbound.send(line)).await
            } else {
                tokio::time::timeout(LAST_WORDS, outbound.say(&words)).await
            };
            if !matches!(told, Ok(Ok(()))) {
                tracing::debug!("the client left before it could be told");
            }
        }
        fetch.finish(ended, bytes_out, bytes_in);
        (Finished { status, ended }, outbound)
    }
}

/// Whether git says so of an object that was asked for (upload-pack.c). One whose id is all zeros was asked for because git itself
/// told of a ref that way which it cannot read: then it is the repository that is broken.
fn is_not_there(error: &str) -> bool {
    let id = error.strip_prefix("upload-pack: not our ref ");
    id.is_some_and(|id| !id.trim_end().bytes().all(|digit| digit == b'0'))
}

/// What to say when git cannot be started: on a machine that has no room for one more, or no git; or with a repository whose folder
/// its user may not enter.
fn cannot_start(error: &std::io::Error) -> Unserved {
    tracing::error!(%error, "git cannot be started");
    if is_shortage(error) {
        Unserved::Busy
    } else if error.kind() == ErrorKind::NotFound {
        Unserved::NoGit
    } else {
        Unserved::Repository
    }
}

#[cfg(test)]
mod tests {
    use super::is_not_there;

    #[test]
    fn an_object_that_went_is_told_from_a_ref_that_is_broken() {
        assert!(is_not_there("upload-pack: not our ref 1234567890123456789012345678901234567890"));
        assert!(!is_not_there(&format!("upload-pack: not our ref {}\n", "0".repeat(40))));
        assert!(!is_not_there("upload-pack: something else"));
    }
}
