//! The daemon's day: open the doors, serve, drain.

use std::net::SocketAddr;
use std::time::Duration;

use crate::usage::{self, Usage};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::house::House;
use crate::front::control::listener::{BindError, Listener};
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
}

/// Opens every door, or none.
///
/// # Errors
/// [`ServeError`]
pub async fn open(house: House) -> Result<Open, ServeError> {
    let mut ssh = Vec::new();
    for address in &house.listen {
        let failed = |error| ServeError::Listen { address: *address, error };
        ssh.push(TcpListener::bind(address).await.map_err(failed)?);
    }
    let control = Listener::bind(house.control.clone())?;
    Ok(Open { house, ssh, control })
}

impl Open {
    /// Serves until `stop` completes; then accepts nobody new, lets what runs come to its end for the time of
    /// [`super::config::Limits::drain`], and cuts the rest.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { house, ssh, control } = self;
        let (stopping, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut doors = JoinSet::new();
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
        stop.await;
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
