//! The thread that writes records, and the queue before it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use super::chain::Chain;
use super::counters::{Counters, Lost};
use super::journald::Journal;
use super::strangers::Strangers;
use super::{PATIENCE, QUEUE, Record, line};
pub(super) use hand::Disk;
use hand::Hand;
use owed::Owed;

mod hand;
mod owed;

/// How often somebody who waits for a place in the queue looks again.
const LOOK: Duration = Duration::from_millis(1);

/// How many wait for a place at a time, each on a thread of its own (`cli::serve::runtime`).
const WAITERS: usize = 100;

/// What waits in the queue.
enum Item {
    Line(String),
    /// A record that gets its place in the chain when its turn comes.
    Link(Box<Record>),
    /// What comes behind it is gone on with in this chain.
    Chain(Box<Chain>),
    /// The chain is signed up to here and given back. Answered when another process can go on with it.
    Unchain(SyncSender<()>),
    /// The chain is signed up to here, and what was only counted is told.
    Checkpoint,
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
    /// What comes behind it goes to the file that has the name by now. Answered when that is open, or cannot be opened.
    Reopen(SyncSender<io::Result<()>>),
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<SyncSender<Item>>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
    /// Who has a record and finds none of these is told at once that there is no place.
    waiters: Semaphore,
    path: PathBuf,
    counters: Counters,
}

impl Writer {
    /// Opens the file, and starts the thread, which also tells what was not handed on because of strangers.
    pub(super) fn open(path: &Path, strangers: Arc<Strangers>, counters: Counters) -> io::Result<Self> {
        let path = path.to_owned();
        let file = path.clone();
        let open = move || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&file);
        let mut writer = Self::over(open, strangers, QUEUE, PATIENCE, counters)?;
        writer.path = path;
        Ok(writer)
    }

    /// The same to standard output. Commands that work without the process write to the file, and so its name is known.
    pub(super) fn to_stdout(path: &Path, strangers: Arc<Strangers>, counters: Counters) -> io::Result<Self> {
        let mut writer = Self::over(|| Ok(io::stdout()), strangers, QUEUE, PATIENCE, counters)?;
        writer.path = path.to_owned();
        Ok(writer)
    }

    /// The same to the journal that listens at `socket`.
    pub(super) fn to_journal(
        path: &Path,
        socket: &Path,
        strangers: Arc<Strangers>,
        counters: Counters,
    ) -> io::Result<Self> {
        let socket = socket.to_owned();
        let mut writer = Self::over(move || Journal::open(&socket), strangers, QUEUE, PATIENCE, counters)?;
        writer.path = path.to_owned();
        Ok(writer)
    }

    fn over<W: Disk + Send + 'static>(
        open: impl Fn() -> io::Result<W> + Send + 'static,
        strangers: Arc<Strangers>,
        queue: usize,
        patience: Duration,
        counters: Counters,
    ) -> io::Result<Self> {
        let (send, items) = mpsc::sync_channel(queue);
        let file = open()?;
        let torn = file.is_torn();
        let hand = Hand {
            file,
            open,
            strangers,
            counters: counters.clone(),
            torn,
            chain: None,
            unsettled: false,
            owed: Owed::default(),
        };
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || hand.run(&items))?;
        Ok(Self {
            queue: Some(send),
            thread: Some(thread),
            patience,
            waiters: Semaphore::const_new(WAITERS),
            path: PathBuf::new(),
            counters,
        })
    }

    /// The file's name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has what comes from now on gone on with in this chain. `false`: there is nobody to do so.
    pub(super) fn chain(&self, chain: Chain) -> bool {
        self.offer(Item::Chain(Box::new(chain)), Duration::MAX).is_none()
    }

    /// Waits until the chain was signed and given back.
    pub(super) fn unchain(&self) {
        let (done, given) = mpsc::sync_channel(1);
        if self.offer(Item::Unchain(done), Duration::MAX).is_some() || given.recv().is_err() {
            tracing::error!("the writer of audit records is gone");
        }
    }

    /// Hands on a record that has its place in the chain, as [`Writer::put`] does.
    pub(super) fn link(&self, record: Record) {
        if let Some(line) = self.offer(Item::Link(Box::new(record)), self.patience) {
            self.counters.lose(Lost::Queue);
            tracing::error!(record = %line, "an audit record cannot be written in time: the disk does not keep up");
        }
    }

    /// Has the chain signed.
    pub(super) fn checkpoint(&self) {
        if self.offer(Item::Checkpoint, self.patience).is_some() {
            tracing::warn!("the chain of audit records cannot be signed now: the disk does not keep up");
        }
    }

    /// Hands on a line; waits a little for a place in the queue, and then says the line in the log instead.
    pub(super) fn put(&self, line: String) {
        if let Some(line) = self.offer(Item::Line(line), self.patience) {
            self.counters.lose(Lost::Queue);
            tracing::error!(record = %line, "an audit record cannot be written in time: the disk does not keep up");
        }
    }

    /// Waits until everything before is written.
    pub(super) fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        // However long that takes: whoever asks wants to know.
        let gone = self.offer(Item::Flush(done), Duration::MAX).is_some() || written.recv().is_err();
        if gone {
            tracing::error!("the writer of audit records is gone");
        }
    }

    /// Waits until what comes from now on goes to the file that has the name by now.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let (done, opened) = mpsc::sync_channel(1);
        let lost = || io::Error::other("the writer of audit records is gone");
        if self.offer(Item::Reopen(done), Duration::MAX).is_some() {
            return Err(lost());
        }
        opened.recv().map_err(|_| lost())?
    }

    /// Puts an item into the queue. A line for which there was no place in time comes back.
    fn offer(&self, item: Item, patience: Duration) -> Option<String> {
        let told = |item| match item {
            Item::Line(line) => line,
            Item::Link(record) => line(&record).unwrap_or_default(),
            Item::Flush(_) | Item::Unchain(_) | Item::Reopen(_) | Item::Chain(_) | Item::Checkpoint => String::new(),
        };
        let Some(queue) = &self.queue else { return Some(told(item)) };
        let mut item = match queue.try_send(item) {
            Ok(()) => return None,
            Err(TrySendError::Disconnected(back)) => return Some(told(back)),
            Err(TrySendError::Full(back)) => back,
        };
        let one = self.waiters.try_acquire();
        if one.is_err() && patience < Duration::MAX {
            return Some(told(item));
        }
        waiting(|| {
            let start = Instant::now();
            while start.elapsed() < patience {
                std::thread::sleep(LOOK);
                match queue.try_send(item) {
                    Ok(()) => return None,
                    Err(TrySendError::Disconnected(back)) => return Some(told(back)),
                    Err(TrySendError::Full(back)) => item = back,
                }
            }
            Some(told(item))
        })
    }
}

/// Waits, wherever that is. On a thread of a runtime that has more of them, the others that wait for this one are brought elsewhere
/// first: a disk that does not keep up must not stop those who have no record to write.
fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer of audit records ended in a panic");
        }
    }
}

/// Writes whole lines. A line that is cut, as by a full disk, does not swallow the one behind it. Says whether all was written; what
/// was not is in the log.
fn write(file: &mut impl Write, text: &str, torn: &mut bool, counters: &Counters) -> bool {
    let Err((whole, error)) = append(file, text, torn) else { return true };
    for line in text.get(whole..).unwrap_or_default().lines() {
        counters.lose(Lost::Disk);
        tracing::error!(%error, record = %line, "an audit record cannot be written");
    }
    false
}

/// The same, without a word to the log. On an error, how many bytes of whole lines are there.
fn append(file: &mut impl Write, text: &str, torn: &mut bool) -> Result<(), (usize, io::Error)> {
    let mut rest = text.as_bytes();
    if *torn && !rest.is_empty() && file.write_all(b"\n").is_ok() {
        *torn = false;
    }
    // One write for whole lines: those of processes that append to one file do not mix.
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(size @ 1..) => rest = rest.get(size..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            stopped => {
                let error = stopped.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                let written = text.len() - rest.len();
                let whole = text.get(..written).map_or(0, |done| done.rfind('\n').map_or(0, |end| end + 1));
                *torn |= whole < written;
                return Err((whole, error));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
