//! What was read from a socket at once and is taken piece by piece: the SSH library reads the head of each packet by itself, so this
//! halves the system calls for what clients send. While nothing is there it takes no memory, as for nearly all the time with
//! connections that lie idle.

use std::io::Error;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

/// What is read at once, in bytes: more than a login and a request of git take. What is asked for in larger pieces is read past it.
pub(super) const AT_ONCE: usize = 2 * 1024;

/// Bytes of a stream that were read and not taken yet.
#[derive(Debug, Default)]
pub(super) struct Ahead(Bytes);

impl Ahead {
    /// What is there; when nothing is, what comes next from the stream. Nothing of that is the end of the stream.
    pub(super) fn poll_there<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<Result<&[u8], Error>>
    where
        S: AsyncRead + Unpin,
    {
        if self.0.is_empty() {
            let mut room = [MaybeUninit::uninit(); AT_ONCE];
            let mut read = ReadBuf::uninit(&mut room);
            ready!(Pin::new(stream).poll_read(cx, &mut read))?;
            self.0 = Bytes::copy_from_slice(read.filled());
        }
        Poll::Ready(Ok(&self.0))
    }

    /// Takes so many bytes away, or all that are there.
    pub(super) fn take(&mut self, bytes: usize) {
        self.0.advance(bytes.min(self.0.len()));
        if self.0.is_empty() {
            // A slice of nothing keeps the whole of what it is a slice of.
            self.0 = Bytes::new();
        }
    }

    /// Reads as from the stream itself.
    pub(super) fn poll_read<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>>
    where
        S: AsyncRead + Unpin,
    {
        if self.0.is_empty() && buf.remaining() >= AT_ONCE {
            return Pin::new(stream).poll_read(cx, buf);
        }
        let there = ready!(self.poll_there(stream, cx))?;
        let bytes = there.get(..buf.remaining()).unwrap_or(there);
        buf.put_slice(bytes);
        let taken = bytes.len();
        self.take(taken);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Reads a stream that comes in such pieces, with such room, to its end.
    async fn all(pieces: Vec<Vec<u8>>, room: usize) -> Vec<u8> {
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let writing = tokio::spawn(async move {
            for piece in pieces {
                far.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let (mut ahead, mut bytes) = (Ahead::default(), Vec::new());
        loop {
            let mut buf = vec![0; room];
            let mut read = ReadBuf::new(&mut buf);
            poll_fn(|cx| ahead.poll_read(&mut near, cx, &mut read)).await.unwrap();
            if read.filled().is_empty() {
                break;
            }
            bytes.extend_from_slice(read.filled());
        }
        writing.await.unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_changed(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3 * AT_ONCE), 0..6),
            room in prop_oneof![1usize..40, Just(AT_ONCE - 1), Just(AT_ONCE), Just(5 * AT_ONCE)],
        ) {
            let whole = pieces.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert_eq!(runtime.block_on(all(pieces, room)), whole);
        }
    }

    #[tokio::test]
    async fn what_is_looked_at_stays_until_it_is_taken_and_then_takes_nothing() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(b"abc").await.unwrap();
        let mut ahead = Ahead::default();
        for _ in 0..2 {
            assert_eq!(poll_fn(|cx| ahead.poll_there(&mut near, cx).map_ok(<[u8]>::to_vec)).await.unwrap(), b"abc");
        }
        ahead.take(1);
        assert_eq!(&ahead.0[..], b"bc");
        let was = ahead.0.as_ptr();
        ahead.take(9);
        assert!(ahead.0.is_empty() && ahead.0.as_ptr() != was.wrapping_add(2), "the bytes are given back");
    }
}
