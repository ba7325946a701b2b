//! What a service manager hands to a daemon, and what it wants to hear (systemd.socket(5), sd_notify(3)). Without one, none of
//! this does anything.

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The sockets that were opened for this process, in their order: the ports stay open while one daemon follows another, and who
/// connects meanwhile waits instead of being refused. Call it before any thread is started, and once: it takes them out
/// of the environment.
///
/// # Errors
/// When one of them is not a TCP socket that listens.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    let mut given = ListenFd::from_env();
    let mut listeners = Vec::new();
    for place in 0..given.len() {
        let Some(listener) = given.take_tcp_listener(place)? else { continue };
        if !rustix::net::sockopt::socket_acceptconn(&listener)? {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it does not listen"));
        }
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The doors are open.
pub fn ready() {
    // A process that takes another's place would else be silent for up to one time and a half of the watchdog's.
    tell(&[NotifyState::Ready, NotifyState::Status("serving"), NotifyState::Watchdog]);
}

/// The config is being read anew; [`ready`] says that it was, for better or worse.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager is not told of the reload"),
    }
}

/// Nobody new is let in.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("letting what runs come to its end")]);
}

/// Another process is the daemon from now on.
pub(super) fn handed_to(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
}

/// Says that the daemon is alive for as long as it is polled, if somebody wants to hear it; else it waits for ever.
pub(super) async fn alive() {
    let Some(every) = sd_notify::watchdog_enabled().filter(|every| *every > Duration::ZERO) else {
        return std::future::pending().await;
    };
    // Twice in the time after which it would be taken for dead, as sd_watchdog_enabled(3) asks.
    let mut ticks = tokio::time::interval(every / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
