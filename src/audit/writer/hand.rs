//! What the writing thread does with what comes out of the queue.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::owed::Owed;
use super::{Item, append, write};
use crate::audit::chain::{Chain, Place};
use crate::audit::counters::{Counters, Lost};
use crate::audit::strangers::Strangers;
use crate::audit::{Record, line};

/// How many bytes are gathered for one write, about.
const TOGETHER: usize = 64 * 1024;
/// How many who wait for their records are answered together: they share one sync of the disk.
const ANSWERED: usize = 1024;
/// How often to look whether a checkpoint or a count is due when there is nothing to write.
const TICK: Duration = Duration::from_secs(1);
/// How long records that come behind others are left to come together: waking this thread for each costs whoever hands it on
/// more than the record does.
const GATHER: Duration = Duration::from_millis(2);

/// Something that records are written to.
pub(in crate::audit) trait Disk: Write {
    /// Where its end is, for one that is a file.
    fn place(&self) -> Option<Place>;
    /// Waits until the disk has all of it.
    fn sync(&self) -> io::Result<()>;
    /// Whether it ends in the middle of a line: whoever wrote it was ended so.
    fn is_torn(&self) -> bool;
}

impl Disk for File {
    fn place(&self) -> Option<Place> {
        self.metadata().ok().map(|meta| Place { inode: meta.ino(), end: meta.len() })
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn is_torn(&self) -> bool {
        let mut last = [b'\n'];
        let length = self.metadata().map_or(0, |meta| meta.len());
        // What cannot be read, such as a pipe, is taken as it is.
        length > 0 && self.read_exact_at(&mut last, length - 1).is_ok() && last != [b'\n']
    }
}

impl Disk for io::Stdout {
    fn place(&self) -> Option<Place> {
        None
    }

    fn sync(&self) -> io::Result<()> {
        self.lock().flush()
    }

    fn is_torn(&self) -> bool {
        false
    }
}

/// The thread's own.
pub(super) struct Hand<W, O> {
    pub(super) file: W,
    pub(super) open: O,
    pub(super) strangers: Arc<Strangers>,
    pub(super) counters: Counters,
    pub(super) torn: bool,
    pub(super) chain: Option<Box<Chain>>,
    /// Whether there are links that the disk may not have.
    pub(super) unsettled: bool,
    pub(super) owed: Owed,
}

impl<W: Disk, O: Fn() -> io::Result<W>> Hand<W, O> {
    /// Works until nobody can hand on anything any more.
    pub(super) fn run(mut self, items: &Receiver<Item>) {
        loop {
            match items.recv_timeout(TICK) {
                Ok(first) => {
                    self.batch(first, items);
                    std::thread::sleep(GATHER);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.tend(false);
        }
        self.tend(true);
        self.pay();
        if self.chain.as_ref().is_some_and(|chain| chain.has_news()) {
            self.checkpoint();
        }
        self.settle();
    }

    /// Does what waits, in its order.
    fn batch(&mut self, first: Item, items: &Receiver<Item>) {
        let (mut text, mut waiting, mut next) = (String::new(), Vec::new(), Some(first));
        while let Some(item) = next.take() {
            match item {
                Item::Line(line) => text.extend([line.as_str(), "\n"]),
                Item::Flush(done) => waiting.push(done),
                // Those are rare, and each has its own place.
                Item::Link(record) => {
                    self.put(&mut text);
                    self.link(&record);
                }
                Item::Checkpoint => {
                    self.put(&mut text);
                    self.tend(true);
                    self.checkpoint();
                }
                Item::Reopen(done) => {
                    self.put(&mut text);
                    self.reopen(&done);
                }
                Item::Chain(chain) => self.chain = Some(chain),
                Item::Unchain(done) => {
                    self.put(&mut text);
                    self.unchain(&done);
                }
            }
            if text.len() < TOGETHER && waiting.len() < ANSWERED {
                next = items.try_recv().ok();
            }
        }
        self.put(&mut text);
        if self.owed.is_empty() && self.chain.as_ref().is_some_and(|chain| chain.is_due()) {
            self.checkpoint();
        }
        self.settle();
        if waiting.into_iter().any(|done| done.send(()).is_err()) {
            tracing::debug!("whoever waited for the audit records has gone");
        }
    }

    /// What is due by time.
    fn tend(&mut self, all: bool) {
        for record in self.strangers.suppressed(all) {
            self.counters.count(&record.event);
            match line(&record) {
                Some(line) => self.put(&mut format!("{line}\n")),
                None => continue,
            }
        }
        let is_due = self.chain.as_ref().is_some_and(|chain| chain.is_due());
        if self.owed.is_due() || (self.owed.is_empty() && is_due) {
            self.pay();
            if is_due {
                self.checkpoint();
            }
            self.settle();
        }
    }

    fn put(&mut self, text: &mut String) {
        // What cannot be written was told in the log.
        let has_room = write(&mut self.file, text, &mut self.torn, &self.counters) && !text.is_empty();
        text.clear();
        if has_room && !self.owed.is_empty() {
            self.pay();
        }
    }

    /// Writes the next link of the chain, behind those that are owed. One that cannot be written now is owed too.
    fn link(&mut self, record: &Record) {
        if self.chain.is_none() {
            if let Some(line) = line(record) {
                self.put(&mut format!("{line}\n"));
            }
            return;
        }
        self.pay();
        let failed = if self.owed.is_empty() { self.append(record) } else { Err(io::ErrorKind::StorageFull.into()) };
        if let Err(error) = failed {
            self.counters.lose(Lost::Disk);
            tracing::error!(%error, ?record, "an audit record cannot be written, and is kept until it can");
            self.owed.keep(record);
        }
    }

    /// Writes what is owed, as far as there is room.
    fn pay(&mut self) {
        let mut paid = 0;
        while let Some(record) = self.owed.next() {
            if self.append(&record).is_err() {
                self.owed.give_back(record);
                break;
            }
            paid += 1;
        }
        if paid > 0 {
            tracing::info!(paid, "audit records that could not be written before are there now");
        }
    }

    /// Appends a link to the file.
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let Some(chain) = &mut self.chain else { return Ok(()) };
        match chain.link(record) {
            Ok((line, head)) => {
                append(&mut self.file, &format!("{line}\n"), &mut self.torn).map_err(|(_, error)| error)?;
                chain.wrote(record, head, self.file.place());
                self.unsettled = true;
            }
            Err(error) => {
                self.counters.lose(Lost::Form);
                tracing::error!(%error, ?record, "an audit record cannot be written as JSON");
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self) {
        self.pay();
        // It would sign what is not there yet.
        if let Some(record) = self.chain.as_ref().filter(|_| self.owed.is_empty()).map(|chain| chain.checkpoint()) {
            self.counters.count(&record.event);
            self.link(&record);
        }
    }

    /// Has the disk take the links, then writes down how far the chain goes: what it says is there, is there.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        if let Err(error) = self.file.sync() {
            tracing::error!(%error, "the audit file cannot be synced: a power cut may take the records of the last changes");
        }
        if let Some(chain) = &self.chain {
            chain.remember();
        }
    }

    fn unchain(&mut self, done: &SyncSender<()>) {
        self.tend(true);
        self.pay();
        if self.chain.as_ref().is_some_and(|chain| chain.has_news()) {
            self.checkpoint();
        }
        self.settle();
        // What is owed still, the next process makes of the journal.
        self.owed = Owed::default();
        drop(self.chain.take());
        if done.send(()).is_err() {
            tracing::debug!("whoever waited for the chain of audit records has gone");
        }
    }

    fn reopen(&mut self, done: &SyncSender<io::Result<()>>) {
        self.settle();
        // The old one goes on where the new one cannot be had.
        let opened = (self.open)().map(|new| {
            self.torn = new.is_torn();
            self.file = new;
        });
        if opened.is_ok() && self.chain.is_some() {
            // Each file can be checked by itself then, also when nothing is changed before the next rotation.
            self.checkpoint();
            self.settle();
        }
        if done.send(opened).is_err() {
            tracing::debug!("whoever waited for the audit file has gone");
        }
    }
}
