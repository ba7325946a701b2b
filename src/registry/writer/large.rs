//! A commit that is too large for one entry: several entries in the journal, and one transaction.
//!
//! All of it is checked first. Then it is written part by part, each with a sync of its own; a crash in between leaves parts
//! without a last one, and the next start cuts them off. With the last part everything is durable, and only then anything
//! is in force.

use std::sync::PoisonError;
use std::time::Instant;

use jiff::Timestamp;

use super::{Base, Request, Writer};
use crate::registry::change::{Change, CommitError, Committed, Told, Unavailable};
use crate::registry::journal::entry::{Entry, Hash};
use crate::registry::rules::check;

/// How much goes into one entry, in bytes of JSON, about: what a reader of the journal holds a few of in memory.
const PART: usize = if cfg!(test) { 16 * 1024 } else { 2 * 1024 * 1024 };

impl Writer {
    /// Checks, writes and applies one large commit.
    pub(super) fn commit_large(&mut self, request: Request) {
        let Request { by, changes, size: _, reply } = request;
        let time = Timestamp::now();
        let checked = loop {
            let checked = match &self.base {
                Base::Index(_, reader) => check(reader, &by, &changes, time),
                Base::Replayed(state, _) => {
                    check(&*state.read().unwrap_or_else(PoisonError::into_inner), &by, &changes, time)
                }
            };
            match checked {
                // Checked again, against the journal.
                Err(CommitError::Unavailable(error)) if matches!(self.base, Base::Index(..)) => self.fall_back(&error),
                other => break other,
            }
        };
        let answer = checked.and_then(|(over, effective)| {
            let (changed, before) = (effective.contains(&true), self.journal.seq());
            if changed {
                let effective = changes.into_iter().zip(effective).filter_map(|(change, it)| it.then_some(change));
                self.write_large(&by, effective, time)?;
                self.apply(over);
            }
            let seq = self.journal.seq();
            Ok(Told { committed: Committed { first: seq.min(before + 1), seq, changed }, met: None })
        });
        // Whoever asked may have gone; the change stands.
        drop(reply.send(answer));
    }

    fn write_large(
        &mut self,
        by: &str,
        changes: impl Iterator<Item = Change>,
        time: Timestamp,
    ) -> Result<(), Unavailable> {
        let begin = self.journal.end();
        let mut changes = changes.peekable();
        while changes.peek().is_some() {
            let (mut part, mut size) = (Vec::new(), 0);
            while size < PART
                && let Some(change) = changes.next()
            {
                size += json_length(&change);
                part.push(change);
            }
            let (seq, prev, more) = (self.journal.seq() + 1, self.journal.hash(), changes.peek().is_some());
            let entry = Entry { seq, prev, more, time, by: by.to_owned(), changes: part };
            let written = serde_json::to_vec(&entry)
                .map_err(|error| Unavailable { reason: error.to_string() })
                .and_then(|line| {
                    let start = Instant::now();
                    let written = match more {
                        true => self.journal.append_part(&line, seq, Hash::of(&line)),
                        false => self.journal.append(&line, seq, Hash::of(&line)),
                    };
                    self.reading.meter.appended(start.elapsed(), written.is_ok());
                    written
                });
            if let Err(error) = written {
                self.journal.take_back(begin);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The length of a value as JSON, in bytes, without making it.
#[must_use]
pub fn json_length<T: serde::Serialize + ?Sized>(value: &T) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What cannot be written counts as far too large.
    serde_json::to_writer(&mut count, value).map_or(usize::MAX / 2, |()| count.0)
}
