//! Floor 1: bytes under a key, one writer, many readers. It knows no git.
//!
//! An entry is kept in memory first, and on disk behind that. Its first part are pieces as they were written, which readers
//! share. Where the memory of all entries is used up, it goes on in a file without a name: nothing is left behind by a crash,
//! and nobody can look in or change it. The file is made with its first byte, so that an entry that fits into memory has none.
//!
//! Readers go at their own offsets while it grows, and the writer does not wait for them. What cannot be kept (an entry or
//! the whole too large, a full disk, a folder that went away) is still passed on to those who wait for it, and only not
//! kept. [`Cache::off`] keeps nothing: it is the off switch, so that no caller needs another.

mod buffers;
mod entry;
mod pieces;
mod reader;
mod share;
mod small;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio::time::Instant;

use buffers::Buffers;
use entry::Entry;
pub use reader::{Lost, Reader};
use share::{Bound, Share};
pub use small::{By, Small, SmallSettings, Why};
pub use writer::{Abandoned, Writer};

/// Where bytes are kept, how many, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder of the files. It is made when it is missing.
    pub folder: PathBuf,
    /// Bytes of all entries together that are in memory, those included that are still read and may not be found any more;
    /// 0 for none. An entry holds what it has there until it goes, and none goes to make room for another's memory: one that
    /// finds none goes to its file. Entries whose life is over go with [`Cache::tidy`], or with the next [`Cache::get`].
    pub memory: u64,
    /// The same, in files.
    pub total: u64,
    /// Bytes of one entry, in memory and in its file together.
    pub entry: u64,
    /// Entries at a time; each that is not in memory alone is an open file.
    pub entries: usize,
    /// Bytes that stay free on the file system of the folder.
    pub free: u64,
    /// How long an entry may be found, from its first byte on, however often it is read.
    pub life: Duration,
    /// The same, for an entry that only its first reader has asked for.
    pub single_life: Duration,
    /// How long a writer goes on without a reader: the next one may be on its way.
    pub grace: Duration,
    /// How long one slow reader may hold up the others of an entry that is passed on and not kept.
    pub stall: Duration,
    /// Small things, in memory.
    pub small: SmallSettings,
}

/// How many ask the disk at a time, each on a thread of its own.
static ON_DISK: Semaphore = Semaphore::const_new(100);

/// Asks the disk where no connection waits for it. Who comes while it does not answer waits without a thread.
async fn on_disk<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    // Nobody closes it. Who leaves in the middle leaves the thread behind.
    let one = ON_DISK.acquire().await.ok();
    tokio::task::spawn_blocking(move || {
        let _until_it_is_done = one;
        ask()
    })
    .await
}

/// What an entry is found by: a hash that its maker answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// A key of these bytes.
    #[must_use]
    pub fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

/// What there is under a key.
#[derive(Debug)]
pub enum Found {
    /// A whole entry.
    Kept(Reader),
    /// An entry that is being written.
    Growing(Reader),
    /// Nothing: whoever is told so writes it, and reads it like everybody else.
    Missing(Writer, Reader),
    /// Nothing, and nothing is to be kept; a stable word why.
    Bypass(&'static str),
}

/// Kept bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache {
    shelf: Option<Arc<Shelf>>,
}

#[derive(Debug)]
struct Shelf {
    settings: Settings,
    slots: Mutex<HashMap<Key, Slot>>,
    /// Bytes of entries in memory, and in files that are open.
    memory: Bound,
    disk: Bound,
    /// What files are read into.
    buffers: Buffers,
    given_up: [AtomicU64; 3],
}

/// What is kept at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Entries that may be found.
    pub entries: usize,
    /// Bytes of these, and of those that are only read to their end; in memory and in files.
    pub bytes: u64,
    /// How many of these bytes are in memory.
    pub memory_bytes: u64,
}

/// How many entries were given up, or not taken, since there was no room for them, by what the room is bounded by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// [`Settings::entries`].
    pub entries: u64,
    /// [`Settings::total`].
    pub total: u64,
    /// [`Settings::free`].
    pub free: u64,
}

/// What [`GivenUp`] counts.
#[derive(Debug, Clone, Copy)]
enum Want {
    Entries,
    Total,
    Free,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    made: Instant,
    last: Instant,
    reads: u64,
}

impl Cache {
    /// Keeps nothing.
    #[must_use]
    pub fn off() -> Self {
        Self { shelf: None }
    }

    /// Keeps bytes in memory, and in this folder.
    ///
    /// # Errors
    /// When the folder cannot be made or written: said now, and not with the first entry.
    pub fn open(settings: Settings) -> io::Result<Self> {
        make_folder(&settings)?;
        drop(tempfile::tempfile_in(&settings.folder)?);
        let (memory, disk) = (Bound::new(settings.memory), Bound::new(settings.total));
        let (slots, buffers, given_up) = (Mutex::default(), Buffers::default(), Default::default());
        Ok(Self { shelf: Some(Arc::new(Shelf { settings, slots, memory, disk, buffers, given_up })) })
    }

    /// Whether it keeps anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shelf.is_some()
    }

    /// Room for small things of one kind; none when nothing is kept.
    #[must_use]
    pub fn small<T: Clone>(&self) -> Small<T> {
        Small::new(self.shelf.as_ref().map(|shelf| shelf.settings.small))
    }

    /// What there is under this key, now. Of many who ask for what is missing, one is told to write it.
    #[must_use]
    pub fn get(&self, key: Key) -> Found {
        let Some(shelf) = &self.shelf else { return Found::Bypass("off") };
        let now = Instant::now();
        // Dropped behind the lock: to close a large file takes a while.
        let mut gone = Vec::new();
        let mut slots = shelf.lock();
        gone.extend(shelf.expired(&mut slots, now));
        if let Some(slot) = slots.get_mut(&key) {
            slot.last = now;
            slot.reads += 1;
            let (reader, whole) = Reader::join(&slot.entry);
            return if whole { Found::Kept(reader) } else { Found::Growing(reader) };
        }
        while slots.len() >= shelf.settings.entries {
            match shelf.give_up(&mut slots, Want::Entries) {
                Some(slot) => gone.push(slot),
                None => return Found::Bypass("full"),
            }
        }
        let entry = Arc::new(Entry::new(shelf.memory.nothing(), shelf.disk.nothing(), shelf.buffers.clone()));
        let (reader, _) = Reader::join(&entry);
        let writer = Writer::new(Arc::clone(shelf), key, Arc::clone(&entry));
        slots.insert(key, Slot { entry, made: now, last: now, reads: 1 });
        Found::Missing(writer, reader)
    }

    /// What is kept now.
    #[must_use]
    pub fn kept(&self) -> Contents {
        self.shelf.as_ref().map_or_else(Contents::default, |shelf| {
            let (entries, memory_bytes) = (shelf.lock().len(), shelf.memory.taken());
            Contents { entries, bytes: memory_bytes + shelf.disk.taken(), memory_bytes }
        })
    }

    /// What there was no room for since it was opened.
    #[must_use]
    pub fn given_up(&self) -> GivenUp {
        self.shelf.as_ref().map_or_else(GivenUp::default, |shelf| {
            let [entries, total, free] = &shelf.given_up;
            let [entries, total, free] = [entries, total, free].map(|count| count.load(Ordering::Relaxed));
            GivenUp { entries, total, free }
        })
    }

    /// Lets go of what may not be found any more, so that a daemon that nobody asks for anything does not hold it. May wait for
    /// the disk, which has files to close.
    pub fn tidy(&self) {
        if let Some(shelf) = &self.shelf {
            let gone: Vec<Slot> = shelf.expired(&mut shelf.lock(), Instant::now()).collect();
            drop(gone);
        }
    }

    /// Lets every entry go; says how many there were. Who reads one, or writes it, goes on.
    pub fn clear(&self) -> usize {
        let gone = self.shelf.as_ref().map(|shelf| std::mem::take(&mut *shelf.lock()));
        gone.map_or(0, |gone| gone.len())
    }
}

impl Slot {
    fn may_be_found(&self, now: Instant, settings: &Settings) -> bool {
        let life = if self.reads > 1 { settings.life } else { settings.single_life.min(settings.life) };
        !self.entry.has_ended() || now < self.made + life
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what may not be found any more. To be dropped behind the lock.
    fn expired(&self, slots: &mut HashMap<Key, Slot>, now: Instant) -> impl Iterator<Item = Slot> {
        slots.extract_if(move |_, slot| !slot.may_be_found(now, &self.settings)).map(|(_, slot)| slot)
    }

    /// A file for an entry; may wait for the disk.
    ///
    /// # Errors
    /// When there can be none.
    fn file(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.settings.folder).or_else(|_| {
            // The folder of a running gateway was removed, or a disk was mounted over it.
            make_folder(&self.settings)?;
            tempfile::tempfile_in(&self.settings.folder)
        })
    }

    /// Makes room at the cost of one entry, if there is one that nobody reads; the room is there when it is dropped, which is
    /// to be done behind the lock. Where there is none, it is the new one that is given up.
    fn give_up(&self, slots: &mut HashMap<Key, Slot>, want: Want) -> Option<Slot> {
        let [entries, total, free] = &self.given_up;
        let count = match want {
            Want::Entries => entries,
            Want::Total => total,
            Want::Free => free,
        };
        count.fetch_add(1, Ordering::Relaxed);
        // One that is in memory alone makes no room on the disk.
        let of_use = |slot: &Slot| match want {
            Want::Entries => true,
            Want::Total | Want::Free => slot.entry.is_on_disk(),
        };
        evict_one(slots, of_use)
    }

    /// Room on disk for some more bytes of an entry that has `filed` there: takes it, making it where it can; `None` where it
    /// cannot. May wait for the disk, and nobody waits for the shelf meanwhile.
    fn reserve(&self, filed: u64, more: u64) -> Option<Share> {
        while !self.is_free_for(filed, more) {
            let gone = self.give_up(&mut self.lock(), Want::Free)?;
            drop(gone);
        }
        loop {
            if let Some(share) = self.disk.take(more) {
                return Some(share);
            }
            let gone = self.give_up(&mut self.lock(), Want::Total)?;
            drop(gone);
        }
    }

    /// The same, at nobody's cost.
    fn spare(&self, filed: u64, more: u64) -> Option<Share> {
        if self.is_free_for(filed, more) { self.disk.take(more) } else { None }
    }

    /// Whether the disk has room for that, looked at now and then.
    fn is_free_for(&self, filed: u64, more: u64) -> bool {
        /// How often, in bytes of one file.
        const LOOK: u64 = 16 << 20;
        (filed != 0 && filed / LOOK == (filed + more) / LOOK) || self.is_free()
    }

    fn is_free(&self) -> bool {
        match rustix::fs::statvfs(&self.settings.folder) {
            Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize) >= self.settings.free,
            // Writing will tell.
            Err(_) => true,
        }
    }

    /// Takes an entry out of the shelf; its readers keep it.
    fn remove(&self, key: Key, entry: &Arc<Entry>) {
        let mut slots = self.lock();
        if slots.get(&key).is_some_and(|slot| Arc::ptr_eq(&slot.entry, entry)) {
            slots.remove(&key);
        }
    }
}

/// Takes out the whole entry without readers that was asked for least recently, of those that are of use.
fn evict_one(slots: &mut HashMap<Key, Slot>, of_use: impl Fn(&Slot) -> bool) -> Option<Slot> {
    let idle = |slot: &Slot| slot.entry.has_ended() && slot.entry.readers() == 0;
    let idle = slots.iter().filter(|(_, slot)| idle(slot) && of_use(slot));
    let key = idle.min_by_key(|(_, slot)| slot.last).map(|(key, _)| *key)?;
    slots.remove(&key)
}

/// Closed to everybody else: responses hold what only some keys may fetch.
fn make_folder(settings: &Settings) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(&settings.folder)
}

#[cfg(test)]
mod tests;
