//! What the SSH library tells of a connection. Every callback is decided here: the library's own answers would accept
//! offered keys and leave requests unanswered, for which clients wait until they time out.

use std::sync::Arc;

use russh::client::GexParams;
use russh::kex::dh::groups::{DH_GROUP14, DH_GROUP15, DhGroup};
use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty, Sig};

use super::answer::Who;
use super::channel::ChannelState;
use super::connection::{Command, Connection, ConnectionError, Result, Tried};
use super::meter::Limit;
use crate::gate::{Admission, Declined, ProvenKey, Sha1Signature};
use crate::git::inbound::Flooded;
use crate::model::protocol::GitProtocol;

#[deny(clippy::missing_trait_methods)]
impl Handler for Connection {
    type Error = ConnectionError;

    async fn auth_none(&mut self, _user: &str) -> Result<Auth> {
        // Every client begins so, to hear which methods there are.
        if self.tried == Tried::Nothing {
            self.tried = Tried::NoKey;
        }
        Ok(Auth::reject())
    }

    async fn auth_password(&mut self, _user: &str, _password: &str) -> Result<Auth> {
        Ok(Auth::reject())
    }

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth> {
        if self.offered(offer.public_key)? { Ok(Auth::Accept) } else { self.guessed().await }
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth> {
        // Whatever an earlier request of this connection came to counts no more.
        self.proven = None;
        let admission = match ProvenKey::new(key) {
            Ok(Some(proven)) => self.span.in_scope(|| self.door.gate.admit(proven, self.subject.clone())),
            Ok(None) => Admission::Unknown,
            Err(Sha1Signature) => {
                // Only a registered key is told what is wrong with its signature.
                if !self.offered(key.public_key)? {
                    return self.guessed().await;
                }
                Admission::ToldOnly(Declined::Sha1Signature, self.subject.clone())
            }
        };
        match admission {
            Admission::Unknown => self.guessed().await,
            Admission::Registered(_) | Admission::ToldOnly(..) => {
                self.proven = Some(admission);
                Ok(Auth::Accept)
            }
        }
    }

    async fn auth_openssh_certificate(&mut self, _user: &str, _certificate: &Certificate) -> Result<Auth> {
        Ok(Auth::reject())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        _response: Option<Response<'a>>,
    ) -> Result<Auth> {
        Ok(Auth::reject())
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<()> {
        let _entered = self.span.clone().entered();
        self.asked.logged_in();
        let who = match self.proven.take() {
            Some(Admission::Registered(principal)) => {
                self.known();
                Who::Principal(self.door.gate.entered(principal, session.remote_sshid()))
            }
            // Whoever is only told something may be anybody: while the registry cannot be read, nobody's key is known.
            Some(Admission::ToldOnly(declined, subject)) => {
                Who::ToldOnly(declined, self.door.gate.entered_to_be_told(subject, session.remote_sshid()))
            }
            // The library says that somebody is in whom we did not let in: no more of this connection.
            Some(Admission::Unknown) | None => {
                tracing::error!("a login without a proof was reported");
                return Ok(session.disconnect(Disconnect::ByApplication, "not logged in", "")?);
            }
        };
        if let Some(key) = &who.subject().key {
            self.span.record("key", tracing::field::display(key));
        }
        self.who = Some(Arc::new(who));
        self.settle();
        Ok(())
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>> {
        // Asked for in front of the first request to log in.
        self.asked.login();
        Ok(None)
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<()> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _session: &mut Session) -> Result<()> {
        if let Some(state) = self.channels.get_mut(&channel) {
            state.feed = None;
            state.ended = true;
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<()> {
        if self.who.is_none() {
            return self.refuse_channel(reply, "a session before login").await;
        }
        if self.stay.is_over() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.channels.retain(|_, state| !state.is_answered());
        if self.channels.len() >= self.door.settings.channels {
            self.note("too many channels");
            self.door.meter.met(Limit::Channels);
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        // The read half is dropped: what comes in arrives at `data`, which never waits.
        let (_read, write) = channel.split();
        self.channels.insert(id, ChannelState::new(write));
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<()> {
        self.refuse_channel(reply, "x11").await
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<()> {
        self.refuse_channel(reply, "direct-tcpip").await
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<()> {
        self.refuse_channel(reply, "forwarded-tcpip").await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<()> {
        self.refuse_channel(reply, "direct-streamlocal").await
    }

    async fn channel_open_confirmation(
        &mut self,
        _id: ChannelId,
        _max_packet_size: u32,
        _window_size: u32,
        _session: &mut Session,
    ) -> Result<()> {
        // We open no channels, and the library ends a connection that confirms one.
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _session: &mut Session) -> Result<()> {
        if let Some(state) = self.channels.get_mut(&channel)
            && let Some(feed) = &mut state.feed
            && let Err(met) = feed.push(data)
        {
            // The task sees it too, tells the client why, and closes.
            state.feed = None;
            self.door.meter.met(match met {
                Flooded::Sent => Limit::Sent,
                Flooded::Unread => Limit::Unread,
                Flooded::Crowded => Limit::UnreadInAll,
            });
            self.span.in_scope(|| tracing::warn!("a client sent more than it may on a channel"));
        }
        Ok(())
    }

    async fn extended_data(
        &mut self,
        _channel: ChannelId,
        _code: u32,
        _data: &[u8],
        _session: &mut Session,
    ) -> Result<()> {
        // Only a server has a standard error; a client's is dropped.
        Ok(())
    }

    async fn window_adjusted(&mut self, _channel: ChannelId, _new_size: u32, _session: &mut Session) -> Result<()> {
        // The write half keeps its own count.
        Ok(())
    }

    fn adjust_window(&mut self, _channel: ChannelId, current: u32) -> u32 {
        current
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _col_width: u32,
        _row_height: u32,
        _pix_width: u32,
        _pix_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<()> {
        // Refused without closing: `ssh git@gateway` asks for one before its shell.
        Ok(session.channel_failure(channel)?)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _x11_auth_protocol: &str,
        _x11_auth_cookie: &str,
        _x11_screen_number: u32,
        session: &mut Session,
    ) -> Result<()> {
        self.refuse_request(channel, session, "x11-req")
    }

    async fn env_request(&mut self, channel: ChannelId, name: &str, value: &str, session: &mut Session) -> Result<()> {
        let version = if name == "GIT_PROTOCOL" { GitProtocol::from_env(value) } else { None };
        match (version, self.channels.get_mut(&channel)) {
            (Some(version), Some(state)) => {
                state.protocol = version;
                Ok(session.channel_success(channel)?)
            }
            _ => Ok(session.channel_failure(channel)?),
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<()> {
        self.start(channel, session, Command::Shell)
    }

    async fn exec_request(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<()> {
        self.start(channel, session, Command::Exec(data.to_vec()))
    }

    async fn subsystem_request(&mut self, channel: ChannelId, _name: &str, session: &mut Session) -> Result<()> {
        self.refuse_request(channel, session, "subsystem")
    }

    async fn window_change_request(
        &mut self,
        _channel: ChannelId,
        _col_width: u32,
        _row_height: u32,
        _pix_width: u32,
        _pix_height: u32,
        _session: &mut Session,
    ) -> Result<()> {
        // RFC 4254 §6.7: no reply is wanted, and there is no terminal.
        Ok(())
    }

    async fn agent_request(&mut self, _channel: ChannelId, _session: &mut Session) -> Result<bool> {
        self.note("auth-agent-req");
        Ok(false)
    }

    async fn signal(&mut self, _channel: ChannelId, _signal: Sig, _session: &mut Session) -> Result<()> {
        // RFC 4254 §6.9: no reply is wanted. A client that wants its fetch to end closes the channel.
        Ok(())
    }

    async fn tcpip_forward(&mut self, _address: &str, _port: &mut u32, _session: &mut Session) -> Result<bool> {
        self.note("tcpip-forward");
        Ok(false)
    }

    async fn cancel_tcpip_forward(&mut self, _address: &str, _port: u32, _session: &mut Session) -> Result<bool> {
        Ok(false)
    }

    async fn streamlocal_forward(&mut self, _socket_path: &str, _session: &mut Session) -> Result<bool> {
        self.note("streamlocal-forward");
        Ok(false)
    }

    async fn cancel_streamlocal_forward(&mut self, _socket_path: &str, _session: &mut Session) -> Result<bool> {
        Ok(false)
    }

    async fn lookup_dh_gex_group(&mut self, wanted: &GexParams) -> Result<Option<DhGroup>> {
        // RFC 4419 §3: the smallest that is at least what is preferred, else the largest that is allowed. Ours are the
        // groups of RFC 3526, all safe primes, and only those that a stranger may well have us compute with (`algorithms`).
        let ours = [&DH_GROUP14, &DH_GROUP15];
        let allowed =
            || ours.iter().filter(|g| (wanted.min_group_size()..=wanted.max_group_size()).contains(&g.bit_size()));
        let group = allowed().find(|g| g.bit_size() >= wanted.preferred_group_size()).or_else(|| allowed().next_back());
        if let Some(group) = group {
            self.asked.group(group.prime.len());
        }
        Ok(group.map(|group| (*group).clone()))
    }
}
