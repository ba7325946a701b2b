//! Doing everything in a journal again: what the registry holds, in memory.
//!
//! Three threads hand on: one reads and checks the chain, one parses, this one applies the rules. A million keys take
//! seconds, and everybody waits for them at the start after a crash.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};

use super::super::change::CommitError;
use super::super::overlay::Overlay;
use super::super::rules::{Draft, View};
use super::super::snapshot::{self, Piece};
use super::super::state::State;
use super::entry::Entry;
use super::walk::{self, End, Fault, Kind, Passing};

/// How many bytes of lines are handed on together, at least.
const BATCH: usize = 256 * 1024;
/// How many batches may wait between two threads.
const WAITING: usize = 4;

/// A line that was read.
struct Line {
    kind: Kind,
    offset: u64,
    seq: u64,
    bytes: Vec<u8>,
}

/// What it says.
enum Said {
    Piece(Box<Piece>),
    Entry(Box<Entry>),
}

impl Line {
    fn damaged(&self, what: String) -> Fault {
        Fault::Damaged { offset: self.offset, seq: self.seq.saturating_sub(1), what }
    }

    fn parse(&self) -> Result<Said, Fault> {
        match self.kind {
            Kind::Piece => serde_json::from_slice(&self.bytes).map(|piece| Said::Piece(Box::new(piece))),
            Kind::Entry => serde_json::from_slice(&self.bytes).map(|entry| Said::Entry(Box::new(entry))),
        }
        .map_err(|error| self.damaged(error.to_string()))
    }
}

/// What a journal comes to, and how it ends.
pub(in super::super) fn replay<R: io::Read + io::Seek + Send>(source: R) -> Result<(State, End), Fault> {
    std::thread::scope(|scope| {
        let (send_lines, lines) = mpsc::sync_channel(WAITING);
        let (send_said, said) = mpsc::sync_channel(WAITING);
        let walker = scope.spawn(move || read(source, &send_lines));
        let parser = scope.spawn(move || parse(&lines, &send_said));
        // A fault that is found later down the line is one of an earlier place.
        let applied = apply(said);
        let parsed = joined(parser.join());
        let walked = joined(walker.join());
        let state = applied?;
        parsed??;
        Ok((state, walked??))
    })
}

fn joined<T>(outcome: std::thread::Result<T>) -> Result<T, Fault> {
    outcome.map_err(|_| Fault::Io(io::Error::other("the reading of the journal ended in a panic")))
}

/// The next thread stopped at a fault, which is what counts.
fn stopped() -> Fault {
    Fault::Io(io::Error::other("the reading of the journal was given up"))
}

fn read<R: io::Read + io::Seek>(source: R, lines: &SyncSender<Vec<Line>>) -> Result<End, Fault> {
    let (mut batch, mut size) = (Vec::new(), 0);
    let end = walk::walk(source, |passing: &Passing<'_>| {
        let Passing { kind, offset, seq, line } = *passing;
        size += line.len();
        batch.push(Line { kind, offset, seq, bytes: line.to_vec() });
        if size >= BATCH {
            size = 0;
            return lines.send(std::mem::take(&mut batch)).map_err(|_| stopped());
        }
        Ok(())
    });
    // Also after a fault: what stands before it is parsed, and may have a fault that comes first.
    lines.send(batch).map_err(|_| stopped())?;
    end
}

type Parsed = Vec<(Line, Said)>;

fn parse(lines: &Receiver<Vec<Line>>, said: &SyncSender<Parsed>) -> Result<(), Fault> {
    for batch in lines {
        let mut parsed = Vec::with_capacity(batch.len());
        let mut fault = Ok(());
        for mut line in batch {
            match line.parse() {
                Ok(what) => {
                    line.bytes = Vec::new();
                    parsed.push((line, what));
                }
                Err(found) => {
                    fault = Err(found);
                    break;
                }
            }
        }
        if said.send(parsed).is_err() {
            return Err(stopped());
        }
        fault?;
    }
    Ok(())
}

fn apply(said: Receiver<Parsed>) -> Result<State, Fault> {
    let mut state = State::default();
    // What the entries of a transaction come to whose last one was not reached yet. If it never is, nothing of it happened.
    let mut begun = Overlay::default();
    for (line, what) in said.into_iter().flatten() {
        match what {
            Said::Piece(piece) => snapshot::put(&mut state, *piece),
            Said::Entry(entry) => {
                let over = redo(&state, begun, &entry).map_err(|error| line.damaged(error.to_string()))?;
                begun = match entry.more {
                    true => over,
                    false => {
                        state.apply(over);
                        Overlay::default()
                    }
                };
            }
        }
    }
    Ok(state)
}

/// An entry was checked when it was written; that it breaks a rule now says that the journal is not what was written.
pub(in super::super) fn redo(under: &dyn View, begun: Overlay, entry: &Entry) -> Result<Overlay, CommitError> {
    let mut draft = Draft::over(under, begun);
    for change in &entry.changes {
        draft.apply(change, &entry.by, entry.time)?;
    }
    Ok(draft.into_overlay())
}
