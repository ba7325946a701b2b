//! A socket that acknowledges at once what it reads, until its peer is logged in.
//!
//! A client that says two small things one after the other, as OpenSSH does with the end of a key exchange and its request to log in,
//! may keep the second back until the first is acknowledged (RFC 896). We have nothing to say to the first, so that the kernel would
//! wait 40 ms for something to send the acknowledgement with (RFC 1122 §4.2.3.2).

use std::io::{Error, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::sockopt::set_tcp_quickack;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Such a socket.
pub(super) struct Prompt {
    socket: TcpStream,
    logged_in: CancellationToken,
}

impl Prompt {
    pub(super) fn new(socket: TcpStream, logged_in: CancellationToken) -> Self {
        Self { socket, logged_in }
    }
}

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<(), Error>> {
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if !self.logged_in.is_cancelled()
            // The kernel forgets it with the next thing that is sent.
            && let Err(error) = set_tcp_quickack(&self.socket, true)
        {
            tracing::debug!(%error, "what comes is acknowledged late");
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::tcp_quickack;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_comes_before_the_login_is_acknowledged_at_once() {
        for is_logged_in in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let logged_in = CancellationToken::new();
            let mut near = Prompt::new(listener.accept().await.unwrap().0, logged_in.clone());
            if is_logged_in {
                logged_in.cancel();
            }
            // Who answers at once is taken for somebody who will, each time.
            for _ in 0..8 {
                far.write_all(b"ask").await.unwrap();
                near.read_exact(&mut [0; 3]).await.unwrap();
                near.write_all(b"say").await.unwrap();
                far.read_exact(&mut [0; 3]).await.unwrap();
            }
            far.write_all(b"ask").await.unwrap();
            near.read_exact(&mut [0; 3]).await.unwrap();
            assert_eq!(tcp_quickack(&near.socket).unwrap(), !is_logged_in);
        }
    }
}
