//! One git that says what it has to say before a fetch, for all who poll.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::list::RefList;
use super::{Capabilities, Said};
use crate::audit::Ended;
use crate::cache::Why;
use crate::gate::Fetch;
use crate::git::Git;
use crate::git::child::{self, Ready};
use crate::git::pkt_line::{self, Line};
use crate::git::pump::{Complaint, exit_of};
use crate::sandbox::Running;

/// The longest list of refs that is kept, in bytes: some 800,000 refs.
const LONGEST: usize = 64 << 20;
/// How long git may take to list its refs. Whoever waits for longer waits for a git of their own.
const PATIENCE: Duration = Duration::from_secs(60);

/// What git is asked to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Capabilities,
    Refs,
    Advertisement,
}

impl Kind {
    pub(super) fn word(self) -> &'static [u8] {
        match self {
            Self::Capabilities => b"capabilities",
            Self::Refs => b"refs",
            Self::Advertisement => b"advertisement",
        }
    }
}

/// Lets git say it; with its size in memory.
pub(super) async fn produce(
    git: &Git,
    fetch: &Fetch,
    kind: Kind,
    known: Option<&Capabilities>,
) -> Result<(Said, u64), Why> {
    let started = match kind {
        Kind::Capabilities | Kind::Advertisement => child::start(git, fetch),
        Kind::Refs => Ready::for_request(git, fetch).and_then(Ready::start),
    };
    let child = started.map_err(|error| {
        tracing::error!(%error, "git cannot be started");
        "no-git"
    })?;
    let question = match kind {
        // A client that only wanted to see it, which both end well with.
        Kind::Capabilities | Kind::Advertisement => Bytes::from_static(b"0000"),
        Kind::Refs => super::ask::everything(known.map_or("sha1", |known| &known.format)),
    };
    let patience = PATIENCE.min(git.settings.negotiation);
    let bytes = tokio::time::timeout(patience, said(child, question)).await.unwrap_or(Err("slow-git"))?;
    let size = bytes.len() as u64;
    match kind {
        Kind::Capabilities => Ok((capabilities(bytes), size)),
        Kind::Advertisement => Ok((advertisement(bytes), size)),
        Kind::Refs => Ok(match RefList::parse(bytes) {
            Some(list) => {
                let size = list.size();
                (Said::Refs(Arc::new(list)), size)
            }
            None => (Said::Once("odd-refs"), 0),
        }),
    }
}

/// All that git says, if it ends well.
async fn said(mut child: Running, question: Bytes) -> Result<Bytes, Why> {
    let mut stdin = child.stdin.take().ok_or("no-git")?;
    stdin.write_all(&question).await.map_err(|_| "failed-git")?;
    drop(stdin);
    let (mut bytes, mut complaint) = (BytesMut::with_capacity(4096), Complaint::default());
    loop {
        let read = tokio::select! {
            read = child.stdout.read_buf(&mut bytes) => read.map_err(|_| "failed-git")?,
            more = complaint.read(&mut child.stderr), if !complaint.over => {
                complaint.over = !more;
                continue;
            }
        };
        if read == 0 {
            break;
        }
        if bytes.len() > LONGEST {
            return Err("many-refs");
        }
    }
    let ended = exit_of(&mut child, &mut complaint).await.ended;
    complaint.log();
    if ended == Ended::Served { Ok(bytes.freeze()) } else { Err("failed-git") }
}

fn capabilities(bytes: Bytes) -> Said {
    let mut format = "sha1".to_owned();
    let (mut rest, mut flushed) = (bytes.as_ref(), false);
    while let Some((line, more)) = pkt_line::split(rest) {
        match line {
            Line::Flush => flushed = true,
            Line::Text(text) => {
                // It names a process; git makes a new one each time.
                if text.starts_with(b"session-id=") {
                    return Said::Once("session-id");
                }
                if let Some(name) = text.strip_prefix(b"object-format=") {
                    format = String::from_utf8_lossy(name.trim_ascii_end()).into_owned();
                }
            }
            Line::Delimiter => return Said::Once("odd-capabilities"),
        }
        rest = more;
        if flushed {
            break;
        }
    }
    if flushed && rest.is_empty() {
        Said::Capabilities(Arc::new(Capabilities { bytes, format }))
    } else {
        Said::Once("odd-capabilities")
    }
}

fn advertisement(bytes: Bytes) -> Said {
    let mut rest = bytes.as_ref();
    while let Some((line, more)) = pkt_line::split(rest) {
        rest = more;
        match line {
            Line::Text(text) => {
                let capabilities = text.splitn(2, |byte| *byte == 0).nth(1).unwrap_or_default();
                if memchr::memmem::find(capabilities, b"session-id=").is_some() {
                    return Said::Once("session-id");
                }
            }
            Line::Flush if rest.is_empty() => return Said::Advertisement(bytes),
            Line::Flush | Line::Delimiter => break,
        }
    }
    Said::Once("odd-advertisement")
}
