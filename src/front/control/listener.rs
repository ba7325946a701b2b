//! The daemon's end of the control socket.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::parts::{self, Parts};
use super::protocol::{self, FrameError, HEADER, Request, Response};
use super::{Settings, service};
use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::{NotAllowed, Operator};
use crate::admin::{Admin, Faults};

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A daemon answers there.
    #[error("another daemon answers at the control socket {}", .0.display())]
    InUse(PathBuf),
    /// Something that is not a socket has the name; it is not removed.
    #[error("{} is there and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The system says no.
    #[error("the control socket {} cannot be opened: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// An open control socket. Its file is removed when this is dropped, unless somebody else has the socket by then.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    settings: Settings,
    left: AtomicBool,
    /// The requests that are being carried out.
    in_hand: TaskTracker,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.left.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.settings.socket) {
            tracing::warn!(%error, socket = %self.settings.socket.display(), "the control socket cannot be removed");
        }
    }
}

impl Listener {
    /// Opens the socket. A file that a killed daemon left behind is replaced; a socket where somebody answers is not.
    ///
    /// Call it with the registry open: its lock is what keeps a second daemon from taking the place between two steps.
    ///
    /// # Errors
    /// [`BindError`]
    pub fn bind(settings: Settings) -> Result<Self, BindError> {
        let path = &settings.socket;
        let failed = |error| BindError::Io { path: path.clone(), error };
        make_room(path)?;
        let listener = Self::over(UnixListener::bind(path).map_err(failed)?, settings);
        listener.permit()?;
        Ok(listener)
    }

    /// Goes on with a socket that another process opened at the same place. Its file stays that one's until it is claimed.
    ///
    /// # Errors
    /// [`BindError::Io`]
    pub fn adopt(socket: std::os::unix::net::UnixListener, settings: Settings) -> Result<Self, BindError> {
        let socket = socket.set_nonblocking(true).and_then(|()| UnixListener::from_std(socket));
        match socket {
            Ok(socket) => {
                let listener = Self::over(socket, settings);
                listener.leave();
                Ok(listener)
            }
            Err(error) => Err(BindError::Io { path: settings.socket, error }),
        }
    }

    fn over(socket: UnixListener, settings: Settings) -> Self {
        Self { socket, settings, left: AtomicBool::new(false), in_hand: TaskTracker::new() }
    }

    /// Lets those connect whom the settings name.
    fn permit(&self) -> Result<(), BindError> {
        // Until here the umask alone decided who can connect; the check of the peer holds in any case.
        let mode = if self.settings.operators.beyond_owner() { 0o666 } else { 0o600 };
        let path = &self.settings.socket;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .map_err(|error| BindError::Io { path: path.clone(), error })
    }

    /// Is the one whose settings count, and who removes the socket's file in the end.
    ///
    /// # Errors
    /// Those whom the settings name cannot be let in.
    pub fn claim(&self) -> Result<(), BindError> {
        self.left.store(false, Ordering::Release);
        self.permit()
    }

    /// Leaves the socket's file where it is, for another process that has the socket.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    /// The socket, for another process.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Waits until no request is being carried out but one for an upgrade, which may wait for this in turn.
    pub async fn idle(&self) {
        self.in_hand.close();
        self.in_hand.wait().await;
        self.in_hand.reopen();
    }

    /// Serves operators until `shutdown` completes; then lets what was begun come to its end.
    pub async fn serve(self: Arc<Self>, admin: Admin, shutdown: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(self.settings.max_connections));
        let mut peers = JoinSet::new();
        let gathering = Arc::new(Semaphore::new(1));
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.accept(&slots) => accepted,
            };
            while peers.try_join_next().is_some() {}
            match accepted {
                Ok((stream, slot)) => {
                    let (admin, listener) = (admin.clone(), Arc::clone(&self));
                    let parts = Parts::new(Arc::clone(&gathering));
                    peers.spawn(async move {
                        if let Err(error) = talk(stream, &admin, &listener, parts).await {
                            tracing::debug!(%error, "a control connection ended early");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of descriptors, for example: the next attempt must not come at once.
                    tracing::error!(%error, "the control socket cannot accept");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
        }
        // Peers that are only connected run into their deadline, which bounds this wait.
        while peers.join_next().await.is_some() {}
    }

    async fn accept(&self, slots: &Arc<Semaphore>) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
        let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = self.socket.accept().await?;
        Ok((stream, slot))
    }
}

/// Removes what a killed daemon left at the socket's place.
fn make_room(path: &Path) -> Result<(), BindError> {
    let failed = |error| BindError::Io { path: path.to_owned(), error };
    let kind = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !kind.is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

/// One connection: who is it, then request after request.
async fn talk(mut stream: UnixStream, admin: &Admin, listener: &Listener, mut parts: Parts) -> io::Result<()> {
    let settings = &listener.settings;
    let operator = match Operator::from_peer(&stream, &settings.operators) {
        Ok(operator) => operator,
        Err(refusal) => {
            tracing::warn!(%refusal, "refused at the control socket");
            return answer(&mut stream, &Response::Faults(refused(&refusal).into()), settings).await;
        }
    };
    loop {
        let request = match next(&mut stream, settings).await? {
            Next::Request(request, bytes) => match parts.take(request, bytes) {
                parts::Next::Do(request) => request,
                parts::Next::Answer(answered) => {
                    answer(&mut stream, &Response::from(answered), settings).await?;
                    continue;
                }
            },
            Next::End => return Ok(()),
            Next::Broken(error) => {
                // Where the next frame starts is not known any more, or not worth knowing.
                return answer(&mut stream, &Response::Faults(Fault::from(error).into()), settings).await;
            }
        };
        let (admin, by) = (admin.clone(), operator.clone());
        let in_hand = (request != Request::Upgrade {}).then(|| listener.in_hand.token());
        let done = tokio::task::spawn_blocking(move || {
            let done = service::handle(&admin, &by, request);
            drop(in_hand);
            done
        });
        let done = done.await;
        let response = Response::from(done.unwrap_or_else(|error| {
            tracing::error!(%error, "a control request ended in a panic");
            Err(Faults::from(Fault::new(Kind::Internal, "the daemon failed over this request; its log says more")))
        }));
        answer(&mut stream, &response, settings).await?;
    }
}

fn refused(refusal: &NotAllowed) -> Fault {
    Fault::new(Kind::Denied, refusal.to_string())
        .hint("run the command as root or as the daemon's user, or add the user to `operators` under [control]")
}

enum Next {
    /// And the bytes of its frame.
    Request(Request, usize),
    End,
    Broken(FrameError),
}

/// The next request, whole within the peer's deadline.
async fn next(stream: &mut UnixStream, settings: &Settings) -> io::Result<Next> {
    let deadline = tokio::time::Instant::now() + settings.peer_deadline;
    timeout_at(deadline, async {
        let mut header = [0; HEADER];
        match stream.read_exact(&mut header).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Next::End),
            Err(error) => return Err(error),
        }
        let length = match protocol::length(header) {
            Ok(length) => length,
            Err(error) => return Ok(Next::Broken(error)),
        };
        let mut json = vec![0; length];
        stream.read_exact(&mut json).await?;
        Ok(match protocol::decode(&json) {
            Ok(request) => Next::Request(request, length),
            Err(error) => Next::Broken(error),
        })
    })
    .await?
}

async fn answer(stream: &mut UnixStream, response: &Response, settings: &Settings) -> io::Result<()> {
    let frame = protocol::encode(response).or_else(|error| {
        tracing::error!(%error, "an answer makes no frame");
        protocol::encode(&Response::Faults(Fault::new(Kind::Internal, format!("the answer: {error}")).into()))
    });
    timeout(settings.peer_deadline, stream.write_all(&frame.map_err(io::Error::other)?)).await?
}

#[cfg(test)]
mod tests;
