//! The new daemon's end: hears from the old one, at its standard input, when it is its turn.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;

use super::STEP;
use super::line::{Line, LineError, Word, unknown};
use crate::daemon::sockets::Handed;

/// Why the line to the old daemon is none.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Somebody else started it.
    #[error("its standard input is no line to a daemon")]
    NoLine,
    /// The old one is gone, or not understood.
    #[error("the daemon whose place was to be taken cannot be talked to: {0}")]
    Line(#[from] LineError),
}

/// The line to the daemon whose place is to be taken.
#[derive(Debug)]
pub struct Successor {
    line: Line,
}

impl Successor {
    /// Begins: takes the sockets over. Blocks.
    ///
    /// # Errors
    /// [`JoinError`]
    pub fn join() -> Result<(Self, Handed), JoinError> {
        let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(|_| JoinError::NoLine)?;
        let line = Line::over(input).ok_or(JoinError::NoLine)?;
        let (word, descriptors) = line.hear(STEP)?;
        let handed = handed(&word, descriptors).ok_or_else(|| unknown(&format!("{word:?}")))?;
        Ok((Self { line }, handed))
    }

    /// Nothing but the registry is missing: waits until it is closed. Blocks.
    ///
    /// # Errors
    /// The old daemon is gone, or serves on.
    pub fn prepared(&self) -> Result<(), JoinError> {
        self.line.say(&Word::Prepared, &[])?;
        Ok(self.line.expect(&Word::Released, STEP)?)
    }

    /// The doors are open: waits until this is the daemon. Blocks.
    ///
    /// # Errors
    /// The old daemon is gone: this is the daemon then as well.
    pub fn serving(self) -> Result<(), JoinError> {
        self.line.say(&Word::Serving, &[])?;
        Ok(self.line.expect(&Word::Yours, STEP)?)
    }

    /// Tells the old daemon why it has to serve on.
    pub fn failed(&self, fact: String, hint: Option<String>) {
        if let Err(error) = self.line.say(&Word::Failed { fact, hint }, &[]) {
            tracing::warn!(%error, "the daemon whose place was to be taken cannot be told why not");
        }
    }
}

/// The sockets, if they are as many as was said.
fn handed(word: &Word, descriptors: Vec<OwnedFd>) -> Option<Handed> {
    let Word::Sockets { ssh, managed, metrics } = *word else { return None };
    let mut descriptors = descriptors.into_iter();
    let doors: Vec<_> = descriptors.by_ref().take(ssh).map(TcpListener::from).collect();
    let control = UnixListener::from(descriptors.next()?);
    let metrics = match metrics {
        true => Some(TcpListener::from(descriptors.next()?)),
        false => None,
    };
    let as_said = doors.len() == ssh && descriptors.next().is_none();
    as_said.then_some(Handed { ssh: doors, managed, control: Some(control), metrics })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_as_many_as_was_said() {
        let some = |count: usize| {
            (0..count).map(|_| OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap())).collect::<Vec<_>>()
        };
        let word = |ssh, metrics| Word::Sockets { ssh, managed: false, metrics };
        let good = handed(&word(2, true), some(4)).unwrap();
        assert_eq!((good.ssh.len(), good.metrics.is_some()), (2, true));
        assert!(handed(&word(1, false), some(2)).unwrap().metrics.is_none());
        for (word, count) in [(word(2, true), 3), (word(1, false), 1), (word(1, false), 3), (Word::Yours, 0)] {
            assert!(handed(&word, some(count)).is_none(), "{word:?}");
        }
    }
}
