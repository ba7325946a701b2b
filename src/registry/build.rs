//! Building the index from the replayed journal, beside the running registry.

#[cfg(test)]
pub(super) mod hold;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::change::Unavailable;
use super::index::IndexWriter;
use super::mark;
use super::overlay::Overlay;
use super::record::KeyRecord;
use super::rules::View as _;
use super::state::State;
use crate::model::fingerprint::Fingerprint;

/// How many keys are copied at a time; commits wait for the copying of one piece at most, a tenth of a second or so.
const PIECE: usize = if cfg!(test) { 500 } else { 32 * 1024 };
/// From how many grants on a piece is full, however few its keys: its size in memory follows from both.
const GRANTS: usize = if cfg!(test) { 700 } else { 100_000 };
/// How long the end of an unfinished build is waited for.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// An index that is being built by a thread of its own.
#[derive(Debug)]
pub(super) struct Build {
    /// What was committed since the build began; the builder may or may not have seen it.
    pub(super) since: Overlay,
    done: Receiver<Result<IndexWriter, Unavailable>>,
    stop: Arc<AtomicBool>,
}

impl Build {
    /// Starts building from what `state` holds now, and whatever it comes to hold.
    pub(super) fn start(dir: PathBuf, state: Arc<RwLock<State>>) -> std::io::Result<Self> {
        let (send, done) = mpsc::sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let build = move || {
            // When nobody takes the result, the registry was closed meanwhile.
            drop(send.send(build(&dir, &state, &stopped)));
        };
        std::thread::Builder::new().name("registry-build".to_owned()).spawn(build)?;
        Ok(Self { since: Overlay::default(), done, stop })
    }

    /// The outcome, if there is one.
    pub(super) fn outcome(&self) -> Option<Result<IndexWriter, Unavailable>> {
        match self.done.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(Unavailable { reason: "the builder panicked".to_owned() })),
        }
    }

    /// Stops an unfinished build.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if let Err(mpsc::RecvTimeoutError::Timeout) = self.done.recv_timeout(STOP_LIMIT) {
            tracing::warn!("the building of the index does not stop");
        }
    }
}

fn build(dir: &std::path::Path, state: &RwLock<State>, stop: &AtomicBool) -> Result<IndexWriter, Unavailable> {
    let failed = |error: std::io::Error| Unavailable { reason: format!("the index cannot be deleted: {error}") };
    mark::wipe(dir).map_err(failed)?;
    let index = IndexWriter::open(&dir.join(mark::INDEX))?;
    let read = || state.read().unwrap_or_else(PoisonError::into_inner);
    let going_on = || match stop.load(Ordering::Acquire) {
        true => Err(Unavailable { reason: "the registry is closing".to_owned() }),
        false => Ok(()),
    };
    let accounts: Vec<_> = read().accounts().cloned().collect();
    let mut over = Overlay::default();
    over.accounts.extend(accounts.into_iter().map(|record| (record.name.clone(), Some(record))));
    over.groups.extend(read().groups(None)?.into_iter().map(|r| ((r.account.clone(), r.name.clone()), Some(r))));
    over.public.extend(read().publics(None)?.into_iter().map(|record| (record.repo.clone(), Some(record))));
    index.apply(&over, None)?;
    copy_tombs(&index, state)?;
    // In the order of its rows: a page is written once, and not for every key that comes by.
    let mut last: Option<Fingerprint> = None;
    for pieces in 0_usize.. {
        going_on()?;
        tracing::trace!(pieces, "keys are copied into the index, a piece at a time");
        #[cfg(test)]
        hold::here(dir, pieces, stop);
        let mut grants: usize = 0;
        let piece: Vec<KeyRecord> = read()
            .keys()
            .after(last.as_ref())
            .take(PIECE)
            .take_while(|next| {
                let room = grants < GRANTS;
                grants = grants.saturating_add(next.as_ref().map_or(0, |record| record.grants.len()));
                room
            })
            .collect::<Result<_, _>>()?;
        let keys: BTreeMap<_, _> = piece.into_iter().map(|record| (record.fingerprint(), Some(record))).collect();
        let Some((end, _)) = keys.last_key_value() else { break };
        last = Some(*end);
        index.apply(&Overlay { keys, ..Overlay::default() }, None)?;
    }
    Ok(index)
}

/// What is left of removed keys.
fn copy_tombs(index: &IndexWriter, state: &RwLock<State>) -> Result<(), Unavailable> {
    let read = || state.read().unwrap_or_else(PoisonError::into_inner);
    let mut last = None;
    loop {
        let tombs: BTreeMap<_, _> =
            read().tombs_after(last.as_ref()).take(PIECE).map(|tomb| (tomb.key, tomb.clone())).collect();
        let Some((end, _)) = tombs.last_key_value() else { break };
        last = Some(*end);
        index.apply(&Overlay { tombs, ..Overlay::default() }, None)?;
    }
    let mut last = None;
    loop {
        let tomb_names: BTreeMap<_, _> =
            read().tomb_names_after(last.as_ref()).take(PIECE).map(|(name, key)| (name.clone(), *key)).collect();
        let Some((end, _)) = tomb_names.last_key_value() else { return Ok(()) };
        last = Some(end.clone());
        index.apply(&Overlay { tomb_names, ..Overlay::default() }, None)?;
    }
}
