//! What two daemons say to each other while one takes the other's place: packets of JSON over a pair of Unix sockets. They may
//! be of different releases: a word that is not understood ends the attempt, and the old one serves on.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown, socketpair,
};
use serde::{Deserialize, Serialize};

/// The longest packet, in bytes.
const LONGEST: usize = 16 * 1024;
/// The most descriptors that the kernel lets go with one packet (`SCM_MAX_FD`).
const MOST: usize = 253;

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "kebab-case")]
pub(super) enum Word {
    /// Here are my sockets: so many doors for git, then the control socket and the one for metrics, where there is one.
    Sockets { ssh: usize, managed: bool, metrics: bool },
    /// Nothing but the registry is missing.
    Prepared,
    /// The registry is closed.
    Released,
    /// The doors are open.
    Serving,
    /// You are the daemon now.
    Yours,
    /// I cannot take your place.
    Failed { fact: String, hint: Option<String> },
}

/// Why nothing more is heard, or nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The other end is gone.
    #[error("it ended")]
    Gone,
    /// It says nothing.
    #[error("it says nothing for {0:?}")]
    Silent(Duration),
    /// It says something else than it should.
    #[error("it says what is not understood here: {0}")]
    Unknown(String),
    /// It says why it cannot do it.
    #[error("{fact}")]
    Failed {
        /// What is the case.
        fact: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The system says no.
    #[error("the other process cannot be talked to: {0}")]
    Io(#[from] io::Error),
}

/// One end.
#[derive(Debug)]
pub(super) struct Line(OwnedFd);

impl Line {
    /// Two ends of one line. No program that is started inherits them.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// An end that somebody else made, if it is one.
    pub(super) fn over(descriptor: OwnedFd) -> Option<Self> {
        let kind = rustix::net::sockopt::socket_type(&descriptor).ok()?;
        (kind == SocketType::SEQPACKET).then_some(Self(descriptor))
    }

    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// Says something, and hands descriptors over with it.
    pub(super) fn say(&self, word: &Word, descriptors: &[BorrowedFd<'_>]) -> Result<(), LineError> {
        let text = serde_json::to_vec(word).map_err(io::Error::from)?;
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(descriptors.len()))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !with.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("more sockets than can be handed over").into());
        }
        // A peer that is gone is an error here and no signal.
        match sendmsg(self.0.as_fd(), &[IoSlice::new(&text)], &mut with, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Err(LineError::Gone),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// The next word, within `patience`, and what came with it. A word of failure is an error here.
    pub(super) fn hear(&self, patience: Duration) -> Result<(Word, Vec<OwnedFd>), LineError> {
        set_socket_timeout(&self.0, Timeout::Recv, Some(patience)).map_err(io::Error::from)?;
        let mut text = vec![0; LONGEST];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            // With a timeout the kernel does not begin again by itself after a signal (signal(7)).
            match recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut text)], &mut with, flags) {
                Ok(received) => break received,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(LineError::Silent(patience)),
                Err(rustix::io::Errno::CONNRESET) => return Err(LineError::Gone),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        };
        if received.bytes == 0 {
            return Err(LineError::Gone);
        }
        let mut descriptors = Vec::new();
        for message in with.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(LineError::Unknown("a packet that is too long".to_owned()));
        }
        let text = text.get(..received.bytes).unwrap_or_default();
        match serde_json::from_slice(text) {
            Ok(Word::Failed { fact, hint }) => Err(LineError::Failed { fact, hint }),
            Ok(word) => Ok((word, descriptors)),
            Err(_) => Err(unknown(&String::from_utf8_lossy(text))),
        }
    }

    /// Nothing more is said or heard: who waits hears that the other end is gone.
    pub(super) fn close(&self) {
        if let Err(error) = shutdown(&self.0, Shutdown::Both) {
            tracing::debug!(%error, "a line to another process cannot be closed");
        }
    }

    /// Waits for this word and no other.
    pub(super) fn expect(&self, word: &Word, patience: Duration) -> Result<(), LineError> {
        let (heard, _) = self.hear(patience)?;
        if heard == *word { Ok(()) } else { Err(unknown(&format!("{heard:?}"))) }
    }
}

/// What is not understood, short enough for a line.
pub(super) fn unknown(text: &str) -> LineError {
    LineError::Unknown(crate::model::text::printable(text, 200))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::io::Write as _;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn words_and_descriptors_come_across() {
        let (one, other) = Line::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let word = Word::Sockets { ssh: 1, managed: true, metrics: false };
        one.say(&word, &[writer.as_fd()]).unwrap();
        drop(writer);
        let (heard, mut descriptors) = other.hear(SOON).unwrap();
        assert_eq!((heard, descriptors.len()), (word, 1));
        let mut here = std::fs::File::from(descriptors.remove(0));
        here.write_all(b"through").unwrap();
        drop(here);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        other.say(&Word::Prepared, &[]).unwrap();
        one.expect(&Word::Prepared, SOON).unwrap();
    }

    #[test]
    fn every_way_to_say_nothing_good_is_told_apart() {
        let (one, other) = Line::pair().unwrap();
        assert!(matches!(one.hear(SOON), Err(LineError::Silent(_))));
        other.say(&Word::Failed { fact: "no".to_owned(), hint: None }, &[]).unwrap();
        assert!(matches!(one.hear(SOON), Err(LineError::Failed { .. })));
        other.say(&Word::Serving, &[]).unwrap();
        assert!(matches!(one.expect(&Word::Prepared, SOON), Err(LineError::Unknown(_))));
        for nonsense in [&b"{\"word\":\"fly\"}"[..], b"x", &[b' '; LONGEST + 1]] {
            rustix::net::send(&other.0, nonsense, SendFlags::empty()).unwrap();
            assert!(matches!(one.hear(SOON), Err(LineError::Unknown(_))), "{nonsense:?}");
        }
        drop(other);
        assert!(matches!(one.hear(SOON), Err(LineError::Gone)));
        assert!(matches!(one.say(&Word::Released, &[]), Err(LineError::Gone)));
    }

    /// Another release has to understand it.
    #[test]
    fn the_form_is_fixed() {
        let text = |word: Word| serde_json::to_string(&word).unwrap();
        let sockets = Word::Sockets { ssh: 2, managed: false, metrics: true };
        assert_eq!(text(sockets), r#"{"word":"sockets","ssh":2,"managed":false,"metrics":true}"#);
        assert_eq!(text(Word::Prepared), r#"{"word":"prepared"}"#);
        assert_eq!(text(Word::Released), r#"{"word":"released"}"#);
        assert_eq!(text(Word::Serving), r#"{"word":"serving"}"#);
        assert_eq!(text(Word::Yours), r#"{"word":"yours"}"#);
        let failed = Word::Failed { fact: "f".to_owned(), hint: Some("h".to_owned()) };
        assert_eq!(text(failed), r#"{"word":"failed","fact":"f","hint":"h"}"#);
    }

    #[test]
    fn a_file_is_no_line() {
        assert!(Line::over(std::fs::File::open("Cargo.toml").unwrap().into()).is_none());
        assert!(Line::over(std::net::TcpListener::bind("127.0.0.1:0").unwrap().into()).is_none());
        assert!(Line::over(Line::pair().unwrap().0.into_descriptor()).is_some());
    }
}
