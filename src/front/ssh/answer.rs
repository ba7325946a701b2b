//! From an exec line to its answer.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::channel::ChannelOut;
use super::exec_line::{self, ExecLine};
use super::{Door, greeting};
use crate::audit::Subject;
use crate::gate::{Ask, Declined, Principal, Refusal};
use crate::git::inbound::Inbound;
use crate::git::{Gone, Outbound as _, pkt_line};
use crate::model::protocol::GitProtocol;
use crate::model::repo_path::RepoPath;
use crate::model::text::printable_bytes;
use crate::store::look::look;

/// How long a client may leave no room for a refusal.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// What git exits with when it dies.
const FATAL: u32 = 128;
/// What a shell exits with when there is no such command; git-lfs then looks elsewhere, and takes any other status as final.
const NO_SUCH_COMMAND: u32 = 127;

/// Who is on the connection.
pub(super) enum Who {
    /// A registered key.
    Principal(Principal),
    /// Somebody who is only told something.
    ToldOnly(Declined, Subject),
}

impl Who {
    pub(super) fn subject(&self) -> &Subject {
        match self {
            Self::Principal(principal) => principal.subject(),
            Self::ToldOnly(_, subject) => subject,
        }
    }
}

/// Answers one command, to the end of its channel. `undecided` is dropped when it is decided what the command comes to.
pub(super) async fn exec(
    door: Arc<Door>,
    who: Arc<Who>,
    line: Vec<u8>,
    protocol: GitProtocol,
    inbound: Inbound,
    out: ChannelOut,
    undecided: TaskTrackerToken,
) {
    if answer(&door, &who, &line, protocol, inbound, out, undecided).await.is_err() {
        tracing::debug!("the client left before its answer was complete");
    }
}

async fn answer(
    door: &Door,
    who: &Who,
    line: &[u8],
    protocol: GitProtocol,
    inbound: Inbound,
    mut out: ChannelOut,
    undecided: TaskTrackerToken,
) -> Result<(), Gone> {
    let command = exec_line::parse(line);
    let speaks_pkt_lines = matches!(command, ExecLine::UploadPack(_) | ExecLine::Push(_) | ExecLine::Archive(_));
    if let ExecLine::Lfs(name) = command {
        // The words and the status are what git-lfs understands; the record is as for anything else that is not served.
        drop(door.gate.decline(who.subject(), Declined::NotServed(name.to_owned()), None));
        out.say(&format!("{name}: not found")).await?;
        return out.finish(NO_SUCH_COMMAND).await;
    }
    let path = command.path().map(str::to_owned);
    let decision = match who {
        Who::ToldOnly(declined, subject) => Err(door.gate.decline(subject, declined.clone(), path.as_deref())),
        Who::Principal(principal) => match ask(command, line, protocol) {
            // It looks into the store, which may be a file system that hangs.
            Ok(ask) => look(|| door.gate.authorize(principal, ask)).await,
            Err(declined) => Err(door.gate.decline(who.subject(), declined, path.as_deref())),
        },
    };
    let warning = match (&decision, who) {
        (Ok(_), Who::Principal(principal)) => door.gate.ends_soon(principal, door.settings.expiry_warning),
        _ => None,
    };
    drop(undecided);
    match decision {
        Ok(fetch) => {
            // On standard error, which git leaves alone and a build log shows.
            if let Some(warning) = warning
                && out.say(&warning).await.is_err()
            {
                // The fetch leaves its record when it is dropped.
                return Err(Gone);
            }
            let (finished, out) = door.git.run(fetch, inbound, out).await;
            out.finish(finished.status).await
        }
        Err(refusal) if speaks_pkt_lines => {
            // git prints this one line and nothing about access rights; on standard error it would add that.
            let line = pkt_line::err(&refusal.to_string());
            tokio::time::timeout(LAST_WORDS, out.send(line)).await.unwrap_or(Err(Gone))?;
            heard(inbound).await;
            out.finish(FATAL).await
        }
        Err(refusal) => {
            out.say(&refusal.to_string()).await?;
            out.finish(FATAL).await
        }
    }
}

/// Waits until the client has no more to say, which git shows by its end of file once it has read why; not for long. A
/// channel that is closed at once is taken by JSch for one that never opened, and the reason is lost.
async fn heard(mut inbound: Inbound) {
    const AT_MOST: Duration = Duration::from_millis(500);
    let silent = async { while inbound.next().await.is_some() {} };
    if tokio::time::timeout(AT_MOST, silent).await.is_err() {
        tracing::debug!("a refused client keeps its channel open");
    }
}

/// The question that a command line means, or what stands against asking it.
fn ask(command: ExecLine, line: &[u8], protocol: GitProtocol) -> Result<Ask, Declined> {
    const SHOWN: usize = 100;
    match command {
        ExecLine::UploadPack(path) => match RepoPath::parse(&path) {
            Ok(repo) => Ok(Ask { repo, protocol }),
            Err(error) => Err(Declined::BadPath(path, error.to_string())),
        },
        ExecLine::Push(path) => Err(Declined::Push(RepoPath::parse(&path).map_or(path, |repo| repo.to_string()))),
        ExecLine::Archive(_) => Err(Declined::NotServed("git archive".to_owned())),
        ExecLine::Lfs(name) => Err(Declined::NotServed(name.to_owned())),
        ExecLine::Other(name) => Err(Declined::NotServed(name)),
        ExecLine::Malformed => Err(Declined::NotServed(printable_bytes(line, SHOWN))),
    }
}

/// Greets somebody who asked for a shell.
pub(super) async fn greet(door: Arc<Door>, who: Arc<Who>, mut out: ChannelOut) {
    let standing: Result<_, Refusal> = match who.as_ref() {
        Who::ToldOnly(declined, subject) => Err(door.gate.decline(subject, declined.clone(), None)),
        Who::Principal(principal) => door.gate.standing(principal),
    };
    let (text, status) = match standing {
        Ok(standing) => (greeting::text(&standing, &door.public_address), 0),
        Err(refusal) => (refusal.to_string(), FATAL),
    };
    let said = out.say(&text).await;
    if said.is_err() || out.finish(status).await.is_err() {
        tracing::debug!("the client left before it was greeted");
    }
}
