//! Protocol version 2, in which every request is a whole question: equal questions of many clients are answered by one git,
//! and the answer is kept for those who come later. What is no such question goes to the connection's own git, unchanged.
//!
//! Nothing here knows who asks. It is reached with a [`Fetch`] in hand, which is the permission for this repository.

pub mod frames;
mod produce;
mod relay;
pub mod request;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use super::child::Child;
use super::clocks::Clocks;
use super::inbound::Inbound;
use super::pump::{Complaint, PIECE, Served, exit_of, write_some};
use super::{Git, Gone, Outbound, pkt_line};
use crate::audit::{Ended, Source};
use crate::gate::Fetch;
use frames::{Answers, Piece, Splitter};
use relay::Relayed;
use request::{Plan, Question};

/// What waits for its turn.
enum Turn {
    /// A question that may be answered without the connection's git, and how it was asked.
    Question(Question, Bytes),
    /// Nothing.
    None,
}

/// Serves until git ends, the client leaves, or a clock runs out. `child` is the connection's own git, which has not said
/// anything yet.
pub(super) async fn serve(
    git: &Git,
    fetch: &Fetch,
    mut child: Child,
    mut inbound: Inbound,
    outbound: &mut impl Outbound,
) -> (Served, Option<Source>) {
    let mut clocks = Clocks::start(&git.settings);
    let (mut bytes_in, mut bytes_out) = (0u64, 0u64);
    let mut stdin = child.stdin.take();
    let mut buffer = BytesMut::with_capacity(PIECE);
    let mut complaint = Complaint::default();
    let mut pending = Bytes::new();
    let (mut splitter, mut answers) = (Splitter::default(), Answers::default());
    // The capabilities are the first answer, to no request.
    let mut owed = 1;
    let (mut turn, mut source, mut client_ended) = (Turn::None, None, false);
    let ended = loop {
        if pending.is_empty() && matches!(turn, Turn::None) {
            match splitter.next_piece() {
                Some(Piece::Pass(bytes, requests)) => {
                    pending = bytes;
                    owed += requests;
                }
                Some(Piece::Request(bytes)) => match request::plan(&bytes) {
                    Plan::Keep(question) if !answers.is_broken() => turn = Turn::Question(question, bytes),
                    Plan::Keep(_) => (pending, owed) = (bytes, owed + 1),
                    Plan::Pass(why) => {
                        if let Some(why) = why {
                            source = Some(Source::Bypass(why.to_owned()));
                        }
                        (pending, owed) = (bytes, owed + 1);
                    }
                },
                None if client_ended => match splitter.rest() {
                    Some(Piece::Pass(bytes, _) | Piece::Request(bytes)) => pending = bytes,
                    // End of file, or the client is gone: git sees its input end and decides.
                    None => stdin = None,
                },
                None => {}
            }
        }
        // Answers go out in the order of their questions.
        if answers.ended() == Some(owed)
            && let Turn::Question(question, asked) = std::mem::replace(&mut turn, Turn::None)
        {
            match relay::answer(git, fetch, &question, &mut clocks, &inbound, outbound).await {
                Relayed::Whole(bytes, from) => {
                    bytes_out += bytes;
                    source = Some(from);
                    continue;
                }
                Relayed::Not(why) => {
                    source = Some(Source::Bypass(why.to_owned()));
                    pending = asked;
                    owed += 1;
                }
                Relayed::Broken(bytes, ended) => {
                    bytes_out += bytes;
                    break ended;
                }
            }
        }
        if buffer.capacity() - buffer.len() < PIECE / 2 {
            buffer.reserve(PIECE);
        }
        let idle = pending.is_empty() && matches!(turn, Turn::None);
        tokio::select! {
            read = child.stdout.read_buf(&mut buffer) => match read {
                Ok(0) => break Ended::Served,
                Ok(_) => {
                    let piece = buffer.split().freeze();
                    answers.feed(&piece);
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
            next = inbound.next(), if idle && !client_ended && stdin.is_some() => match next {
                Some(piece) => {
                    bytes_in += piece.len() as u64;
                    splitter.push(&piece);
                    clocks.moved();
                }
                None if inbound.flooded() => break Ended::Flooded,
                None => client_ended = true,
            },
            written = write_some(&mut stdin, &pending), if !pending.is_empty() => match written {
                Ok(length) => drop(pending.split_to(length)),
                // git has stopped reading; what it has to say comes on its output.
                Err(_) => { stdin = None; pending.clear(); }
            },
            more = complaint.read(&mut child.stderr), if !complaint.over => complaint.over = !more,
            () = tokio::time::sleep_until(clocks.deadline()) => break Ended::TimedOut,
            () = outbound.gone() => break Ended::ClientGone,
        }
        if inbound.flooded() {
            break Ended::Flooded;
        }
    };
    drop(stdin);
    let (status, ended) = match ended {
        Ended::Served => exit_of(&mut child, &mut complaint).await,
        Ended::Failed | Ended::ClientGone | Ended::TimedOut | Ended::Flooded => (128, ended),
    };
    complaint.log();
    (Served { status, ended, bytes_in, bytes_out }, source)
}

/// Sends bytes to the client under the clocks.
async fn send(bytes: Bytes, clocks: &mut Clocks, outbound: &mut impl Outbound) -> Result<u64, Ended> {
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
        () = tokio::time::sleep_until(clocks.deadline()) => Err(Ended::TimedOut),
    }
}

/// What a client is told whose pack cannot be completed. The next try may find another git, or one that works.
fn broken_off() -> Bytes {
    pkt_line::broken_off("the pack broke off: git ended early on this gateway; try again")
}
