//! Bytes both ways between a client and its git, under the clocks.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::child;
use super::clocks::Clocks;
use super::inbound::Inbound;
use super::pkt_line;
use super::slots::Slot;
use super::turn::{self, NoSlot};
use super::v0::told::{Differs, Told};
use super::{Git, Gone, Outbound, cannot_start};
use crate::audit::{Ended, Source};
use crate::gate::{Fetch, Unserved};
use crate::model::text::printable_bytes;
use crate::sandbox::Running;

/// The largest piece that is read from git at once, in bytes.
pub(super) const PIECE: usize = 256 * 1024;
/// How much of git's own complaint is kept for the log, in bytes.
const COMPLAINT: usize = 4096;

/// What a fetch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) status: u32,
    pub(super) ended: Ended,
    /// What to say of it if it failed.
    pub(super) why: Unserved,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Where it came from, if the cache was asked.
    pub(super) source: Option<Source>,
    /// Whether a pack was asked for, and not only the refs.
    pub(super) pack: bool,
    /// Whether the client set bounds within which there may be nothing ([`is_bounded`]).
    pub(super) bounded: bool,
    /// What git said in an error line of its own, which the client has not seen: it would leave at it, before it heard more.
    pub(super) error: Option<String>,
}

/// What went to and fro before git was started.
#[derive(Debug, Default)]
pub(super) struct Begun {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// What the client has said, for git.
    pub(super) pending: Bytes,
    /// What git will say first and the client has been told already.
    pub(super) told: Option<Told>,
    /// Taken with the first that the client asks for, if not before.
    pub(super) slot: Option<Slot>,
}

impl Served {
    /// Something ended before git could serve it.
    pub(super) fn not(ended: Ended, why: Unserved, bytes_in: u64, bytes_out: u64) -> Self {
        Self { status: 128, ended, why, bytes_in, bytes_out, source: None, pack: false, bounded: false, error: None }
    }
}

/// Serves with a git of the fetch's own, from its start.
pub(super) async fn own(
    git: &Git,
    fetch: &Fetch,
    begun: Begun,
    inbound: Inbound,
    outbound: &mut impl Outbound,
) -> Served {
    let mut clocks = Clocks::start(&git.settings, &git.meter);
    let (bytes_in, bytes_out) = (begun.bytes_in, begun.bytes_out);
    let room = match begun.slot {
        Some(_) => Ok(None),
        // Until it has a slot.
        None => turn::wait_for_room(git, fetch, &mut clocks, outbound).await.map(Some),
    };
    let room = match room {
        Ok(room) => room,
        Err(NoSlot::Ended(ended)) => return Served::not(ended, Unserved::Repository, bytes_in, bytes_out),
        Err(NoSlot::Not(why)) => return Served::not(Ended::Failed, why, bytes_in, bytes_out),
    };
    match child::start(git, fetch) {
        Ok(child) => serve(git, fetch, (child, room), clocks, begun, inbound, outbound).await,
        Err(error) => Served::not(Ended::Failed, cannot_start(&error), bytes_in, bytes_out),
    }
}

/// Serves until git ends, the client leaves, or a clock runs out.
async fn serve(
    git: &Git,
    fetch: &Fetch,
    (mut child, mut room): (Running, Option<Slot>),
    mut clocks: Clocks,
    begun: Begun,
    mut inbound: Inbound,
    outbound: &mut impl Outbound,
) -> Served {
    // `pending` is on its way to git and not yet in its pipe.
    let Begun { mut bytes_in, mut bytes_out, mut pending, mut told, mut slot } = begun;
    let (mut why, mut error) = (Unserved::Repository, None);
    let mut bounded = is_bounded(&pending);
    let mut stdin = child.stdin.take();
    let mut buffer = BytesMut::with_capacity(PIECE);
    let mut complaint = Complaint::default();
    // The client said that it has nothing more to ask.
    let mut client_ended = false;
    let ended = loop {
        if buffer.capacity() - buffer.len() < PIECE / 2 {
            buffer.reserve(PIECE);
        }
        tokio::select! {
            read = child.stdout.read_buf(&mut buffer) => match read {
                Ok(0) => break Ended::Served,
                Ok(_) => {
                    let mut piece = buffer.split().freeze();
                    if let Some(before) = &mut told {
                        match before.hears(&piece) {
                            Ok(None) => continue,
                            Ok(Some(behind)) => (piece, told) = (behind, None),
                            Err(Differs) => {
                                tracing::warn!("git does not say what was kept of it: the repository changes");
                                break Ended::Failed;
                            }
                        }
                    }
                    if let Some(text) = refusal_in(&piece, &clocks) {
                        error = Some(text);
                        break Ended::Failed;
                    }
                    match send(piece, &mut clocks, outbound).await {
                        Ok(length) => bytes_out += length,
                        Err(ended) => break ended,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "git cannot be read");
                    break Ended::Failed;
                }
            },
            next = inbound.next(), if pending.is_empty() && stdin.is_some() => match next {
                Some(piece) => {
                    bytes_in += piece.len() as u64;
                    clocks.moved();
                    bounded |= is_bounded(&piece);
                    let asks = piece != b"0000".as_slice();
                    // git is still, and has said all that it says unasked.
                    if asks && slot.is_none() {
                        match turn::wait(git, fetch, false, &mut clocks, outbound).await {
                            Ok(mine) => {
                                slot = Some(mine);
                                drop(room.take());
                            }
                            Err(NoSlot::Ended(ended)) => break ended,
                            Err(NoSlot::Not(not)) => {
                                why = not;
                                break Ended::Failed;
                            }
                        }
                    } else if asks && let Err(withdrawn) = fetch.recheck() {
                        why = Unserved::Withdrawn(withdrawn);
                        break Ended::Failed;
                    }
                    pending = piece;
                }
                // End of file, or the client is gone: git sees its input end and decides.
                None => { stdin = None; client_ended = true; }
            },
            written = write_some(&mut stdin, &pending), if !pending.is_empty() => match written {
                Ok(length) => drop(pending.split_to(length)),
                // git has stopped reading; what it has to say comes on its output.
                Err(_) => { stdin = None; pending.clear(); }
            },
            more = complaint.read(&mut child.stderr), if !complaint.over => complaint.over = !more,
            () = tokio::time::sleep_until(clocks.deadline()) => break clocks.ran_out(),
            () = outbound.gone() => break Ended::ClientGone,
        }
    };
    drop(stdin);
    let (status, ended) = match ended {
        Ended::Served => match exit_of(&mut child, &mut complaint).await {
            // git complains of a client that leaves in the middle; the fault is not its own.
            Exit { status, ended: Ended::Failed, .. } if client_ended && bytes_out > 0 => (status, Ended::ClientGone),
            exit => {
                why = exit.why;
                (exit.status, exit.ended)
            }
        },
        Ended::Failed | Ended::ClientGone | Ended::TimedOut | Ended::Flooded | Ended::Cut => (128, ended),
    };
    complaint.log();
    Served { status, ended, why, bytes_in, bytes_out, source: None, pack: slot.is_some(), bounded, error }
}

/// Whether a client asks for no more than what is newer than a date or not in a ref (`--shallow-since`, `--shallow-exclude`), in any
/// version of the protocol. git dies of it where that is nothing, and says why to nobody but us.
pub(super) fn is_bounded(asked: &[u8]) -> bool {
    // Behind a space it is one of the capabilities that every client of version 0 lists.
    let is_line = |at: usize| at.checked_sub(1).and_then(|before| asked.get(before)) != Some(&b' ');
    ["deepen-since ", "deepen-not "].iter().any(|word| memchr::memmem::find_iter(asked, word).any(is_line))
}

/// What git refuses with, if it does: an error line, where nothing but an answer to the client's question can come.
pub(super) fn refusal_in(piece: &[u8], clocks: &Clocks) -> Option<String> {
    let text = pkt_line::error_of(piece).filter(|_| clocks.is_negotiating())?;
    Some(printable_bytes(text, COMPLAINT))
}

/// Sends bytes to the client under the clocks.
pub(super) async fn send(bytes: Bytes, clocks: &mut Clocks, outbound: &mut impl Outbound) -> Result<u64, Ended> {
    if bytes.is_empty() {
        return Ok(0);
    }
    clocks.sending(&bytes);
    let length = bytes.len() as u64;
    // The client's reading is the one thing that may take long here; the clocks go on.
    tokio::select! {
        sent = outbound.send(bytes) => match sent {
            Ok(()) => {
                clocks.moved();
                Ok(length)
            }
            Err(Gone) => Err(Ended::ClientGone),
        },
        () = tokio::time::sleep_until(clocks.deadline()) => Err(clocks.ran_out()),
    }
}

/// Sends many bytes, piece by piece; with the number of those that went.
pub(super) async fn send_all(
    mut bytes: Bytes,
    clocks: &mut Clocks,
    outbound: &mut impl Outbound,
) -> (u64, Result<(), Ended>) {
    let mut sent = 0;
    while !bytes.is_empty() {
        match send(bytes.split_to(bytes.len().min(PIECE)), clocks, outbound).await {
            Ok(length) => sent += length,
            Err(ended) => return (sent, Err(ended)),
        }
    }
    (sent, Ok(()))
}

/// How git itself ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    /// To be reported.
    pub(super) status: u32,
    /// Served or failed.
    pub(super) ended: Ended,
    /// What to say if it failed.
    pub(super) why: Unserved,
}

/// How git itself ended, once its output did.
pub(super) async fn exit_of(child: &mut Running, complaint: &mut Complaint) -> Exit {
    const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);
    let finished = tokio::time::timeout(LAST_WORDS, async {
        while !complaint.over {
            complaint.over = !complaint.read(&mut child.stderr).await;
        }
        child.wait().await
    });
    let failed = |status| Exit { status, ended: Ended::Failed, why: Unserved::Repository };
    match finished.await {
        Ok(Ok(Some(0))) => Exit { status: 0, ended: Ended::Served, why: Unserved::Repository },
        Ok(Ok(Some(code))) => failed(u32::try_from(code).unwrap_or(128)),
        Ok(Ok(None)) => failed(128),
        // It was not run after all.
        Ok(Err(error)) => Exit { why: cannot_start(&error), ..failed(128) },
        // Its output is closed and it does not end.
        Err(_) => failed(128),
    }
}

pub(super) async fn write_some(stdin: &mut Option<impl AsyncWrite + Unpin>, bytes: &[u8]) -> std::io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(bytes).await,
        None => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}

/// git's standard error: read to its end so that git never waits, kept up to a bound, shown to operators alone.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    text: Vec<u8>,
    pub(super) over: bool,
}

impl Complaint {
    /// Reads some; `false` at the end.
    pub(super) async fn read(&mut self, stderr: &mut (impl AsyncRead + Unpin)) -> bool {
        let mut buffer = [0u8; 1024];
        match stderr.read(&mut buffer).await {
            Ok(length @ 1..) => {
                let room = COMPLAINT.saturating_sub(self.text.len());
                self.text.extend(buffer.iter().take(length.min(room)));
                true
            }
            Ok(0) | Err(_) => false,
        }
    }

    pub(super) fn log(&self) {
        if !self.text.is_empty() {
            tracing::warn!(stderr = %printable_bytes(&self.text, COMPLAINT), "git complained");
        }
    }
}
