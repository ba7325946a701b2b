//! One entry: pieces in memory, behind them a file that grows, and, once no more can be kept, a short window of what comes after.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use rustix::io::ReadWriteFlags;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::buffers::{self, Buffers};
use super::pieces::Pieces;
use super::share::Share;

/// How far the writer of what is not kept may be ahead of its slowest reader, in bytes.
const WINDOW: usize = 1 << 20;
/// The largest piece that is read from the file at once, in bytes.
const PIECE: u64 = buffers::SIZE as u64;

/// How an entry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All of it is there.
    Whole,
    /// Its writer gave up.
    Broken,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// Made when the first byte goes there.
    file: OnceLock<File>,
    state: Mutex<State>,
    /// For readers: more bytes, or the end.
    pub(super) news: Notify,
    /// For the writer: a reader went on, or left.
    pub(super) moved: Notify,
    buffers: Buffers,
}

#[derive(Debug)]
struct State {
    /// The first part. It takes no more once the file has begun.
    memory: Pieces,
    /// The part in the file, which comes after that. What it has taken of the disk is what it is long.
    filed: Share,
    /// Whether no more is kept, and the window has taken over.
    passing: bool,
    /// What came after the last byte that is kept and is still to be read.
    window: VecDeque<Bytes>,
    /// The offset of the window's first byte.
    window_start: u64,
    end: Option<End>,
    /// Each reader's number and offset.
    readers: BTreeMap<u64, u64>,
    next_reader: u64,
    /// Since when nobody has read it.
    idle_since: Option<Instant>,
}

/// How much of an entry is kept, and where, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) memory: u64,
    pub(super) file: u64,
}

/// What a reader finds at its offset.
#[derive(Debug)]
pub(super) enum Look {
    /// This many bytes in the file, at this offset of it.
    File { at: u64, length: usize },
    /// These.
    Piece(Bytes),
    /// Nothing yet.
    Wait,
    /// Nothing more.
    Over,
    /// Nothing more, and it is not whole; or the reader was too slow.
    Lost,
}

impl Stored {
    pub(super) fn all(self) -> u64 {
        self.memory + self.file
    }
}

impl State {
    fn stored(&self) -> Stored {
        Stored { memory: self.memory.length(), file: self.filed.bytes() }
    }

    fn window_bytes(&self) -> usize {
        self.window.iter().map(Bytes::len).sum()
    }

    /// Drops what every reader has behind it.
    fn trim(&mut self) {
        let slowest = self.readers.values().copied().min();
        while let Some(piece) = self.window.front() {
            let after = self.window_start + piece.len() as u64;
            if slowest.is_some_and(|offset| offset < after) {
                break;
            }
            self.window_start = after;
            self.window.pop_front();
        }
    }
}

impl Entry {
    /// One of which nothing is there yet: nothing of what memory holds, and nothing of what the disk does.
    pub(super) fn new(memory: Share, filed: Share, buffers: Buffers) -> Self {
        let state = Mutex::new(State {
            memory: Pieces::new(memory),
            filed,
            passing: false,
            window: VecDeque::new(),
            window_start: 0,
            end: None,
            readers: BTreeMap::new(),
            next_reader: 0,
            idle_since: None,
        });
        Self { file: OnceLock::new(), state, news: Notify::new(), moved: Notify::new(), buffers }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Whether some of it is in its file.
    pub(super) fn is_on_disk(&self) -> bool {
        self.lock().filed.bytes() > 0
    }

    #[cfg(test)]
    pub(super) fn has_file(&self) -> bool {
        self.file.get().is_some()
    }

    pub(super) fn readers(&self) -> usize {
        self.lock().readers.len()
    }

    /// Since when nobody has read it.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.lock().idle_since
    }

    /// A new reader's number, and whether the entry is whole.
    pub(super) fn enter(&self) -> (u64, bool) {
        let mut state = self.lock();
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, 0);
        state.idle_since = None;
        (id, state.end == Some(End::Whole))
    }

    pub(super) fn leave(&self, id: u64) {
        let mut state = self.lock();
        state.readers.remove(&id);
        if state.readers.is_empty() {
            state.idle_since = Some(Instant::now());
        }
        state.trim();
        drop(state);
        self.moved.notify_one();
    }

    pub(super) fn look(&self, id: u64, offset: u64) -> Look {
        let state = self.lock();
        if !state.readers.contains_key(&id) {
            return Look::Lost;
        }
        if let Some(bytes) = state.memory.at(offset) {
            return Look::Piece(bytes);
        }
        let stored = state.stored();
        if offset < stored.all() {
            let at = offset.saturating_sub(stored.memory);
            // At most PIECE, which is a usize everywhere.
            return Look::File { at, length: usize::try_from((stored.file - at).min(PIECE)).unwrap_or(0) };
        }
        let mut start = state.window_start;
        for piece in &state.window {
            if start == offset {
                return Look::Piece(piece.clone());
            }
            start += piece.len() as u64;
        }
        match state.end {
            None => Look::Wait,
            Some(End::Whole) => Look::Over,
            Some(End::Broken) => Look::Lost,
        }
    }

    /// A reader has taken everything before this offset.
    pub(super) fn advance(&self, id: u64, offset: u64) {
        let mut state = self.lock();
        if let Some(at) = state.readers.get_mut(&id) {
            *at = offset;
        }
        if state.passing {
            state.trim();
            drop(state);
            self.moved.notify_one();
        }
    }

    /// Bytes of the file, at an offset of it; may wait for the disk.
    pub(super) fn read(&self, at: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = self.buffers.take();
        let room = buffer.room(length);
        let length = room.len();
        self.file.get().ok_or(io::ErrorKind::NotFound)?.read_exact_at(room, at)?;
        Ok(buffer.filled(length))
    }

    /// Bytes of the file, as many of these as are in the page cache; `None` when the disk would have to be waited for, or when
    /// this file system cannot tell.
    pub(super) fn read_now(&self, at: u64, length: usize) -> Option<Bytes> {
        let mut buffer = self.buffers.take();
        let pieces = &mut [IoSliceMut::new(buffer.room(length))];
        match rustix::io::preadv2(self.file.get()?, pieces, at, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(_) => None,
            Ok(read) => Some(buffer.filled(read)),
        }
    }

    /// Writes bytes at this offset of the file, its end, without showing them yet; may wait for the disk. Only the one writer of
    /// the entry does, and has the file made when there is none.
    pub(super) fn write(&self, make: impl FnOnce() -> io::Result<File>, at: u64, bytes: &[u8]) -> io::Result<()> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let made = make()?;
                self.file.get_or_init(|| made)
            }
        };
        file.write_all_at(bytes, at)
    }

    /// How much is kept so far, while more may be.
    pub(super) fn stored(&self) -> Option<Stored> {
        let state = self.lock();
        (!state.passing).then(|| state.stored())
    }

    /// Takes bytes into memory, for which room was taken: readers may have them.
    pub(super) fn hold(&self, bytes: &[u8], room: Share) {
        let own = Bytes::copy_from_slice(bytes);
        self.lock().memory.push(own, room);
        self.news.notify_waiters();
    }

    /// Bytes were written to the file, for which room was taken: readers may have them.
    pub(super) fn show(&self, room: Share) {
        self.lock().filed.join(room);
        self.news.notify_waiters();
    }

    /// From now on nothing more is kept.
    pub(super) fn pass_on(&self) {
        let mut state = self.lock();
        state.passing = true;
        state.window_start = state.stored().all();
    }

    /// Puts bytes into the window; gives them back when there is no room, unless it is empty.
    pub(super) fn push(&self, bytes: Bytes) -> Result<(), Bytes> {
        let mut state = self.lock();
        if !state.window.is_empty() && state.window_bytes() + bytes.len() > WINDOW {
            return Err(bytes);
        }
        state.window.push_back(bytes);
        drop(state);
        self.news.notify_waiters();
        Ok(())
    }

    /// Cuts the readers off that are farthest behind, if others are ahead of them.
    pub(super) fn cut_slowest(&self) {
        let mut state = self.lock();
        let slowest = state.readers.values().copied().min();
        if state.readers.values().copied().max() > slowest {
            state.readers.retain(|_, offset| Some(*offset) > slowest);
            state.trim();
        }
        drop(state);
        self.news.notify_waiters();
    }

    /// No more comes.
    pub(super) fn end(&self, end: End) {
        self.lock().end = Some(end);
        self.news.notify_waiters();
    }
}
