//! The connection's own git: started for the first thing that cannot be answered without it, with its pipes.

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use super::frames::Answers;
use crate::gate::Fetch;
use crate::git::Git;
use crate::git::child;
use crate::git::pump::{Complaint, Exit, PIECE, exit_of, write_some};
use crate::sandbox::Running;

/// A git that serves one connection.
#[derive(Debug)]
pub(super) struct Own {
    child: Running,
    complaint: Complaint,
    buffer: BytesMut,
    answers: Answers,
    /// Answers that it owes; the capabilities are the first, to no request.
    owed: u64,
    /// What it says first and the client has been told already.
    told: Bytes,
    /// What is on its way to it and not yet in its pipe.
    pending: Bytes,
}

/// It does not say what was said in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Differs;

/// Whether what a client was told is of one process alone: no other can go on in its name.
pub(super) fn is_unlike_others(told: &[u8]) -> bool {
    memchr::memmem::find(told, b"session-id=").is_some()
}

/// What came of waiting for it.
#[derive(Debug)]
pub(super) enum Moved {
    /// It says this, for the client.
    Says(Bytes),
    /// It has nothing more to say.
    Over,
    /// It took some of what it was given, or complained.
    Busy,
}

impl Own {
    /// Starts it. `told` is what the client knows of what it will say first.
    pub(super) fn start(git: &Git, fetch: &Fetch, told: Bytes) -> std::io::Result<Self> {
        let child = child::start(git, fetch)?;
        Ok(Self {
            child,
            complaint: Complaint::default(),
            buffer: BytesMut::with_capacity(PIECE),
            answers: Answers::default(),
            owed: 1,
            told,
            pending: Bytes::new(),
        })
    }

    /// Gives it bytes, in which so many requests end. Only when it has taken what came before.
    pub(super) fn give(&mut self, bytes: Bytes, requests: u64) {
        self.pending = bytes;
        self.owed += requests;
    }

    /// No more comes.
    pub(super) fn hang_up(&mut self) {
        self.child.stdin = None;
    }

    /// Whether it takes more.
    pub(super) fn listens(&self) -> bool {
        self.child.stdin.is_some()
    }

    /// Whether it has taken everything.
    pub(super) fn took_all(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether everything that it was asked is answered, so that somebody else may answer the next request.
    pub(super) fn is_done(&self) -> bool {
        self.pending.is_empty() && self.answers.ended() == Some(self.owed)
    }

    /// Whether what it says is what each git says first.
    pub(super) fn was_not_asked(&self) -> bool {
        self.owed == 1
    }

    /// Whether nobody can tell any more where its answers end.
    pub(super) fn is_lost(&self) -> bool {
        self.answers.is_broken()
    }

    /// Waits until something moves. Nothing is lost when the future is dropped.
    pub(super) async fn moved(&mut self) -> Result<Moved, Differs> {
        if self.buffer.capacity() - self.buffer.len() < PIECE / 2 {
            self.buffer.reserve(PIECE);
        }
        tokio::select! {
            read = self.child.stdout.read_buf(&mut self.buffer) => match read {
                Ok(0) => Ok(Moved::Over),
                Ok(_) => {
                    let piece = self.buffer.split().freeze();
                    self.answers.feed(&piece);
                    self.untold(piece).map(Moved::Says)
                }
                Err(error) => {
                    tracing::warn!(%error, "git cannot be read");
                    Ok(Moved::Over)
                }
            },
            written = write_some(&mut self.child.stdin, &self.pending), if !self.pending.is_empty() => {
                match written {
                    Ok(length) => drop(self.pending.split_to(length)),
                    // git has stopped reading; what it has to say comes on its output.
                    Err(_) => { self.child.stdin = None; self.pending.clear(); }
                }
                Ok(Moved::Busy)
            }
            more = self.complaint.read(&mut self.child.stderr), if !self.complaint.over => {
                self.complaint.over = !more;
                Ok(Moved::Busy)
            }
        }
    }

    /// What of this the client does not know yet.
    fn untold(&mut self, mut piece: Bytes) -> Result<Bytes, Differs> {
        let length = piece.len().min(self.told.len());
        let (before, said) = (self.told.split_to(length), piece.split_to(length));
        if before == said { Ok(piece) } else { Err(Differs) }
    }

    /// How it ended, once it has nothing more to say.
    pub(super) async fn exit(mut self) -> Exit {
        self.child.stdin = None;
        let exit = exit_of(&mut self.child, &mut self.complaint).await;
        self.complaint.log();
        exit
    }

    /// Says in the log what it complained of.
    pub(super) fn log(&self) {
        self.complaint.log();
    }
}
