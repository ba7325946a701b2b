//! The socket of a connection, with a way to cut it, and a count of what was sent on it.
//!
//! The SSH library runs a session in a task of its own, and that task may wait in a write that never ends. Cutting the line
//! ends every wait on it.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::exchange::Sent;

/// A stream that fails as soon as its token is cancelled.
pub(super) struct Line<S> {
    stream: S,
    /// One for each direction: a future wakes only who polled it last, and the directions may belong to two tasks.
    cut_reading: Cut,
    cut_writing: Cut,
    sent: Sent,
}

type Cut = Pin<Box<WaitForCancellationFutureOwned>>;

impl<S> Line<S> {
    pub(super) fn new(stream: S, token: &CancellationToken, sent: Sent) -> Self {
        let cut = || Box::pin(token.clone().cancelled_owned());
        Self { stream, cut_reading: cut(), cut_writing: cut(), sent }
    }

    fn count(&self, written: Poll<Result<usize, Error>>) -> Poll<Result<usize, Error>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.sent.add(*bytes);
        }
        written
    }
}

fn check(cut: &mut Cut, cx: &mut Context<'_>) -> Result<(), Error> {
    match cut.as_mut().poll(cx) {
        Poll::Ready(()) => Err(ErrorKind::ConnectionAborted.into()),
        Poll::Pending => Ok(()),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<(), Error>> {
        check(&mut self.cut_reading, cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        check(&mut self.cut_writing, cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        check(&mut self.cut_writing, cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        check(&mut self.cut_writing, cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        check(&mut self.cut_writing, cx)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn cutting_ends_a_read_and_a_write_that_wait() {
        let (near, _far) = tokio::io::duplex(8);
        let token = CancellationToken::new();
        let mut line = Line::new(near, &token, Sent::default());
        line.write_all(b"12345678").await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(line);
        let reading = tokio::spawn(async move { reader.read_u8().await.unwrap_err().kind() });
        let writing = tokio::spawn(async move { writer.write_all(b"more").await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        token.cancel();
        assert_eq!(reading.await.unwrap(), ErrorKind::ConnectionAborted);
        assert_eq!(writing.await.unwrap(), ErrorKind::ConnectionAborted);
    }
}
