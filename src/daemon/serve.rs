//! The daemon's day: open the doors, serve, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::usage::{self, Usage};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::house::House;
use super::meter;
use super::service;
use crate::front::control::listener::{BindError, Listener};
use crate::front::metrics;
use crate::front::ssh::listener;

/// How long answers may take to end after their line was cut.
const LAST_RECORDS: Duration = Duration::from_secs(2);

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
}

impl ServeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen { error, .. } if error.kind() == std::io::ErrorKind::AddrInUse => {
                "another program listens there: stop it, or choose another port as `listen` under [ssh]"
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
        }
    }
}

/// Doors that are open, before anybody was let through.
#[derive(Debug)]
pub struct Open {
    house: House,
    ssh: Vec<TcpListener>,
    control: Listener,
    metrics: Option<TcpListener>,
}

/// Opens every door, or none. Where [`service::inherited`] gave sockets, those are the doors for git, whatever the config
/// says.
///
/// # Errors
/// [`ServeError`]
pub async fn open(house: House, inherited: Vec<std::net::TcpListener>) -> Result<Open, ServeError> {
    let given = !inherited.is_empty();
    let mut ssh = Vec::new();
    for listener in inherited {
        ssh.push(TcpListener::from_std(listener).map_err(ServeError::Inherited)?);
    }
    for address in house.listen.iter().filter(|_| !given) {
        let failed = |error| ServeError::Listen { address: *address, error };
        ssh.push(TcpListener::bind(address).await.map_err(failed)?);
    }
    let metrics = match house.metrics {
        None => None,
        Some(address) => {
            let failed = |error| ServeError::Metrics { address, error };
            Some(TcpListener::bind(address).await.map_err(failed)?)
        }
    };
    let control = Listener::bind(house.control.clone())?;
    Ok(Open { house, ssh, control, metrics })
}

impl Open {
    /// Serves until `stop` completes; then accepts nobody new, lets what runs come to its end for the time of
    /// [`super::config::Limits::drain`], and cuts the rest.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { house, ssh, control, metrics } = self;
        let (stopping, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut doors = JoinSet::new();
        // Until all else has ended: who watches sees how it ends.
        let ended = CancellationToken::new();
        let watched = metrics.map(|listener| {
            let door =
                metrics::Door::new(meter::numbers(&house), house.lookup.clone(), house.store.clone(), stopping.clone());
            if let Some(address) = house.metrics {
                tracing::info!(%address, "metrics are told");
            }
            tokio::spawn(metrics::run(Arc::new(door), listener, ended.clone()))
        });
        for listener in ssh {
            match listener.local_addr() {
                Ok(address) => tracing::info!(%address, "serving SSH"),
                Err(error) => tracing::warn!(%error, "serving SSH at an address that cannot be told"),
            }
            let (newest, stopping, cut) = (house.reloader.doors(), stopping.clone(), cut.clone());
            doors.spawn(listener::run(newest, listener, stopping, cut));
        }
        doors.spawn(control.serve(house.admin.clone(), stopping.clone().cancelled_owned()));
        let uses = tokio::spawn(keep_uses(house.usage.clone(), stopping.clone()));
        let watchdog = tokio::spawn(service::alive());
        service::ready();
        stop.await;
        service::stopping();
        tracing::info!(limit = ?house.drain, "stopping: nobody new is let in, what runs may finish");
        stopping.cancel();
        let finished = async { while doors.join_next().await.is_some() {} };
        if tokio::time::timeout(house.drain, finished).await.is_err() {
            tracing::warn!("stopping: what still runs is cut");
            cut.cancel();
            while doors.join_next().await.is_some() {}
        }
        // What was used while the doors closed counts too.
        if uses.await.is_err() {
            tracing::warn!("the record of when keys were used was not kept");
        }
        write_uses(&house.usage).await;
        // Whose line was cut still leaves a record.
        if tokio::time::timeout(LAST_RECORDS, house.door.answered()).await.is_err() {
            tracing::warn!("stopping: an answer did not end in time");
        }
        let audit = house.audit.clone();
        audit.checkpoint();
        if tokio::task::spawn_blocking(move || audit.flush()).await.is_err() {
            tracing::warn!("stopping: the last audit records may not be written");
        }
        watchdog.abort();
        ended.cancel();
        if let Some(watched) = watched
            && watched.await.is_err()
        {
            tracing::warn!("stopping: the metrics listener ended in a panic");
        }
        tracing::info!("stopped");
    }
}

/// Writes now and then when keys were used, until the end.
async fn keep_uses(usage: Usage, stopping: CancellationToken) {
    while tokio::time::timeout(usage::EVERY, stopping.cancelled()).await.is_err() {
        write_uses(&usage).await;
    }
}

async fn write_uses(usage: &Usage) {
    let usage = usage.clone();
    match tokio::task::spawn_blocking(move || usage.write()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "when keys were used cannot be written; it is tried again"),
        Err(error) => tracing::warn!(%error, "when keys were used cannot be written"),
    }
}
