//! Who serves in this one's place, while this one brings to an end what it has begun.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::daemon::reload::Reloader;
use crate::daemon::signals::Signals;

/// How long a signal that was sent before the other one served may be on its way to this process.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// The process that serves.
#[derive(Debug)]
pub(in crate::daemon) struct Heir {
    id: u32,
    /// It, and no other process that has its number after it.
    process: Option<OwnedFd>,
}

impl Heir {
    /// A child that nobody has waited for yet.
    pub(super) fn new(child: &std::process::Child) -> Self {
        let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
        if let Err(error) = &process {
            tracing::warn!(%error, "signals that are meant for the process that serves cannot be passed on to it");
        }
        Self { id: child.id(), process: process.ok() }
    }

    /// Its number.
    pub(in crate::daemon) fn id(&self) -> u32 {
        self.id
    }

    /// Passes on to it that it is to stop, if that was said to this process before the other one served. What is said later is
    /// meant for a process that is ending in any case.
    pub(in crate::daemon) async fn pass_on_a_stop(&self, signals: &Signals) {
        if tokio::time::timeout(ON_ITS_WAY, signals.stop.cancelled()).await.is_ok() {
            self.tell(Signal::TERM);
        }
    }

    /// Passes on to it that it is to read its config anew, also if that is said later; `read` is how often it had been said
    /// when it was started, and read its config. Completes when nobody can say it any more.
    pub(in crate::daemon) async fn pass_on_hangups(&self, signals: &Signals, mut read: u64, reloader: &Reloader) {
        let mut hangups = signals.hangups();
        while let Ok(count) = hangups.wait_for(|count| *count != read).await.map(|count| *count) {
            read = count;
            self.tell(Signal::HUP);
            // It was a log rotation, perhaps, and this one has records to write yet.
            tokio::task::block_in_place(|| reloader.reopen_audit());
        }
    }

    fn tell(&self, signal: Signal) {
        let told = self.process.as_ref().map(|process| pidfd_send_signal(process, signal));
        match told {
            Some(Ok(())) => {
                tracing::info!(?signal, process = self.id, "a signal is passed on to the process that serves")
            }
            other => tracing::error!(
                ?other,
                ?signal,
                process = self.id,
                "the process that serves cannot be told of a signal"
            ),
        }
    }
}
