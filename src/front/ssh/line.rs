//! The socket of a connection, with a way to cut it, and with turns for what takes long.
//!
//! The SSH library runs a session in a task of its own, and that task may wait in a write that never ends. Cutting the line
//! ends every wait on it.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::ahead::Ahead;
use super::exchange::Exchanges;

/// A stream that fails as soon as its token is cancelled.
pub(super) struct Line<S> {
    stream: S,
    ahead: Ahead,
    /// One for each direction: a future wakes only who polled it last, and the directions may belong to two tasks.
    cut_reading: Cut,
    cut_writing: Cut,
    exchanges: Exchanges,
    /// Whether the peer has said what it is, with the first end of a line (RFC 4253 §4.2). The library reads ahead until then, and what it
    /// has read could be an answer as well.
    introduced: bool,
}

type Cut = Pin<Box<WaitForCancellationFutureOwned>>;

impl<S> Line<S> {
    pub(super) fn new(stream: S, token: &CancellationToken, exchanges: Exchanges) -> Self {
        let cut = || Box::pin(token.clone().cancelled_owned());
        Self { stream, ahead: Ahead::default(), cut_reading: cut(), cut_writing: cut(), exchanges, introduced: false }
    }

    fn count(&mut self, written: Poll<Result<usize, Error>>) -> Poll<Result<usize, Error>> {
        if self.exchanges.goes_on()
            && let Poll::Ready(Ok(bytes)) = &written
        {
            self.exchanges.wrote(*bytes);
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
        let Self { stream, ahead, exchanges, introduced, .. } = &mut *self;
        if !exchanges.goes_on() && *introduced {
            return ahead.poll_read(stream, cx, buf);
        }
        let there = ready!(ahead.poll_there(stream, cx))?;
        if !*introduced {
            exchanges.greeted(there);
        }
        let there = there.get(..buf.remaining()).unwrap_or(there);
        let bytes =
            if *introduced { there } else { there.split_inclusive(|byte| *byte == b'\n').next().unwrap_or(there) };
        ready!(exchanges.poll_pass(bytes.len(), cx));
        buf.put_slice(bytes);
        *introduced |= bytes.last() == Some(&b'\n');
        let passed = bytes.len();
        ahead.take(passed);
        Poll::Ready(Ok(()))
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
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::super::Settings;
    use super::super::exchange::Asked;
    use super::super::meter::Meter;
    use super::super::places::{NetworkPlace, Places, Turn, What};
    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    /// Bytes that may be on their way.
    const ROOM: usize = 4096;

    /// Lines of one network, which has one turn.
    struct Site(NetworkPlace);

    impl Site {
        fn new() -> Self {
            let settings = Settings { group_exchanges: 2, ..Settings::default() };
            Self(Arc::new(Places::new(&settings)).network([192, 0, 2, 1].into()).unwrap())
        }

        /// A line, its other end, and who says that a group is given.
        fn line(&self, token: &CancellationToken) -> (Line<DuplexStream>, DuplexStream, Asked) {
            let ((near, far), asked) = (duplex(ROOM), Asked::default());
            let exchanges = Exchanges::new(asked.clone(), self.0.turns(&Meter::default()));
            (Line::new(near, token, exchanges), far, asked)
        }

        /// One that was given a group, with a prime of 4 bytes, and has the turn for its answer.
        async fn computes(&self) -> (Line<DuplexStream>, DuplexStream) {
            let (mut line, mut far, asked) = self.line(&CancellationToken::new());
            asked.group(4);
            far.write_all(&[1; 20]).await.unwrap();
            line.read_exact(&mut [0; 20]).await.unwrap();
            (line, far)
        }

        /// The turn of somebody who logs in.
        async fn login(&self) -> Option<Turn> {
            self.0.turns(&Meter::default()).next(What::Login).await
        }

        async fn is_free(&self) -> bool {
            timeout(SOON, self.0.turns(&Meter::default()).next(What::Exchange)).await.is_ok()
        }
    }

    #[tokio::test]
    async fn cutting_ends_a_read_and_a_write_that_wait() {
        let token = CancellationToken::new();
        let (mut line, _far, _) = Site::new().line(&token);
        line.write_all(&[0; ROOM]).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(line);
        let reading = tokio::spawn(async move { reader.read_u8().await.unwrap_err().kind() });
        let writing = tokio::spawn(async move { writer.write_all(b"more").await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        token.cancel();
        assert_eq!(reading.await.unwrap(), ErrorKind::ConnectionAborted);
        assert_eq!(writing.await.unwrap(), ErrorKind::ConnectionAborted);
    }

    /// What comes behind it in one piece is not taken by who reads it.
    #[tokio::test]
    async fn what_a_peer_is_comes_alone() {
        let (mut line, mut far, _) = Site::new().line(&CancellationToken::new());
        far.write_all(b"SSH-2.0-x\r\npackets\nand more").await.unwrap();
        let mut bytes = [0; 64];
        assert_eq!(line.read(&mut bytes[..3]).await.unwrap(), 3);
        assert_eq!(line.read(&mut bytes[3..]).await.unwrap(), 8);
        assert_eq!(line.read(&mut bytes[11..]).await.unwrap(), 16);
        assert_eq!(&bytes[..27], b"SSH-2.0-x\r\npackets\nand more");
    }

    #[tokio::test]
    async fn an_answer_is_passed_on_with_a_turn_and_nothing_before_it_is_held() {
        let site = Site::new();
        let (first, _other) = site.computes().await;
        assert!(!site.is_free().await);
        let token = CancellationToken::new();
        let (mut line, mut far, asked) = site.line(&token);
        asked.group(4);
        let answer = b"a packet of 25 bytes, say";
        far.write_all(answer).await.unwrap();
        let mut bytes = [0; 25];
        line.read_exact(&mut bytes[..4]).await.unwrap();
        assert!(timeout(SOON, line.read_u8()).await.is_err(), "a packet may be whole with any further byte");
        // Who leaves gives it back.
        drop(first);
        line.read_exact(&mut bytes[4..]).await.unwrap();
        assert_eq!(&bytes, answer);
        assert!(!site.is_free().await);
        // Who waits in vain is cut as anybody else.
        let (mut third, mut far, asked) = site.line(&token);
        asked.group(4);
        far.write_all(answer).await.unwrap();
        let waits = tokio::spawn(async move { third.read_exact(&mut [0; 25]).await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        token.cancel();
        assert_eq!(waits.await.unwrap(), ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_turn_is_over_with_the_next_read_or_write() {
        let site = Site::new();
        let (mut line, mut far) = site.computes().await;
        assert!(!site.is_free().await);
        assert!(timeout(SOON, line.read_u8()).await.is_err(), "a peer that says nothing more");
        assert!(site.is_free().await);
        // Each piece of an answer has a turn, as long as there was none to it.
        far.write_all(b"x").await.unwrap();
        line.read_u8().await.unwrap();
        assert!(!site.is_free().await);
        line.write_all(b"half").await.unwrap();
        assert!(site.is_free().await);
        far.write_all(b"x").await.unwrap();
        line.read_u8().await.unwrap();
        assert!(!site.is_free().await);
        // The group and the answer to the answer: nobody needs a turn any more.
        line.write_all(b"both").await.unwrap();
        far.write_all(b"x").await.unwrap();
        line.read_u8().await.unwrap();
        assert!(site.is_free().await);
    }

    /// Reads a packet of so many bytes, in the two pieces in which the library does.
    async fn packet(line: &mut Line<DuplexStream>, bytes: usize) -> bool {
        line.read_exact(&mut [0; 4]).await.unwrap();
        timeout(SOON, line.read_exact(&mut vec![0; bytes - 4])).await.is_ok()
    }

    #[tokio::test]
    async fn until_a_peer_is_logged_in_what_is_long_needs_a_turn() {
        let site = Site::new();
        let (mut line, mut far, asked) = site.line(&CancellationToken::new());
        far.write_all(&[b'\n'; 1]).await.unwrap();
        line.read_u8().await.unwrap();
        let held = site.login().await;
        let say = async |far: &mut DuplexStream, bytes: usize| far.write_all(&vec![7; bytes]).await.unwrap();
        // What comes before is the exchange of keys.
        say(&mut far, 2000).await;
        assert!(packet(&mut line, 2000).await);
        asked.login();
        say(&mut far, 320).await;
        assert!(packet(&mut line, 320).await, "with the keys that most have");
        line.write_all(b"no").await.unwrap();
        say(&mut far, 351).await;
        assert!(!packet(&mut line, 351).await);
        drop(held);
        line.read_exact(&mut [0; 347]).await.unwrap();
        assert!(timeout(SOON, site.login()).await.is_err(), "it has its turn while it is looked at");
        // A handler that is about to wait says so.
        asked.computed();
        let held = site.login().await;
        line.write_all(b"no").await.unwrap();
        // In pieces it is as long.
        say(&mut far, 200).await;
        assert!(packet(&mut line, 200).await);
        say(&mut far, 200).await;
        assert!(!packet(&mut line, 200).await);
        asked.logged_in();
        line.read_exact(&mut [0; 196]).await.unwrap();
        drop(held);
    }
}
