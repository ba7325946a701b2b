//! The way from an operator who asks for an upgrade to the daemon that carries it out.

use tokio::sync::{mpsc, oneshot};

use super::next::UpgradeError;
use crate::admin::fault::{Fault, Kind};
use crate::admin::upgrade::Upgrader;

/// An operator waits for the answer.
#[derive(Debug)]
pub(in crate::daemon) struct Ask {
    pub(in crate::daemon) by: String,
    pub(in crate::daemon) answer: oneshot::Sender<Result<u32, UpgradeError>>,
}

/// The operator's end.
#[derive(Debug)]
pub(in crate::daemon) struct Asker(mpsc::Sender<Ask>);

impl Asker {
    /// Both ends; one operator at a time is heard.
    pub(in crate::daemon) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (sender, asks) = mpsc::channel(1);
        (Self(sender), asks)
    }

    fn ask(&self, by: &str) -> Result<u32, UpgradeError> {
        let (answer, answered) = oneshot::channel();
        match self.0.try_send(Ask { by: by.to_owned(), answer }) {
            Ok(()) => answered.blocking_recv().map_err(|_| UpgradeError::Stopping)?,
            Err(mpsc::error::TrySendError::Full(_)) => Err(UpgradeError::Twice),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(UpgradeError::Stopping),
        }
    }
}

impl Upgrader for Asker {
    fn upgrade(&self, by: &str) -> Result<u32, Fault> {
        self.ask(by).map_err(|error| Fault::new(Kind::Unavailable, error.to_string()).hint(error.hint()))
    }
}
