//! One git at work on one question, for all who ask it.

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::frames::{NotAnAnswer, OneAnswer};
use crate::audit::Ended;
use crate::cache::Writer;
use crate::git::child::Child;
use crate::git::pump::{Complaint, PIECE, exit_of};

/// The flush that ends an answer.
const FLUSH: &[u8] = b"0000";

/// Why a git's work was for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Failure {
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

/// Lets git answer, and writes the answer down as it comes. The entry is whole only when git ended well; its last flush is
/// held back until that is known.
pub(super) async fn produce(child: Child, question: Bytes, writer: Writer, end: Instant) {
    match work(child, question, writer, end).await {
        Ok(()) => {}
        // Dropping the writer told the readers, and dropping the child ended it.
        Err(Failure::Abandoned) => tracing::debug!("a git was ended: nobody waits for its answer any more"),
        Err(failure) => tracing::warn!(%failure, "an answer for several could not be produced"),
    }
}

async fn work(mut child: Child, question: Bytes, mut writer: Writer, end: Instant) -> Result<(), Failure> {
    let mut complaint = Complaint::default();
    let mut stdin = child.stdin.take().ok_or(Failure::Pipe)?;
    // git reads all of a question before it answers.
    tokio::select! {
        written = stdin.write_all(&question) => written.map_err(|_| Failure::Pipe)?,
        () = tokio::time::sleep_until(end) => return Err(Failure::TooLong),
    }
    drop(stdin);
    let mut answer = OneAnswer::default();
    loop {
        let buffer = answer.buffer();
        if buffer.capacity() - buffer.len() < PIECE / 2 {
            buffer.reserve(PIECE);
        }
        let read = tokio::select! {
            read = child.stdout.read_buf(buffer) => read.map_err(|_| Failure::Pipe)?,
            more = complaint.read(&mut child.stderr), if !complaint.over => {
                complaint.over = !more;
                continue;
            }
            () = writer.abandoned() => return Err(Failure::Abandoned),
            () = tokio::time::sleep_until(end) => return Err(Failure::TooLong),
        };
        if read == 0 {
            break;
        }
        let lines = answer.lines().map_err(|NotAnAnswer| Failure::NotAnAnswer)?;
        tokio::select! {
            written = writer.write(lines) => written.map_err(|_| Failure::Abandoned)?,
            () = tokio::time::sleep_until(end) => return Err(Failure::TooLong),
        }
    }
    let (status, ended) = exit_of(&mut child, &mut complaint).await;
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
