//! How long a connection may stay when the daemon stops, or another process takes its place: until what it asked for is
//! answered. One that lies idle, as those that ssh keeps for later commands, is told to come again; it would be cut in the end.

use std::time::Duration;

use russh::Disconnect;
use russh::server::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Door;

/// How long a connection that has not asked for anything yet may take to do so.
const FIRST: Duration = Duration::from_secs(5);
/// How long a client that has received its whole answer is given to leave by itself, which is what nearly all do. It may have
/// some of it in its own buffers yet (2 MiB with OpenSSH), which a goodbye has it throw away; the library does not tell when a
/// client closes a channel that was closed here first.
const LEAVE: Duration = Duration::from_secs(10);
/// What an idle client is told.
const GOODBYE: &str = "this gateway is being stopped or upgraded; connect again";

/// What a connection has to do yet.
pub(super) struct Stay {
    /// Until its first command is decided.
    first: Option<TaskTrackerToken>,
    /// The commands that are being answered.
    pub(super) busy: TaskTracker,
    asked: CancellationToken,
    accepting: CancellationToken,
}

/// The listener's end of it.
pub(super) struct Watch {
    busy: TaskTracker,
    /// Over as soon as there was a command.
    asked: CancellationToken,
}

impl Stay {
    /// A connection that came in while `accepting` was not over yet.
    pub(super) fn begin(door: &Door, accepting: CancellationToken) -> (Self, Watch) {
        let (busy, asked) = (TaskTracker::new(), CancellationToken::new());
        busy.close();
        let watch = Watch { busy: busy.clone(), asked: asked.clone() };
        (Self { first: Some(door.undecided.token()), busy, asked, accepting }, watch)
    }

    /// Whether it is to make a connection of its own for what comes next: nobody new is let in here, and it had its command.
    /// OpenSSH does so by itself when a connection that is shared takes no more sessions.
    pub(super) fn is_over(&self) -> bool {
        self.first.is_none() && self.accepting.is_cancelled()
    }

    /// A command came in. The token is to be dropped when it is decided what it comes to.
    pub(super) fn command(&mut self, door: &Door) -> TaskTrackerToken {
        self.asked.cancel();
        self.first.take().unwrap_or_else(|| door.undecided.token())
    }
}

impl Watch {
    /// Waits for `leave`, and then until the client has nothing to wait for any more; and tells it to come again. Never
    /// completes.
    pub(super) async fn goodbye(self, leave: &CancellationToken, handle: Handle) {
        leave.cancelled().await;
        // In a box: nearly all the time there is no use for it.
        Box::pin(self.tell(handle)).await;
        std::future::pending().await
    }

    async fn tell(self, handle: Handle) {
        // One that never asked for anything has had its time.
        drop(tokio::time::timeout(FIRST, self.asked.cancelled()).await);
        loop {
            self.busy.wait().await;
            has_everything(&handle).await;
            tokio::time::sleep(LEAVE).await;
            if self.busy.is_empty() {
                break;
            }
        }
        if handle.disconnect(Disconnect::ByApplication, GOODBYE.to_owned(), String::new()).await.is_err() {
            tracing::debug!("a client left before it was told to");
        }
    }
}

/// Waits until the client has read all that was sent to it. An answer that has ended here may be on its way for long, and an
/// end of the connection would overtake it: whoever closes a socket with something unread in it takes back what the other side
/// has not read yet.
///
/// So it is asked something to which every client answers no, in its turn (RFC 4254 §4): to end a forwarding that there is not.
async fn has_everything(handle: &Handle) {
    if handle.cancel_forward_tcpip(String::new(), 0).await.is_ok() {
        tracing::debug!("a client says that it ended what was never there");
    }
}
