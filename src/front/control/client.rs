//! The command's end of the control socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{self, Answer, HEADER, Request, Response};
use crate::admin::Faults;
use crate::admin::fault::{Fault, Kind};
use crate::registry::change::Change;
use crate::registry::json_length;

/// How long the command waits for the daemon. A change waits for the disk, so this is far longer than a change takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for a large file that is applied: a million keys take a minute on an idle machine.
const LONG: Duration = Duration::from_secs(3600);

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// It was not done, for these reasons; nothing was changed.
    Refused(Faults),
    /// The connection broke after the request may have arrived: whether it was done is not known.
    Lost(Fault),
}

impl From<CallError> for Faults {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(faults) => faults,
            CallError::Lost(fault) => fault.into(),
        }
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    socket: PathBuf,
}

impl Client {
    /// Connects; `None` when no daemon is there: the socket is missing or nobody listens at it.
    ///
    /// # Errors
    /// The socket is there and cannot be used.
    pub fn connect(socket: &Path) -> Result<Option<Self>, Fault> {
        let error = match UnixStream::connect(socket) {
            Ok(stream) => return Ok(Some(Self { stream, socket: socket.to_owned() })),
            Err(error) => error,
        };
        let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        if nobody.contains(&error.kind()) {
            return Ok(None);
        }
        let fact = format!("the control socket {} cannot be used: {error}", socket.display());
        Err(match error.kind() == io::ErrorKind::PermissionDenied {
            true => Fault::new(Kind::Denied, fact).hint(
                "run the command as root or as the daemon's user; operators need a socket in a folder that they can enter \
                 (`socket` under [control])",
            ),
            false => Fault::new(Kind::Unavailable, fact).hint("`pullgate check` looks for the cause"),
        })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn call(&mut self, request: &Request) -> Result<Answer, CallError> {
        let patience = if *request == (Request::Upgrade {}) { LONG } else { PATIENCE };
        self.call_within(request, patience)
    }

    /// Has changes committed together, or only checked: sends them part by part, and says after each how many were sent.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn apply(
        &mut self,
        changes: Vec<Change>,
        dry_run: bool,
        mut sent: impl FnMut(usize),
    ) -> Result<Answer, CallError> {
        let mut changes = changes.into_iter().peekable();
        let mut count = 0;
        loop {
            let (mut part, mut bytes) = (Vec::new(), 0);
            while bytes < protocol::PART
                && let Some(change) = changes.next()
            {
                bytes += json_length(&change);
                part.push(change);
            }
            count += part.len();
            let more = changes.peek().is_some();
            let answer = self.call_within(&Request::Apply { changes: part, more, dry_run }, LONG)?;
            sent(count);
            if !more {
                return Ok(answer);
            }
        }
    }

    fn call_within(&mut self, request: &Request, patience: Duration) -> Result<Answer, CallError> {
        let frame = protocol::encode(request).map_err(|error| CallError::Refused(Fault::from(error).into()))?;
        // A peer that is refused is told so before its request is read, and then cannot write: the answer still counts.
        let written = self.send(&frame, patience);
        match self.receive() {
            Ok(Response::Answer(answer)) => Ok(answer),
            Ok(Response::Faults(faults)) => Err(CallError::Refused(faults)),
            Err(error) => Err(self.lost(request, &written.err().unwrap_or(error))),
        }
    }

    fn send(&mut self, frame: &[u8], patience: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.write_all(frame)
    }

    fn receive(&mut self) -> io::Result<Response> {
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header)?;
        let mut json = vec![0; protocol::length(header).map_err(io::Error::other)?];
        self.stream.read_exact(&mut json)?;
        protocol::decode(&json).map_err(io::Error::other)
    }

    fn lost(&self, request: &Request, error: &io::Error) -> CallError {
        let fact = format!("no answer from the daemon at {}: {error}", self.socket.display());
        CallError::Lost(Fault::new(Kind::Unavailable, fact).hint(match only_asks(request) {
            true => "look at the daemon's log, and whether it runs or its disk hangs; nothing was to be changed",
            false => "whether it was done is not known: look with `pullgate key list`, and at the daemon's log",
        }))
    }
}

/// Whether it changes nothing, so that it does not matter whether it was done.
fn only_asks(request: &Request) -> bool {
    matches!(
        request,
        Request::AccountList { .. }
            | Request::KeyList { .. }
            | Request::KeyShow { .. }
            | Request::GroupList { .. }
            | Request::PublicList { .. }
            | Request::CacheShow {}
            | Request::Explain { .. }
            | Request::WhereIs { .. }
            | Request::RepoList { .. }
            | Request::RepoShow { .. }
    )
}
