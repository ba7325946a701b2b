//! One git at work on one question, for all who ask it.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::frames::{NotAnAnswer, OneAnswer};
use crate::audit::Ended;
use crate::cache::Writer;
use crate::git::child::Ready;
use crate::git::pump::{Complaint, Exit, PIECE, exit_of};
use crate::git::slots::Place;

/// How long lines are gathered before those who wait get them, and how many bytes of them: each handing over goes to the disk
/// and wakes everybody, which with fifty who wait costs more than the bytes do.
const GATHER: Duration = Duration::from_millis(5);
const GATHERED: usize = PIECE / 2;

/// The flush that ends an answer.
const FLUSH: &[u8] = b"0000";

/// Why a git's work was for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error("git cannot be started")]
    Start,
    #[error("no slot was free in time")]
    Busy,
    #[error("git cannot be written to or read from")]
    Pipe,
    #[error("what git said is not one answer")]
    NotAnAnswer,
    #[error("git ended with status {0}")]
    Status(u32),
    #[error("nobody waits for it any more")]
    Abandoned,
    #[error("it took too long")]
    TooLong,
}

/// What is to be made, once there is a slot for it.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) ready: Ready,
    pub(super) place: Place,
    pub(super) question: Bytes,
    pub(super) writer: Writer,
    /// How long it may wait for its slot, and how long it may then take.
    pub(super) patience: Duration,
    pub(super) total: Duration,
}

/// Lets git answer, and writes the answer down as it comes. The entry is whole only when git ended well; its last flush is
/// held back until that is known.
pub(super) async fn produce(work: Work) {
    match done(work).await {
        Ok(()) => {}
        // Dropping the writer told the readers, and dropping the child ended it.
        Err(Failure::Abandoned) => tracing::debug!("a git was ended: nobody waits for its answer any more"),
        Err(failure) => tracing::warn!(%failure, "an answer for several could not be produced"),
    }
}

async fn done(work: Work) -> Result<(), Failure> {
    // The place is the first to go: whoever hears from the writer that nothing comes may ask for the same at once.
    let Work { ready, question, mut writer, patience, total, mut place } = work;
    let slot = tokio::select! {
        slot = place.granted() => slot.ok_or(Failure::Busy)?,
        () = tokio::time::sleep(patience) => return Err(Failure::Busy),
        () = writer.abandoned() => return Err(Failure::Abandoned),
    };
    let end = Instant::now() + total;
    let mut child = ready.start_on(&question).map_err(|error| {
        tracing::error!(%error, "git cannot be started");
        Failure::Start
    })?;
    let mut complaint = Complaint::default();
    let mut stdin = child.stdin.take().ok_or(Failure::Pipe)?;
    // git reads all of a question before it answers.
    tokio::select! {
        written = stdin.write_all(&question) => written.map_err(|_| Failure::Pipe)?,
        () = tokio::time::sleep_until(end) => return Err(Failure::TooLong),
    }
    drop(stdin);
    let (mut answer, mut due, mut over) = (OneAnswer::default(), None, false);
    while !over {
        let buffer = answer.buffer();
        if buffer.capacity() - buffer.len() < PIECE / 2 {
            buffer.reserve(PIECE);
        }
        tokio::select! {
            read = child.stdout.read_buf(buffer) => {
                over = read.map_err(|_| Failure::Pipe)? == 0;
                if !over && answer.buffer().len() < GATHERED {
                    due.get_or_insert_with(|| Instant::now() + GATHER);
                    continue;
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or(end)), if due.is_some() => {}
            more = complaint.read(&mut child.stderr), if !complaint.over => {
                complaint.over = !more;
                continue;
            }
            () = writer.abandoned() => return Err(Failure::Abandoned),
            () = tokio::time::sleep_until(end) => return Err(Failure::TooLong),
        }
        due = None;
        let lines = answer.lines().map_err(|NotAnAnswer| Failure::NotAnAnswer)?;
        tokio::select! {
            written = writer.write(lines) => written.map_err(|_| Failure::Abandoned)?,
            () = tokio::time::sleep_until(end) => return Err(Failure::TooLong),
        }
    }
    let Exit { status, ended, .. } = exit_of(&mut child, &mut complaint).await;
    drop(slot);
    complaint.log();
    if ended != Ended::Served {
        return Err(Failure::Status(status));
    }
    if !answer.is_whole() {
        return Err(Failure::NotAnAnswer);
    }
    writer.write(Bytes::from_static(FLUSH)).await.map_err(|_| Failure::Abandoned)?;
    writer.finish();
    Ok(())
}
