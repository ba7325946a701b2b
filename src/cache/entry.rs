//! One entry: a file that grows, and, once no more can be kept, a short window of what comes after.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::io::ReadWriteFlags;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::buffers::{self, Buffers};

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
    file: Option<File>,
    state: Mutex<State>,
    /// For readers: more bytes, or the end.
    pub(super) news: Notify,
    /// For the writer: a reader went on, or left.
    pub(super) moved: Notify,
    used: Arc<AtomicU64>,
    buffers: Buffers,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes in the file.
    stored: u64,
    /// Whether the file takes no more, and the window has taken over.
    passing: bool,
    /// What came after the file's last byte and is still to be read.
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

/// What a reader finds at its offset.
#[derive(Debug)]
pub(super) enum Look {
    /// This many bytes in the file.
    File(usize),
    /// These.
    Piece(Bytes),
    /// Nothing yet.
    Wait,
    /// Nothing more.
    Over,
    /// Nothing more, and it is not whole; or the reader was too slow.
    Lost,
}

impl State {
    fn window_bytes(&self) -> usize {
        self.window.iter().map(Bytes::len).sum()
    }

    fn length(&self) -> u64 {
        if self.passing { self.window_start + self.window_bytes() as u64 } else { self.stored }
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
    pub(super) fn new(file: Option<File>, used: Arc<AtomicU64>, buffers: Buffers) -> Self {
        Self { file, state: Mutex::default(), news: Notify::new(), moved: Notify::new(), used, buffers }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
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
        if offset < state.stored {
            // At most PIECE, which is a usize everywhere.
            return Look::File(usize::try_from((state.stored - offset).min(PIECE)).unwrap_or(0));
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

    /// Bytes of the file; may wait for the disk.
    pub(super) fn read(&self, offset: u64, length: usize) -> std::io::Result<Bytes> {
        let mut buffer = self.buffers.take();
        let room = buffer.room(length);
        let length = room.len();
        self.file()?.read_exact_at(room, offset)?;
        Ok(buffer.filled(length))
    }

    /// Bytes of the file, as many of these as are in memory; `None` when the disk would have to be waited for, or when this
    /// file system cannot tell.
    pub(super) fn read_now(&self, offset: u64, length: usize) -> Option<Bytes> {
        let mut buffer = self.buffers.take();
        let pieces = &mut [IoSliceMut::new(buffer.room(length))];
        match rustix::io::preadv2(self.file.as_ref()?, pieces, offset, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(_) => None,
            Ok(read) => Some(buffer.filled(read)),
        }
    }

    /// Writes bytes at the end of the file, without showing them yet; may wait for the disk.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.file()?.write_all_at(bytes, offset)
    }

    fn file(&self) -> std::io::Result<&File> {
        self.file.as_ref().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    /// How many bytes the file has, while it takes more.
    pub(super) fn stored(&self) -> Option<u64> {
        let state = self.lock();
        (self.file.is_some() && !state.passing).then_some(state.stored)
    }

    /// Bytes were written to the file and paid for: readers may have them.
    pub(super) fn show(&self, more: u64) {
        self.lock().stored += more;
        self.news.notify_waiters();
    }

    /// From now on nothing more is kept.
    pub(super) fn pass_on(&self) {
        let mut state = self.lock();
        state.passing = true;
        state.window_start = state.stored;
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

    /// Bytes so far, kept or passed on.
    pub(super) fn length(&self) -> u64 {
        self.lock().length()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let stored = self.lock().stored;
        self.used.fetch_sub(stored, Ordering::AcqRel);
    }
}
