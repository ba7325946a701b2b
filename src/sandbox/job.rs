//! One child as the gateway asks a worker for it, and what came of it: one packet each way, on a socket between the two.
//!
//! No byte of a client is in it. It is read strictly all the same: a worker that does not understand its order must not run
//! anything.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, send, sendmsg,
};

use serde::{Deserialize, Serialize};

use super::profile::{Profile, allow_of};
use super::report::{Report, Spent};

/// The longest order, in bytes. A system's socket takes 200 KiB at once (`net.core.wmem_default`); an order for git has
/// about two, and one more for each repository that is borrowed from.
const LONGEST: usize = 128 * 1024;

/// A child to be run in a cell.
#[derive(Debug)]
pub struct Job {
    /// What it may touch.
    pub profile: Profile,
    /// The program, by its whole path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder in which it starts.
    pub directory: OwnedFd,
}

/// The three descriptors of a child.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    /// It was run, in a cell of which this was enforced.
    Ran {
        /// What.
        report: Report,
        /// Its exit status; `None` for an end by signal.
        code: Option<i32>,
    },
    /// It was not run. Why stands on its standard error.
    NotRun {
        /// The system's error (errno(3)), if it was one.
        errno: Option<i32>,
    },
}

/// What a worker says of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// How it ended.
    pub(super) end: End,
    /// Whether everything that the child had started has ended too, so that there may be a next one.
    pub(super) clean: bool,
    /// What it took.
    pub(super) spent: Spent,
}

impl Job {
    fn words(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        for (name, value) in &self.environment {
            words.extend(["env".into(), name.clone(), value.clone()]);
        }
        self.profile.write(&mut words);
        words.extend(["--".into(), self.program.clone().into()]);
        words.extend(self.args.iter().cloned());
        words
    }

    fn read(words: &[OsString], directory: OwnedFd) -> Option<Self> {
        let (mut words, mut environment, mut allowed) = (words.iter(), Vec::new(), Vec::new());
        loop {
            match words.next()?.to_str()? {
                "--" => break,
                "env" => environment.push((words.next()?.clone(), words.next()?.clone())),
                word => allowed.push(allow_of(word, &mut words)?),
            }
        }
        let program = words.next()?.into();
        Some(Self { profile: Profile::new(allowed), program, args: words.cloned().collect(), environment, directory })
    }

    /// As it is handed to a worker.
    ///
    /// # Errors
    /// `InvalidInput` when it is too long or has a NUL in it.
    pub(super) fn packed(&self) -> std::io::Result<Packed<'_>> {
        let bytes = packed(&self.words()).ok_or(ErrorKind::InvalidInput)?;
        Ok(Packed { bytes, directory: self.directory.as_fd() })
    }

    /// Waits for the next; `None` when there will be none.
    ///
    /// # Errors
    /// When what came is no order, or cannot be received.
    pub(super) fn receive(socket: BorrowedFd<'_>) -> std::io::Result<Option<(Self, Pipes)>> {
        let (mut bytes, mut descriptors) = (vec![0u8; LONGEST], Vec::new());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let odd = || Error::from(ErrorKind::InvalidData);
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(odd());
        }
        let words = unpacked(bytes.get(..received.bytes).unwrap_or_default());
        let [stdin, stdout, stderr, directory] = <[OwnedFd; 4]>::try_from(descriptors).map_err(|_| odd())?;
        let job = Self::read(&words, directory).ok_or_else(odd)?;
        Ok(Some((job, Pipes { stdin, stdout, stderr })))
    }
}

/// A job as one packet.
#[derive(Debug)]
pub(super) struct Packed<'a> {
    bytes: Vec<u8>,
    directory: BorrowedFd<'a>,
}

impl Packed<'_> {
    /// Hands it to a worker.
    ///
    /// # Errors
    /// The socket's; `BrokenPipe` or `ConnectionReset` when there is no worker any more.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, pipes: &Pipes) -> std::io::Result<()> {
        let descriptors = [pipes.stdin.as_fd(), pipes.stdout.as_fd(), pipes.stderr.as_fd(), self.directory];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(Error::other("four descriptors do not fit"));
        }
        // It is one packet: there as a whole or not at all.
        sendmsg(socket, &[IoSlice::new(&self.bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }
}

impl Answer {
    /// No answer is longer, in bytes.
    pub(super) const LONGEST: usize = 64;

    pub(super) fn send(&self, socket: BorrowedFd<'_>) -> std::io::Result<()> {
        let bytes = postcard::to_extend(self, Vec::new()).map_err(Error::other)?;
        send(socket, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// # Errors
    /// `InvalidData` when this is no answer.
    pub(super) fn read(bytes: &[u8]) -> std::io::Result<Self> {
        match postcard::take_from_bytes(bytes) {
            Ok((answer, [])) => Ok(answer),
            Ok(_) | Err(_) => Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// Words as one packet: no word of an operating system has a NUL in it.
fn packed(words: &[OsString]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in words {
        if word.as_bytes().contains(&0) {
            return None;
        }
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0);
    }
    (bytes.len() <= LONGEST).then_some(bytes)
}

fn unpacked(bytes: &[u8]) -> Vec<OsString> {
    let words = bytes.strip_suffix(&[0]).map(|bytes| bytes.split(|byte| *byte == 0));
    words.into_iter().flatten().map(|word| OsStr::from_bytes(word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Allow;
    use proptest::prelude::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::os::unix::ffi::OsStringExt as _;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn pipes() -> Pipes {
        Pipes { stdin: null(), stdout: null(), stderr: null() }
    }

    fn word() -> impl Strategy<Value = OsString> {
        prop_oneof![
            prop::collection::vec(1u8..=255, 0..20).prop_map(OsString::from_vec),
            prop::sample::select(vec!["--", "here", "env", "require"]).prop_map(OsString::from),
        ]
    }

    fn allow() -> impl Strategy<Value = Allow> {
        let path = || word().prop_map(PathBuf::from);
        prop_oneof![
            path().prop_map(Allow::Execute),
            path().prop_map(Allow::Read),
            path().prop_map(Allow::Beneath),
            path().prop_map(Allow::Device),
            Just(Allow::Here),
        ]
    }

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![
            (any::<(Option<u32>, bool, bool)>(), any::<Option<i32>>()).prop_map(|((landlock, calls, limits), code)| {
                End::Ran { report: Report { landlock, calls, limits }, code }
            }),
            any::<Option<i32>>().prop_map(|errno| End::NotRun { errno }),
        ]
    }

    proptest! {
        #[test]
        fn a_job_comes_as_it_was_sent(
            allowed in prop::collection::vec(allow(), 0..12),
            environment in prop::collection::vec((word(), word()), 0..6),
            program in word(),
            args in prop::collection::vec(word(), 0..4),
        ) {
            let profile = Profile::new(allowed);
            let job = Job { profile, program: program.into(), args, environment, directory: null() };
            let (ours, theirs) = pair();
            job.packed().unwrap().send(ours.as_fd(), &pipes()).unwrap();
            let (same, _) = Job::receive(theirs.as_fd()).unwrap().unwrap();
            prop_assert_eq!(same.words(), job.words());
            prop_assert_eq!((&same.profile, &same.program, &same.args), (&job.profile, &job.program, &job.args));
            prop_assert_eq!(same.environment, job.environment);
        }

        #[test]
        fn no_packet_panics_and_few_are_orders(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            let (ours, theirs) = pair();
            send(&ours, &bytes, SendFlags::empty()).unwrap();
            // Without descriptors there is nothing to run it with, whatever it says.
            prop_assert!(Job::receive(theirs.as_fd()).is_err());
            drop(Job::read(&unpacked(&bytes), null()));
            drop(Answer::read(&bytes));
        }

        #[test]
        fn an_answer_reads_back(
            end in end(), clean: bool, (cpu_micros, peak_bytes) in any::<(u64, u64)>(),
        ) {
            let (ours, theirs) = pair();
            let answer = Answer { end, clean, spent: Spent { cpu_micros, peak_bytes } };
            answer.send(theirs.as_fd()).unwrap();
            let mut bytes = [0; Answer::LONGEST];
            let (length, _) = rustix::net::recv(&ours, bytes.as_mut_slice(), rustix::net::RecvFlags::empty()).unwrap();
            prop_assert_eq!(Answer::read(&bytes[..length]).unwrap(), answer);
            // One that is cut short, or goes on, is none.
            prop_assert!(Answer::read(&bytes[..length - 1]).is_err());
            prop_assert!(Answer::read(&bytes[..=length]).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_not_sent() {
        let (ours, theirs) = pair();
        let job = |arg: String| Job {
            profile: Profile::default(),
            program: "/bin/true".into(),
            args: vec![arg.into()],
            environment: Vec::new(),
            directory: null(),
        };
        for arg in ["x".repeat(LONGEST), "a\0b".to_owned()] {
            assert_eq!(job(arg).packed().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        job("x".repeat(LONGEST - 100)).packed().unwrap().send(ours.as_fd(), &pipes()).unwrap();
        assert!(Job::receive(theirs.as_fd()).unwrap().is_some());
        drop(ours);
        assert!(Job::receive(theirs.as_fd()).unwrap().is_none());
    }
}
