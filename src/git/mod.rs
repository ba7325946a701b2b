//! Floor 3: carries out a fetch. It needs a permission to work, so it stands above the gate.

mod child;
mod clocks;
pub mod inbound;
pub mod pkt_line;
mod program;
mod pump;
pub mod v2;

use std::time::Duration;

use bytes::Bytes;

pub use program::{Program, ProgramError};

use crate::audit::Ended;
use crate::cache::Cache;
use crate::gate::Fetch;
use crate::model::protocol::GitProtocol;
use inbound::Inbound;

/// The clocks of one fetch, all in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long the client may be silent before it has asked for its pack.
    pub negotiation: Duration,
    /// How long nothing at all may move, in either direction.
    pub idle: Duration,
    /// How long one fetch may take.
    pub total: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            negotiation: Duration::from_secs(60),
            // A client that received its pack indexes it, silently, before it closes; git itself says something every five
            // seconds while it works.
            idle: Duration::from_secs(600),
            total: Duration::from_secs(6 * 3600),
        }
    }
}

/// The client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// The way to the client.
pub trait Outbound: Send {
    /// Sends bytes; returns when there is room for more, so that a slow client slows its git down.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Waits until the client has gone away.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;
}

/// How a fetch ended, for the one who answers the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The exit status to report, as git's own or 128 in its place.
    pub status: u32,
    /// How it ended.
    pub ended: Ended,
}

/// The git program, the clocks of its work, and what is kept of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Git {
    program: Program,
    settings: Settings,
    cache: Cache,
}

impl Git {
    /// Serves with this program, and keeps answers in this cache.
    #[must_use]
    pub fn new(program: Program, settings: Settings, cache: Cache) -> Self {
        Self { program, settings, cache }
    }

    /// The program that serves.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Serves one fetch to its end and records it. Gives the way to the client back, for its last words.
    pub async fn run<O: Outbound>(&self, mut fetch: Fetch, inbound: Inbound, mut outbound: O) -> (Finished, O) {
        let result = match child::Child::start(&self.program, &fetch) {
            Ok(child) if self.cache.is_on() && fetch.protocol() == GitProtocol::V2 => {
                let (served, source) = v2::serve(self, &fetch, child, inbound, &mut outbound).await;
                if let Some(source) = source {
                    fetch.note(source);
                }
                served
            }
            Ok(child) => pump::serve(child, &self.settings, inbound, &mut outbound).await,
            Err(error) => {
                tracing::error!(%error, "git cannot be started");
                pump::Served { status: 128, ended: Ended::Failed, bytes_in: 0, bytes_out: 0 }
            }
        };
        let pump::Served { status, ended, bytes_in, mut bytes_out } = result;
        if ended == Ended::Failed && bytes_out == 0 {
            // git said nothing to the client; its complaint is in our log, and could name our paths.
            let line = pkt_line::err(&format!(
                "{}: the repository cannot be served as it is; an operator of this gateway can see why [repository]",
                fetch.repo().name()
            ));
            bytes_out = line.len() as u64;
            if outbound.send(line).await.is_err() {
                tracing::debug!("the client left before it could be told");
            }
        }
        fetch.finish(ended, bytes_out, bytes_in);
        (Finished { status, ended }, outbound)
    }
}
