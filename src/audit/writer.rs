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

use super::chain::Chain;
use super::counters::{Counters, Lost};
use super::journald::Journal;
use super::strangers::Strangers;
use super::{PATIENCE, QUEUE, Record, line};
pub(super) use hand::Disk;
use hand::Hand;

mod hand;

/// How often somebody who waits for a place in the queue looks again.
const LOOK: Duration = Duration::from_millis(1);

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
        let hand = Hand { file, open, strangers, counters: counters.clone(), torn, chain: None, unsettled: false };
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || hand.run(&items))?;
        Ok(Self { queue: Some(send), thread: Some(thread), patience, path: PathBuf::new(), counters })
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

/// Writes whole lines. A line that is cut, as by a full disk, does not swallow the one behind it. Says
/// whether all of it is written.
fn write(file: &mut impl Write, text: &str, torn: &mut bool, counters: &Counters) -> bool {
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
                for line in text.get(whole..).unwrap_or_default().lines() {
                    counters.lose(Lost::Disk);
                    tracing::error!(%error, record = %line, "an audit record cannot be written");
                }
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::audit::strangers::Settings;

    fn nobody() -> Arc<Strangers> {
        Arc::new(Strangers::new(Settings::default()))
    }

    /// A disk that stands still, is full after some bytes, and keeps what it was given.
    #[derive(Clone, Default)]
    struct Disk {
        stands: Arc<Mutex<()>>,
        room: Arc<Mutex<Option<usize>>>,
        kept: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _moving = self.stands.lock().unwrap();
            let mut room = self.room.lock().unwrap();
            let size = room.map_or(bytes.len(), |room| room.min(bytes.len()));
            if size == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room = room.map(|room| room - size);
            self.kept.lock().unwrap().extend(&bytes[..size]);
            Ok(size)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl super::Disk for Disk {
        fn place(&self) -> Option<crate::audit::chain::Place> {
            None
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn is_torn(&self) -> bool {
            false
        }
    }

    impl Disk {
        fn text(&self) -> String {
            String::from_utf8(self.kept.lock().unwrap().clone()).unwrap()
        }
    }

    fn opens(disk: &Disk) -> impl Fn() -> io::Result<Disk> + Send + 'static {
        let disk = disk.clone();
        move || Ok(disk.clone())
    }

    #[test]
    fn a_file_that_was_moved_away_is_left_and_none_of_its_records_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("audit.jsonl"), dir.path().join("audit.jsonl.1"));
        let writer = Writer::open(&path, nobody(), Counters::default()).unwrap();
        (0..100).for_each(|number| writer.put(number.to_string()));
        std::fs::rename(&path, &moved).unwrap();
        (100..200).for_each(|number| writer.put(number.to_string()));
        writer.reopen().unwrap();
        (200..300).for_each(|number| writer.put(number.to_string()));
        writer.flush();
        let lines = |range: std::ops::Range<u32>| range.map(|number| format!("{number}\n")).collect::<String>();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), lines(0..200));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(200..300));
        // Where there can be no new one, the old one goes on.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(writer.reopen().is_err());
        writer.put("more".to_owned());
        writer.flush();
    }

    #[test]
    fn all_is_written_in_order_before_the_end() {
        let disk = Disk::default();
        let writer = Writer::over(opens(&disk), nobody(), 8, Duration::from_secs(60), Counters::default()).unwrap();
        (0..1000).for_each(|number| writer.put(number.to_string()));
        drop(writer);
        let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(disk.text(), expected);
    }

    #[test]
    fn a_disk_that_stands_still_costs_a_moment_and_no_record_in_silence() {
        let disk = Disk::default();
        let writer = Writer::over(opens(&disk), nobody(), 4, Duration::from_millis(20), Counters::default()).unwrap();
        let stands = disk.stands.lock().unwrap();
        let start = Instant::now();
        let refused: Vec<_> = (10..50)
            .filter_map(|number: u32| writer.offer(Item::Line(number.to_string()), Duration::from_millis(20)))
            .collect();
        assert!(start.elapsed() < Duration::from_secs(10), "nobody hangs");
        // A few are in the thread's hands, four are queued; who got no place has the record to tell it elsewhere.
        assert!(refused.len() > 10, "{refused:?}");
        drop(stands);
        writer.flush();
        let mut all: Vec<String> = disk.text().lines().map(str::to_owned).chain(refused).collect();
        all.sort();
        assert_eq!(all, (10..50).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn who_waits_for_a_disk_holds_nobody_else_up() {
        let disk = Disk::default();
        let patience = Duration::from_secs(600);
        let writer = Writer::over(opens(&disk), nobody(), 1, patience, Counters::default()).unwrap();
        let writer = Arc::new(writer);
        let stands = disk.stands.lock().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let (began, begun) = mpsc::channel();
        for number in 0..6 {
            let (writer, began) = (Arc::clone(&writer), began.clone());
            drop(runtime.spawn(async move {
                began.send(()).unwrap();
                writer.put(number.to_string());
            }));
        }
        let soon = Duration::from_secs(20);
        let waits = (0..6).all(|_| begun.recv_timeout(soon).is_ok());
        let (served, serves) = mpsc::channel();
        drop(runtime.spawn(async move { served.send(()).unwrap() }));
        let heard = serves.recv_timeout(soon);
        drop(stands);
        assert!(waits, "each has its thread to wait on");
        heard.expect("somebody without a record is served");
        runtime.shutdown_timeout(soon);
        writer.flush();
        assert_eq!(disk.text().lines().count(), 6);
    }

    #[test]
    fn a_line_that_was_cut_does_not_swallow_the_next() {
        let disk = Disk::default();
        let writer = Writer::over(opens(&disk), nobody(), 8, Duration::from_secs(60), Counters::default()).unwrap();
        writer.put("whole".to_owned());
        writer.flush();
        *disk.room.lock().unwrap() = Some(3);
        writer.put("broken".to_owned());
        writer.flush();
        *disk.room.lock().unwrap() = None;
        writer.put("after".to_owned());
        writer.flush();
        assert_eq!(disk.text(), "whole\nbro\nafter\n");
    }
}
