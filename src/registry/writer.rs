//! The one thread that changes the registry.
//!
//! It takes the commits that wait, checks each against what there is and those before it, appends the good ones to the
//! journal with one sync, brings them into force, and answers. While the disk syncs, the next batch gathers.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::build::Build;
use super::change::{Change, CommitError, Committed, Told, Unavailable};
use super::index::{Applied, Index, IndexReader};
use super::journal::Journal;
use super::journal::compact::Compaction;
use super::journal::entry::{Entry, Hash};
use super::mark;
use super::open::Settings;
use super::overlay::{Layered, Overlay};
use super::reading::{Reading, Source};
use super::rules::{Draft, View};
use super::state::State;

mod large;
mod room;

pub use large::json_length;

/// How many commits share one sync.
const BATCH: usize = 256;
/// After how many bytes of entries a batch is closed.
const BATCH_BYTES: usize = if cfg!(test) { 64 * 1024 } else { 4 * 1024 * 1024 };
/// How often the thread looks around when there is nothing to commit.
const LOOK: Duration = Duration::from_millis(250);
/// The same, while an index is being built.
const LOOK_OFTEN: Duration = Duration::from_millis(20);
/// How long after the first attempt to build a broken index the next one follows, and the longest time between two.
const HEAL_FIRST: Duration = Duration::from_secs(30);
const HEAL_LAST: Duration = Duration::from_secs(3600);
/// How long after a failed compaction the next one follows.
const COMPACT_AGAIN: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 60_000 });

pub(super) type Answer = Result<Told, CommitError>;

/// A commit that waits.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) by: String,
    pub(super) changes: Vec<Change>,
    /// How many bytes of JSON they are.
    pub(super) size: usize,
    pub(super) reply: SyncSender<Answer>,
}

/// Where the rules read, and where accepted changes go.
enum Base {
    Index(Index, IndexReader),
    Replayed(Arc<RwLock<State>>, Option<Build>),
}

pub(super) struct Writer {
    journal: Journal,
    reading: Arc<Reading>,
    requests: Receiver<Request>,
    base: Base,
    /// When an index that broke may be built again: so that a bad or full disk does not keep the builder busy.
    heal: Heal,
    settings: Settings,
    compaction: Option<Compaction>,
    /// When the journal may be compacted again after that failed, as on a full disk.
    compact_again: Heal,
    /// Since when it is long enough for that.
    long_since: Option<Instant>,
    /// When it was last tried whether there is room again.
    tried_room: Instant,
}

/// The patience with what failed and may work later: the longer the more often it fails.
struct Heal {
    at: Instant,
    next: Duration,
}

impl Heal {
    /// At once for the first time, and after `next` for the second one.
    fn new(next: Duration) -> Self {
        Self { at: Instant::now(), next }
    }

    /// Whether it is time; if so, the next time is further away.
    fn due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.at;
        if due {
            self.at = now + self.next;
            self.next = HEAL_LAST.min(self.next * 2);
        }
        due
    }
}

/// A batch that is being checked.
struct Batch {
    over: Overlay,
    lines: Vec<u8>,
    seq: u64,
    hash: Hash,
    /// One for each of those that wait, from the first on.
    answers: Vec<Answer>,
}

impl Writer {
    /// A writer over a good index.
    pub(super) fn over_index(
        journal: Journal,
        reading: Arc<Reading>,
        requests: Receiver<Request>,
        index: Index,
        settings: Settings,
    ) -> Self {
        let reader = index.reader();
        Self::new(journal, reading, requests, Base::Index(index, reader), settings)
    }

    /// A writer over a replayed journal, which builds an index.
    pub(super) fn over_state(
        journal: Journal,
        reading: Arc<Reading>,
        requests: Receiver<Request>,
        state: Arc<RwLock<State>>,
        settings: Settings,
    ) -> Self {
        let build = start_build(&reading, &state);
        Self::new(journal, reading, requests, Base::Replayed(state, build), settings)
    }

    fn new(
        journal: Journal,
        reading: Arc<Reading>,
        requests: Receiver<Request>,
        base: Base,
        settings: Settings,
    ) -> Self {
        let (heal, compact_again, tried_room) = (Heal::new(HEAL_FIRST), Heal::new(COMPACT_AGAIN), Instant::now());
        let (compaction, long_since) = (None, None);
        Self { journal, reading, requests, base, heal, settings, compaction, compact_again, long_since, tried_room }
    }

    /// Works until every [`super::Amend`] is gone. A panic leaves a registry that answers nothing.
    pub(super) fn run(self) {
        let reading = Arc::clone(&self.reading);
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            let reason = "the writer failed; restart the gateway, which reads the journal again".to_owned();
            tracing::error!("{reason}");
            reading.set(Source::Nobody(Unavailable { reason }));
        }
    }

    fn work(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            self.look_around();
            let patience = if matches!(self.base, Base::Replayed(_, Some(_))) { LOOK_OFTEN } else { LOOK };
            match self.requests.recv_timeout(patience) {
                Ok(request) => waiting.push_back(request),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            waiting.extend(self.requests.try_iter().take(BATCH - 1));
            while !waiting.is_empty() {
                self.commit(&mut waiting);
            }
        }
        self.close();
    }

    /// Checks, writes and applies one batch.
    fn commit(&mut self, waiting: &mut VecDeque<Request>) {
        if let Some(large) = waiting.pop_front_if(|request| request.size > BATCH_BYTES) {
            return self.commit_large(large);
        }
        let checked = match &self.base {
            Base::Index(_, reader) => self.check(reader, waiting),
            Base::Replayed(state, _) => self.check(&*state.read().unwrap_or_else(PoisonError::into_inner), waiting),
        };
        let Batch { over, lines, seq, hash, answers } = match checked {
            Ok(batch) => batch,
            // Nobody was answered yet: all are checked again, against the journal.
            Err(error) if matches!(self.base, Base::Index(..)) => return self.fall_back(&error),
            Err(error) => {
                waiting.drain(..).for_each(|request| drop(request.reply.send(Err(error.clone().into()))));
                return;
            }
        };
        let mut refused = None;
        if !lines.is_empty() {
            let begin = Instant::now();
            let written = self.journal.append(&lines, seq, hash);
            self.reading.meter.appended(begin.elapsed(), written.is_ok());
            match written {
                Ok(()) => self.apply(over),
                // Nothing of the batch happened; and what stood against the others may not have been so either.
                Err(error) => refused = Some(error),
            }
        }
        for (request, answer) in waiting.drain(..answers.len()).zip(answers) {
            let answer = refused.clone().map_or(answer, |error| Err(error.into()));
            // Whoever asked may have gone; the change stands.
            drop(request.reply.send(answer));
        }
    }

    /// Checks as many of those that wait as go into a batch. An error is the base's: it cannot be read.
    fn check(&self, base: &dyn View, waiting: &VecDeque<Request>) -> Result<Batch, Unavailable> {
        let (seq, hash) = (self.journal.seq(), self.journal.hash());
        let mut batch = Batch { over: Overlay::default(), lines: Vec::new(), seq, hash, answers: Vec::new() };
        for request in waiting {
            if batch.lines.len() >= BATCH_BYTES || request.size > BATCH_BYTES {
                break;
            }
            let answer = match batch.check(base, request) {
                Err(CommitError::Unavailable(error)) => return Err(error),
                Err(CommitError::Conflict(conflict)) => Err(conflict.into()),
                Ok(told) => Ok(told),
            };
            batch.answers.push(answer);
        }
        Ok(batch)
    }

    fn apply(&mut self, over: Overlay) {
        let applied = Applied::new(self.journal.seq(), self.journal.hash());
        match &mut self.base {
            Base::Index(index, _) => {
                if let Err(error) = index.apply(&over, applied) {
                    self.fall_back(&error);
                }
            }
            Base::Replayed(state, build) => {
                if let Some(build) = build {
                    build.since.merge(over.clone());
                }
                state.write().unwrap_or_else(PoisonError::into_inner).apply(over);
            }
        }
    }

    /// Compacts the journal when it is time.
    fn tend_journal(&mut self, wait: bool) {
        if let Some(compaction) = &self.compaction {
            match compaction.finish(&mut self.journal, wait) {
                None => return,
                Some(Ok(())) => {
                    tracing::info!(seq = self.journal.seq(), "the journal is compacted; the old one is kept");
                    self.compact_again = Heal::new(COMPACT_AGAIN);
                }
                Some(Err(error)) => {
                    let next = self.compact_again.at.saturating_duration_since(Instant::now());
                    tracing::error!(%error, ?next, "the journal cannot be compacted: it goes on growing until the next try");
                }
            }
            self.compaction = None;
        } else if !wait && self.is_long() && self.compact_again.due() {
            match Compaction::start(&self.journal) {
                Ok(compaction) => self.compaction = Some(compaction),
                Err(error) => tracing::warn!(%error, "no thread to compact the journal"),
            }
        }
    }

    /// Whether the journal is long, and has been so for a while.
    fn is_long(&mut self) -> bool {
        if !self.journal.is_long(self.settings.compact_after) {
            self.long_since = None;
            return false;
        }
        self.long_since.get_or_insert_with(Instant::now).elapsed() >= self.settings.compact_patience
    }

    /// Takes over an index that was built, and gives up one that is broken.
    fn look_around(&mut self) {
        self.tend_journal(false);
        self.tell_of_journal();
        if let Base::Replayed(state, Some(build)) = &mut self.base {
            let Some(outcome) = build.outcome() else { return };
            let applied = Applied::new(self.journal.seq(), self.journal.hash());
            let since = std::mem::take(&mut build.since);
            match outcome.and_then(|index| index.apply(&since, Some(applied)).map(|()| index)) {
                Ok(index) => {
                    // What was wrong was wrong with the index before this one.
                    self.reading.take_damage();
                    let (index, reader) = self.reading.take_over(state, index);
                    self.base = Base::Index(index, reader);
                    tracing::info!(seq = applied.seq, "the index is built");
                }
                Err(error) => {
                    let next = self.heal.at.saturating_duration_since(Instant::now());
                    tracing::error!(%error, ?next, "the index cannot be built: the registry stays in memory until the next try");
                    self.base = Base::Replayed(Arc::clone(state), None);
                }
            }
        } else if let Base::Replayed(state, None) = &self.base {
            if self.heal.due() {
                let state = Arc::clone(state);
                self.base = Base::Replayed(Arc::clone(&state), start_build(&self.reading, &state));
            }
        } else if self.reading.take_damage() {
            self.fall_back(&Unavailable { reason: "a look-up failed".to_owned() });
        }
    }

    /// The index is broken: everything it had is in the journal.
    fn fall_back(&mut self, error: &Unavailable) {
        if matches!(self.base, Base::Replayed(..)) {
            return;
        }
        tracing::error!(%error, "the index is broken: the journal is read again");
        let state = match self.journal.replay() {
            Ok(state) => Arc::new(RwLock::new(state)),
            Err(fault) => {
                // Ends this thread, after which nothing is answered any more.
                tracing::error!(%fault, "the journal cannot be read again");
                std::panic::resume_unwind(Box::new(fault.to_string()));
            }
        };
        self.reading.set(Source::Replayed(Arc::clone(&state)));
        self.base = Base::Replayed(Arc::clone(&state), None);
        if self.heal.due() {
            self.base = Base::Replayed(Arc::clone(&state), start_build(&self.reading, &state));
        }
    }

    fn close(mut self) {
        self.tend_journal(true);
        self.look_around();
        self.tend_journal(true);
        self.journal.trim();
        match self.base {
            Base::Index(index, _) => match index.flush() {
                Ok(()) => {
                    let applied = Applied::new(self.journal.seq(), self.journal.hash());
                    self.reading.will_be_clean(applied, index.changed_much());
                }
                Err(error) => tracing::warn!(%error, "the index cannot be flushed: it will be built again"),
            },
            Base::Replayed(_, Some(build)) => {
                build.stop();
                // The beginning of an index would look like one that broke; without it the next start just builds one.
                if let Err(error) = mark::wipe(self.reading.dir()) {
                    tracing::warn!(%error, "an index that was not built to its end cannot be deleted: it will be built again");
                }
            }
            Base::Replayed(_, None) => {}
        }
    }
}

impl Batch {
    /// Checks one commit against the base and those before it in the batch, and takes it in if it is good.
    fn check(&mut self, base: &dyn View, request: &Request) -> Answer {
        let Request { by, changes, size: _, reply: _ } = request;
        let time = Timestamp::now();
        let view = Layered { under: base, over: &self.over };
        let mut draft = Draft::new(&view);
        let mut effective = Vec::with_capacity(changes.len());
        let met = match changes.as_slice() {
            [one] => draft.met(one)?.map(Box::new),
            _ => None,
        };
        for change in changes {
            draft.admit(change)?;
            if draft.apply(change, by, time)? {
                effective.push(change.clone());
            }
        }
        if effective.is_empty() {
            return Ok(Told { committed: Committed { first: self.seq, seq: self.seq, changed: false }, met });
        }
        let over = draft.into_overlay();
        let entry = Entry { seq: self.seq + 1, prev: self.hash, more: false, time, by: by.clone(), changes: effective };
        let line = serde_json::to_vec(&entry).map_err(|error| Unavailable { reason: error.to_string() })?;
        self.over.merge(over);
        self.seq = entry.seq;
        self.hash = Hash::of(&line);
        if !self.lines.is_empty() {
            self.lines.push(b'\n');
        }
        self.lines.extend(line);
        Ok(Told { committed: Committed { first: self.seq, seq: self.seq, changed: true }, met })
    }
}

fn start_build(reading: &Reading, state: &Arc<RwLock<State>>) -> Option<Build> {
    Build::start(reading.dir().to_owned(), Arc::clone(state))
        .inspect_err(|error| tracing::error!(%error, "no thread to build the index: the registry stays in memory"))
        .ok()
}
