//! The one who writes an entry.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::{End, Entry, Stored};
use super::{Key, Shelf, on_disk};

/// Nobody waits for the entry any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

/// Writes an entry. Dropping it without [`Writer::finish`] breaks the entry: it is not found again, and its readers are
/// told after what did come.
#[derive(Debug)]
pub struct Writer {
    shelf: Arc<Shelf>,
    key: Key,
    entry: Arc<Entry>,
    /// A write was begun and its end not seen: what the file holds after its last shown byte is not known.
    unsure: bool,
    finished: bool,
}

impl Writer {
    pub(super) fn new(shelf: Arc<Shelf>, key: Key, entry: Arc<Entry>) -> Self {
        Self { shelf, key, entry, unsure: false, finished: false }
    }

    /// Adds bytes. It waits for readers only when what it writes can neither be kept nor written down for them. If the future is
    /// dropped half-way, the entry cannot go on.
    ///
    /// # Errors
    /// [`Abandoned`] when it can serve nobody.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Abandoned> {
        if self.unsure {
            return Err(Abandoned);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.unsure = true;
        if let Some(stored) = self.entry.stored() {
            if self.keep(stored, bytes.clone()).await {
                self.unsure = false;
                return Ok(());
            }
            self.entry.pass_on();
            // Who comes later would miss the beginning.
            self.shelf.remove(self.key, &self.entry);
        }
        let passed = self.pass(bytes).await;
        self.unsure = false;
        passed
    }

    async fn keep(&self, stored: Stored, bytes: Bytes) -> bool {
        let (all, more) = (stored.all(), bytes.len() as u64);
        let too_large = all + more > self.shelf.settings.entry;
        if too_large {
            tracing::debug!(all, "an entry is too large to be kept");
            self.shelf.remove(self.key, &self.entry);
            // Several read it at their own pace while the disk has room to spare: one that is slow does not hold the others up.
            if self.entry.readers() < 2 {
                return false;
            }
        }
        // What has begun to go to the file goes on there, also when there is memory again.
        if !too_large
            && stored.file == 0
            && let Some(room) = self.shelf.memory.take(more)
        {
            self.entry.hold(&bytes, room);
            return true;
        }
        let (shelf, entry) = (Arc::clone(&self.shelf), Arc::clone(&self.entry));
        // Making room asks the disk and closes files: not on a thread of the runtime either.
        let kept = on_disk(move || {
            let room = if too_large { shelf.spare(stored.file, more) } else { shelf.reserve(stored.file, more) };
            let Some(room) = room else { return Ok(None) };
            entry.write(|| shelf.file(), stored.file, &bytes).map(|()| Some(room))
        });
        match kept.await {
            Ok(Ok(Some(room))) => {
                self.entry.show(room);
                return true;
            }
            Ok(Ok(None)) => tracing::debug!(all, "there is no room to keep an entry"),
            Ok(Err(error)) => tracing::warn!(%error, "the cache cannot write; the entry is passed on and not kept"),
            Err(error) => tracing::error!(%error, "a write to the cache did not end"),
        }
        false
    }

    async fn pass(&self, mut bytes: Bytes) -> Result<(), Abandoned> {
        loop {
            if self.entry.readers() == 0 {
                return Err(Abandoned);
            }
            match self.entry.push(bytes) {
                Ok(()) => return Ok(()),
                Err(back) => bytes = back,
            }
            if tokio::time::timeout(self.shelf.settings.stall, self.entry.moved.notified()).await.is_err() {
                self.entry.cut_slowest();
            }
        }
    }

    /// All of it is written.
    pub fn finish(mut self) {
        if !self.unsure {
            self.finished = true;
            self.entry.end(End::Whole);
        }
    }

    /// Waits until nobody has read for the time of grace. Then nobody can any more: the entry is not found. Nothing is lost
    /// when the future is dropped and another one made.
    pub async fn abandoned(&self) {
        loop {
            let Some(since) = self.entry.idle_since() else {
                self.entry.moved.notified().await;
                continue;
            };
            tokio::time::sleep_until(since + self.shelf.settings.grace).await;
            // Under the lock nobody joins.
            let mut slots = self.shelf.lock();
            if self.entry.idle_since() == Some(since) {
                if slots.get(&self.key).is_some_and(|slot| Arc::ptr_eq(&slot.entry, &self.entry)) {
                    slots.remove(&self.key);
                }
                return;
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            self.shelf.remove(self.key, &self.entry);
            self.entry.end(End::Broken);
        }
    }
}
