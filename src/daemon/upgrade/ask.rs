//! The way from an operator who asks for an upgrade to the daemon that carries it out.

use std::sync::atomic::{AtomicBool, Ordering};

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
pub(in crate::daemon) struct Asker {
    asks: mpsc::Sender<Ask>,
    /// Whether somebody waits for an answer.
    busy: AtomicBool,
}

impl Asker {
    /// Both ends; one operator at a time is heard.
    pub(in crate::daemon) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (sender, asks) = mpsc::channel(1);
        (Self { asks: sender, busy: AtomicBool::new(false) }, asks)
    }

    fn ask(&self, by: &str) -> Result<u32, UpgradeError> {
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(UpgradeError::Twice);
        }
        let answer = self.answer_to(by);
        self.busy.store(false, Ordering::Release);
        answer
    }

    fn answer_to(&self, by: &str) -> Result<u32, UpgradeError> {
        let (answer, answered) = oneshot::channel();
        match self.asks.try_send(Ask { by: by.to_owned(), answer }) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn of_two_operators_one_is_heard_and_the_other_told() {
        let (asker, mut asks) = Asker::new();
        let asker = Arc::new(asker);
        let first = Arc::clone(&asker);
        let first = tokio::task::spawn_blocking(move || first.ask("one"));
        let ask = asks.recv().await.unwrap();
        assert!(matches!(asker.ask("two"), Err(UpgradeError::Twice)));
        ask.answer.send(Ok(7)).unwrap();
        assert!(matches!(first.await.unwrap(), Ok(7)));
        drop(asks);
        assert!(matches!(asker.ask("three"), Err(UpgradeError::Stopping)));
    }
}
