//! The daemon's day: open the doors, serve, drain.

use std::net::SocketAddr;
use std::sync::Arc;

use super::house::House;
use super::service;
use super::serving::Serving;
use super::signals::Signals;
use super::sockets::Sockets;
use super::upgrade::ask::Asker;
use super::upgrade::heir::Heir;
use super::upgrade::next::{StartedBy, UpgradeError};
use super::upgrade::successor::Successor;
use crate::front::control::listener::BindError;

/// Why the doors cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address to listen on.
    #[error("{address} cannot be listened on: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// A socket that somebody else opened for it.
    #[error("a socket that the service manager opened cannot be used: {0}")]
    Inherited(std::io::Error),
    /// The address for metrics.
    #[error("{address} cannot be listened on for metrics: {error}")]
    Metrics {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] BindError),
    /// The registry, which was given to a process that could not take over.
    #[error("the registry was given to a process that could not take over, and cannot be opened again")]
    Lost,
}

impl ServeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen { error, .. } if error.kind() == std::io::ErrorKind::AddrInUse => {
                "another program listens there, or another address of the list covers it: stop it, or choose another port as \
                 `listen` under [ssh]"
            }
            Self::Listen { .. } => "choose another address as `listen` under [ssh]",
            Self::Inherited(_) => {
                "give it TCP sockets that listen and no others, such as `ListenStream=2222` in its .socket unit"
            }
            Self::Metrics { error, .. } if error.kind() == std::io::ErrorKind::AddrInUse => {
                "another program listens there: stop it, or choose another port as `listen` under [metrics]"
            }
            Self::Metrics { .. } => "choose another loopback address as `listen` under [metrics], or \"\" for none",
            Self::Control(_) => "mend it, or name another `socket` under [control]",
            Self::Lost => "the log says why; start the daemon anew",
        }
    }
}

/// Doors that are open, before anybody was let through.
#[derive(Debug)]
pub struct Open {
    pub(super) house: House,
    pub(super) sockets: Sockets,
    /// What another process is started by that is to take this one's place; without it there is no such.
    pub(super) started_by: Option<StartedBy>,
}

impl Open {
    /// A house, with its doors.
    #[must_use]
    pub fn new(house: House, sockets: Sockets) -> Self {
        Self { house, sockets, started_by: None }
    }

    /// The same, able to have another process take its place.
    #[must_use]
    pub fn with_successors(self, started_by: StartedBy) -> Self {
        Self { started_by: Some(started_by), ..self }
    }

    /// Serves until it is told to stop, or another process serves in the place of this one; then accepts nobody new, lets what
    /// runs come to its end for the time of [`super::config::Limits::drain`], and cuts the rest. `successor` is told first
    /// that the doors are open.
    ///
    /// # Errors
    /// [`ServeError::Lost`]
    pub async fn serve(self, successor: Option<Successor>, signals: Signals) -> Result<(), ServeError> {
        let (asker, mut asks) = Asker::new();
        let reloader = self.house.reloader();
        let reading = tokio::spawn(Arc::clone(&reloader).at_hangups(signals.hangups()));
        let mut serving = Serving::begin(self, asker);
        serving.let_in();
        if let Some(successor) = successor {
            serving.is_the_daemon(successor).await;
        }
        service::ready();
        let ending = loop {
            let ask = tokio::select! {
                biased;
                () = signals.stop.cancelled() => break Ending::Stop,
                Some(ask) = asks.recv() => ask,
            };
            tracing::info!(by = ask.by, "another process is to take the place of this one");
            let read = *signals.hangups().borrow();
            let (answer, ending) = match serving.upgrade(&signals.stop).await {
                Ok(heir) => {
                    tracing::info!(
                        next = heir.id(),
                        "another process serves; this one brings to an end what it has begun"
                    );
                    // Before the operator hears of it, who may then do to this one what is not meant for the other.
                    heir.pass_on_a_stop(&signals).await;
                    (Ok(heir.id()), Some(Ending::Handed(heir, read)))
                }
                Err(error) => {
                    if !signals.stop.is_cancelled() {
                        tracing::error!(%error, "another process cannot take the place of this one");
                    }
                    let ending = matches!(error, UpgradeError::Lost(_)).then_some(Ending::Lost);
                    (Err(error), ending)
                }
            };
            if ask.answer.send(answer).is_err() {
                tracing::debug!("whoever asked for it has gone");
            }
            if let Some(ending) = ending {
                break ending;
            }
        };
        drop(asks);
        // From here on nothing that is read anew would count.
        reading.abort();
        let handed = matches!(ending, Ending::Handed(..));
        let end = serving.end(handed);
        let hangups = async {
            if let Ending::Handed(heir, read) = &ending {
                heir.pass_on_hangups(&signals, *read, &reloader).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            // First: what is to be passed on is passed on, however soon this one ends.
            () = hangups => {}
            () = end => {}
        }
        if matches!(ending, Ending::Lost) { Err(ServeError::Lost) } else { Ok(()) }
    }
}

/// Why it does not serve any more.
enum Ending {
    Stop,
    /// Somebody else serves, who was started when the config was to be read anew for so many times.
    Handed(Heir, u64),
    Lost,
}
