//! The state of one connection, and what its callbacks do.

use std::collections::HashMap;
use std::sync::Arc;

use russh::keys::PublicKey as SshKey;
use russh::server::{ChannelOpenHandle, Session};
use russh::{ChannelId, ChannelOpenFailure};

use super::Door;
use super::answer::{self, Who};
use super::channel::ChannelState;
use super::listener::Startup;
use crate::audit::Subject;
use crate::gate::Admission;
use crate::git::inbound;
use crate::model::public_key::PublicKey;

/// Why a connection is ended from inside.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// The SSH library, or the line.
    #[error(transparent)]
    Ssh(#[from] russh::Error),
    /// More keys than [`super::Settings::key_probes`].
    #[error("the peer offered too many keys")]
    TooManyKeys,
}

/// The state of one connection.
pub(super) struct Connection {
    pub(super) door: Arc<Door>,
    pub(super) subject: Subject,
    /// Written in one place: by `auth_publickey`, after the signature was verified.
    pub(super) proven: Option<Admission>,
    /// Written in one place: by `auth_succeeded`, from `proven`.
    pub(super) who: Option<Arc<Who>>,
    pub(super) startup: Option<Startup>,
    probes: usize,
    pub(super) channels: HashMap<ChannelId, ChannelState>,
}

pub(super) type Result<T, E = ConnectionError> = std::result::Result<T, E>;

impl Connection {
    pub(super) fn new(door: Arc<Door>, subject: Subject, startup: Startup) -> Self {
        Self { door, subject, proven: None, who: None, startup: Some(startup), probes: 0, channels: HashMap::new() }
    }

    /// Whether an offered key may go on to prove itself. Grants nothing and remembers nothing but the count.
    pub(super) fn offered(&mut self, key: &SshKey) -> Result<bool> {
        self.probes += 1;
        if self.probes > self.door.settings.key_probes {
            return Err(ConnectionError::TooManyKeys);
        }
        let Ok(key) = PublicKey::from_peer(key) else { return Ok(false) };
        match self.door.gate.knows(&key) {
            Ok(known) => Ok(known),
            // Let in far enough to be told that we cannot say.
            Err(unavailable) => {
                tracing::error!(%unavailable, "an offered key cannot be looked up");
                Ok(true)
            }
        }
    }

    /// Starts the answer to the first command of a channel.
    pub(super) fn start(&mut self, channel: ChannelId, session: &mut Session, command: Command) -> Result<()> {
        let started = self.who.clone().zip(self.channels.get_mut(&channel)).and_then(|(who, state)| {
            let out = state.take_out()?;
            Some((who, state, out))
        });
        let Some((who, state, out)) = started else {
            // A second command on one channel (RFC 4254 §6.5 allows one), or nobody to answer.
            return Ok(session.channel_failure(channel)?);
        };
        session.channel_success(channel)?;
        let door = Arc::clone(&self.door);
        match command {
            Command::Shell => drop(tokio::spawn(answer::greet(door, who, out))),
            Command::Exec(line) => {
                let (feed, inbound) = inbound::channel(door.settings.inbound);
                state.feed = Some(feed);
                drop(tokio::spawn(answer::exec(door, who, line, state.protocol, inbound, out)));
            }
        }
        Ok(())
    }

    pub(super) fn refuse_request(&mut self, channel: ChannelId, session: &mut Session, what: &str) -> Result<()> {
        tracing::info!(subject = ?self.subject, what, "a channel request is refused");
        Ok(session.channel_failure(channel)?)
    }

    pub(super) async fn refuse_channel(&mut self, reply: ChannelOpenHandle, what: &str) -> Result<()> {
        tracing::info!(subject = ?self.subject, what, "a channel is refused");
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.who.is_none() {
            let reason = if self.probes == 0 { "no key was offered" } else { "no offered key is registered" };
            self.door.gate.turned_away(self.subject.clone(), reason);
        }
    }
}

/// What a channel can ask for.
pub(super) enum Command {
    Shell,
    Exec(Vec<u8>),
}
