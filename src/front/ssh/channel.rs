//! One session channel (RFC 4254 §6): at most one command, and its way out.

use std::time::Duration;

use bytes::Bytes;
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::sync::watch;

use crate::git::inbound::Feed;
use crate::git::{Gone, Outbound};
use crate::model::protocol::GitProtocol;

/// What the handler keeps of a channel. Dropping it tells the channel's task that the client is gone.
pub(super) struct ChannelState {
    /// The way out, until a command takes it.
    write: Option<ChannelWriteHalf<Msg>>,
    /// The protocol version asked for by `env`.
    pub(super) protocol: GitProtocol,
    /// The way in, while a command runs and the client has not sent its end of file.
    pub(super) feed: Option<Feed>,
    /// Whether the client has sent its end of file, which it may do before it has asked for anything.
    pub(super) ended: bool,
    open: watch::Sender<()>,
}

impl ChannelState {
    pub(super) fn new(write: ChannelWriteHalf<Msg>) -> Self {
        Self {
            write: Some(write),
            protocol: GitProtocol::default(),
            feed: None,
            ended: false,
            open: watch::channel(()).0,
        }
    }

    /// Whether its command was answered. The library forgets a channel that we close first, and does not tell when the
    /// client closes it too.
    pub(super) fn is_answered(&self) -> bool {
        self.write.is_none() && self.open.receiver_count() == 0
    }

    /// The way out, for the first command; `None` for a second one.
    pub(super) fn take_out(&mut self) -> Option<ChannelOut> {
        Some(ChannelOut { write: self.write.take()?, open: self.open.subscribe() })
    }
}

/// The way to the client on one channel.
pub(super) struct ChannelOut {
    write: ChannelWriteHalf<Msg>,
    open: watch::Receiver<()>,
}

/// How long a client may leave no room for a few words.
const PATIENCE: Duration = Duration::from_secs(30);
/// RFC 4254 §5.2.
const STDERR: u32 = 1;

impl ChannelOut {
    /// Waits until the client closed the channel or is gone. Nothing is ever sent on `open`: only its end is news.
    async fn closed(open: &mut watch::Receiver<()>) {
        while open.changed().await.is_ok() {}
    }

    /// Ends the channel: exit status, end of file, close, in the order that every client waits for.
    pub(super) async fn finish(mut self, status: u32) -> Result<(), Gone> {
        let ending = async {
            self.write.exit_status(status).await?;
            self.write.eof().await?;
            self.write.close().await
        };
        tokio::select! {
            ended = ending => ended.map_err(|_| Gone),
            () = Self::closed(&mut self.open) => Err(Gone),
            () = tokio::time::sleep(PATIENCE) => Err(Gone),
        }
    }
}

impl Outbound for ChannelOut {
    async fn send(&mut self, bytes: Bytes) -> Result<(), Gone> {
        tokio::select! {
            sent = self.write.data_bytes(bytes) => sent.map_err(|_| Gone),
            () = Self::closed(&mut self.open) => Err(Gone),
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), Gone> {
        let bytes = Bytes::from(format!("{text}\n"));
        tokio::select! {
            sent = self.write.extended_data_bytes(STDERR, bytes) => sent.map_err(|_| Gone),
            () = Self::closed(&mut self.open) => Err(Gone),
            () = tokio::time::sleep(PATIENCE) => Err(Gone),
        }
    }

    async fn gone(&mut self) {
        Self::closed(&mut self.open).await;
    }
}
