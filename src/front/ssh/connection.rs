//! The state of one connection, and what its callbacks do.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use russh::keys::PublicKey as SshKey;
use russh::server::{Auth, ChannelOpenHandle, Session};
use russh::{ChannelId, ChannelOpenFailure};
use tracing::{Instrument as _, Span};

use super::Door;
use super::answer::{self, Who};
use super::channel::ChannelState;
use super::exchange::Asked;
use super::guesses::{self, Standing};
use super::listener::Startup;
use super::meter::Limit;
use super::shares::Share;
use super::stay::Stay;
use crate::audit::Subject;
use crate::gate::{Admission, Declined};
use crate::git::inbound;
use crate::model::public_key::PublicKey;

/// Why a connection is ended from inside.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// The SSH library, or the line.
    #[error(transparent)]
    Ssh(#[from] russh::Error),
    /// The network of the client offered more unknown keys than it may.
    #[error("too many keys were offered that nobody registered")]
    Guesses,
}

/// One connection, as the library calls it back. In a box: the task that the library makes of it has room for it several times
/// over, for as long as the connection lasts.
pub(super) struct Connection(Box<State>);

/// The state of one connection.
pub(super) struct State {
    pub(super) door: Arc<Door>,
    pub(super) subject: Subject,
    /// Around what is logged of this connection: the library calls back from a task of its own.
    pub(super) span: Span,
    /// Written in one place: by `auth_publickey`, after the signature was verified.
    pub(super) proven: Option<Admission>,
    /// Written in one place: by `auth_succeeded`, from `proven`.
    pub(super) who: Option<Arc<Who>>,
    /// What it holds as long as it counts as one that is not logged in.
    pub(super) startup: Option<Startup>,
    /// Tells the line what the peer may have computed.
    pub(super) asked: Asked,
    /// Its place among the connections of its key, which it gets at the login, or with a command when one is free.
    share: Option<Share>,
    probes: usize,
    /// How many keys were offered that nobody registered.
    guesses: u32,
    /// How far the peer came, for the record of a login that came to nothing.
    pub(super) tried: Tried,
    /// What was refused beside fetches; each is recorded once, however often it is asked for.
    refused: BTreeSet<&'static str>,
    pub(super) channels: HashMap<ChannelId, ChannelState>,
    pub(super) stay: Stay,
}

pub(super) type Result<T, E = ConnectionError> = std::result::Result<T, E>;

impl Deref for Connection {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}

impl Connection {
    pub(super) fn new(door: Arc<Door>, subject: Subject, startup: Startup, asked: Asked, stay: Stay) -> Self {
        Self(Box::new(State {
            door,
            subject,
            span: Span::current(),
            proven: None,
            who: None,
            startup: Some(startup),
            asked,
            share: None,
            probes: 0,
            guesses: 0,
            tried: Tried::Nothing,
            refused: BTreeSet::new(),
            channels: HashMap::new(),
            stay,
        }))
    }
}

impl State {
    /// Whether an offered key may go on to prove itself. Grants nothing and remembers nothing but the count.
    pub(super) fn offered(&mut self, key: &SshKey) -> Result<bool> {
        let _entered = self.span.clone().entered();
        self.probes += 1;
        if self.probes > self.door.settings.key_probes {
            // Not looked up any more. The library says goodbye in words that the client shows, if there is a next one.
            if self.tried != Tried::TooManyKeys {
                self.tried = Tried::TooManyKeys;
                self.door.meter.met(Limit::Keys);
            }
            return Ok(false);
        }
        self.tried = Tried::UnknownKey;
        let Ok(key) = PublicKey::from_peer(key) else { return Ok(false) };
        self.subject.fingerprint = Some(key.fingerprint());
        match self.door.gate.knows(&key) {
            Ok(known) => {
                if known {
                    self.tried = Tried::NotProved;
                }
                Ok(known)
            }
            // Let in far enough to be told that we cannot say.
            Err(unavailable) => {
                tracing::error!(%unavailable, "an offered key cannot be looked up");
                Ok(true)
            }
        }
    }

    /// Refuses a key that nobody registered: at once, or later when its network has offered too many, or with an end.
    pub(super) async fn guessed(&mut self) -> Result<Auth> {
        let Some(client) = self.subject.address else { return Ok(Auth::reject()) };
        if self.door.guesses.guessed(client, Instant::now()) == Standing::Free {
            // Only what was counted can be given back.
            self.guesses = self.guesses.saturating_add(1);
        } else {
            self.door.meter.met(Limit::Guesses);
            self.asked.computed();
            tokio::time::sleep(guesses::PAUSE).await;
            // Somebody of this network may have logged in meanwhile, as when a farm starts where nobody was seen yet.
            match self.door.guesses.guessed(client, Instant::now()) {
                Standing::Free => self.guesses = self.guesses.saturating_add(1),
                Standing::Slowed => {}
                Standing::Barred => {
                    self.tried = Tried::TooManyGuesses;
                    return Err(ConnectionError::Guesses);
                }
            }
        }
        Ok(Auth::reject())
    }

    /// Somebody with a registered key is in: what they offered before was no guessing.
    pub(super) fn known(&self) {
        if let Some(client) = self.subject.address {
            self.door.guesses.logged_in(client, self.guesses, Instant::now());
        }
    }

    /// Takes a place among the connections of its key, if it has none; without one it goes on as one that is not logged in.
    pub(super) fn settle(&mut self) {
        if self.share.is_none() {
            // The key that was proved: what was offered before says nothing.
            let key = self.who.as_ref().and_then(|who| who.subject().fingerprint);
            self.share = key.and_then(|key| self.door.shares.take(key));
        }
        if self.share.is_some()
            && let Some(startup) = self.startup.take()
        {
            startup.logged_in();
        }
    }

    /// Whom a command is answered as: who is logged in, or, where its key has no place for it, somebody who is told so.
    fn asks(&mut self) -> Option<Arc<Who>> {
        let who = self.who.clone()?;
        self.settle();
        if self.share.is_some() {
            return Some(who);
        }
        self.door.meter.met(Limit::ConnectionsPerKey);
        self.span.in_scope(|| self.door.shares.tell(who.subject()));
        Some(Arc::new(Who::ToldOnly(Declined::Crowded, who.subject().clone())))
    }

    /// Starts the answer to the first command of a channel.
    pub(super) fn start(&mut self, channel: ChannelId, session: &mut Session, command: Command) -> Result<()> {
        let out = self.channels.get_mut(&channel).and_then(ChannelState::take_out);
        // A second command asks for nothing.
        let who = if out.is_some() { self.asks() } else { None };
        let state = self.channels.get_mut(&channel);
        let (Some(who), Some(state), Some(out)) = (who, state, out) else {
            // A second command on one channel (RFC 4254 §6.5 allows one), or nobody to answer.
            self.note("a second command on one channel");
            return Ok(session.channel_failure(channel)?);
        };
        session.channel_success(channel)?;
        let (door, span) = (Arc::clone(&self.door), self.span.clone());
        let undecided = self.stay.command(&door);
        // For as long as this is being answered, the connection is not told to come again.
        let busy = self.stay.busy.token();
        match command {
            Command::Shell => {
                let answer = async move {
                    answer::greet(door, who, out).await;
                    drop((undecided, busy));
                };
                drop(self.door.answers.spawn(answer.instrument(span)));
            }
            Command::Exec(line) => {
                let party = self.share.as_ref().map_or_else(|| door.shares.told(), Share::unread);
                let (feed, inbound) = inbound::channel(door.settings.inbound, party);
                // What was ended before the command stays ended: its git must not wait for more.
                state.feed = (!state.ended).then_some(feed);
                let protocol = state.protocol;
                let answer = async move {
                    answer::exec(door, who, line, protocol, inbound, out, undecided).await;
                    drop(busy);
                };
                drop(self.door.answers.spawn(answer.instrument(span)));
            }
        }
        Ok(())
    }

    /// Records what was refused, once for each kind: a peer that asks a thousand times fills no file.
    pub(super) fn note(&mut self, what: &'static str) {
        if self.refused.insert(what) {
            let _entered = self.span.clone().entered();
            let subject = self.who.as_ref().map_or(&self.subject, |who| who.subject());
            drop(self.door.gate.decline(subject, Declined::NotServed(what.to_owned()), None));
        }
    }

    pub(super) fn refuse_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
        what: &'static str,
    ) -> Result<()> {
        self.note(what);
        Ok(session.channel_failure(channel)?)
    }

    pub(super) async fn refuse_channel(&mut self, reply: ChannelOpenHandle, what: &'static str) -> Result<()> {
        self.note(what);
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _entered = self.span.clone().entered();
        // Who never tried to log in (a port scan, a balancer's probe) is no decision of ours.
        if self.who.is_none() && self.tried != Tried::Nothing {
            self.door.gate.turned_away(self.subject.clone(), self.tried.word());
        }
    }
}

/// How far a login came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Nothing,
    NoKey,
    UnknownKey,
    NotProved,
    TooManyKeys,
    TooManyGuesses,
}

impl Tried {
    fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::NoKey => "no-key",
            Self::UnknownKey => "unknown-key",
            Self::NotProved => "not-proved",
            Self::TooManyKeys => "too-many-keys",
            Self::TooManyGuesses => "too-many-guesses",
        }
    }
}

/// What a channel can ask for.
pub(super) enum Command {
    Shell,
    Exec(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_by_its_name() {
        // Who tried nothing leaves no record.
        let all = [Tried::NoKey, Tried::UnknownKey, Tried::NotProved, Tried::TooManyKeys, Tried::TooManyGuesses];
        assert_eq!(all.map(Tried::word), crate::audit::counters::REASONS);
    }
}
