//! A client of SSH that does as it is told: packets, one key exchange and one cipher, on a blocking socket. Nothing of what it
//! sends is checked by anybody, so that it can lie in every place.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::chacha20_poly1305_openssh::{KEY_LEN, OpeningKey, SealingKey, TAG_LEN};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use sha2::{Digest as _, Sha256};

use super::words::{self, mpint, string, take};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How a conversation came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The gateway said goodbye, with this reason (RFC 4253 §11.1).
    Disconnected(u32),
    /// It closed the connection.
    Closed,
    /// It did neither for as long as it was waited for.
    Silent,
}

pub(crate) type Received = Result<Vec<u8>, End>;

fn end_of(error: &std::io::Error) -> End {
    if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) { End::Silent } else { End::Closed }
}

/// What a client may leave out or add while keys are exchanged.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lies<'a> {
    /// Says nothing of strictness.
    pub(crate) lax: bool,
    /// A packet between the first of the exchange and the second.
    pub(crate) after_kexinit: &'a [u8],
    /// A packet between the second and the third.
    pub(crate) before_newkeys: &'a [u8],
    /// Goes on counting where it should begin anew.
    pub(crate) keeps_counting: bool,
}

/// One connection. Each direction counts its packets (RFC 4253 §6.4).
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    /// What the gateway did not take for as long as it was waited for.
    unsent: Vec<u8>,
    sealing: Option<SealingKey>,
    opening: Option<OpeningKey>,
    pub(crate) sent: u32,
    received: u32,
    /// The session's id, as soon as there is one.
    pub(crate) session: Vec<u8>,
    strict: bool,
    server: String,
}

impl Peer {
    /// A connection on which nothing was said, from an address of its own.
    pub(crate) fn dial(from: Ipv4Addr, port: u16) -> Self {
        // Tests beside this one start processes at any moment: one that had this too would keep the connection open.
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unsent: Vec::new(),
            sealing: None,
            opening: None,
            sent: 0,
            received: 0,
            session: Vec::new(),
            strict: false,
            server: String::new(),
        }
    }

    /// How long one answer is waited for from now on.
    pub(crate) fn waits(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
        self.stream.set_write_timeout(Some(time)).unwrap();
    }

    /// Says this in front of everything, and reads who the other side is.
    pub(crate) fn hello(&mut self, words: &[u8]) -> Result<(), End> {
        self.raw(words)?;
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.extend(byte);
        }
        self.server = String::from_utf8(line).unwrap().trim_end().to_owned();
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), End> {
        self.stream.read_exact(bytes).map_err(|error| end_of(&error))
    }

    /// Bytes as they are, behind those that were not taken before: a packet that was cut would be a lie of another kind.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.unsent.extend_from_slice(bytes);
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(end_of(&error)),
            }
        }
        Ok(())
    }

    /// One packet, as its bytes on the wire.
    pub(crate) fn sealed(&mut self, payload: &[u8]) -> Vec<u8> {
        // The length counts for the blocks in the clear, and not under this cipher.
        let head = if self.sealing.is_some() { 1 } else { 5 };
        let padding = 8 - (payload.len() + head) % 8;
        let padding = if padding < 4 { padding + 8 } else { padding };
        let mut packet = words::u32_of(1 + payload.len() + padding).to_vec();
        packet.push(u8::try_from(padding).unwrap());
        packet.extend(payload);
        packet.resize(packet.len() + padding, 0);
        self.seal(packet)
    }

    /// A packet whose head, padding and payload are whatever somebody likes.
    pub(crate) fn seal(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        if let Some(key) = &self.sealing {
            let mut tag = [0; TAG_LEN];
            key.seal_in_place(self.sent, &mut packet, &mut tag);
            packet.extend(tag);
        }
        self.sent = self.sent.wrapping_add(1);
        packet
    }

    pub(crate) fn send(&mut self, payload: &[u8]) -> Result<(), End> {
        let packet = self.sealed(payload);
        self.raw(&packet)
    }

    /// The next packet, whatever it is.
    pub(crate) fn receive(&mut self) -> Received {
        let mut head = [0; 4];
        self.read(&mut head)?;
        let number = self.received;
        self.received = number.wrapping_add(1);
        let length = |head: [u8; 4]| usize::try_from(u32::from_be_bytes(head)).unwrap();
        let packet = if let Some(key) = self.opening.take() {
            let mut packet = head.to_vec();
            packet.resize(4 + length(key.decrypt_packet_length(number, head)) + TAG_LEN, 0);
            self.read(&mut packet[4..])?;
            let end = packet.len() - TAG_LEN;
            let (bytes, tag) = packet.split_at_mut(end);
            let opened = key.open_in_place(number, bytes, (&*tag).try_into().unwrap()).expect("sealed as agreed");
            let opened = opened.to_vec();
            self.opening = Some(key);
            opened
        } else {
            let mut packet = vec![0; length(head)];
            self.read(&mut packet)?;
            packet
        };
        let payload = packet[1..packet.len() - usize::from(packet[0])].to_vec();
        match payload.first() {
            Some(&words::DISCONNECT) => Err(End::Disconnected(u32::from_be_bytes(payload[1..5].try_into().unwrap()))),
            _ => Ok(payload),
        }
    }

    /// The next packet with one of these numbers; keepalives and their like are passed over.
    pub(crate) fn until(&mut self, numbers: &[u8]) -> Received {
        let start = Instant::now();
        loop {
            let packet = self.receive()?;
            if packet.first().is_some_and(|number| numbers.contains(number)) {
                return Ok(packet);
            }
            if start.elapsed() > PATIENCE {
                return Err(End::Silent);
            }
        }
    }

    /// Reads whatever comes until the gateway ends it, or is silent.
    pub(crate) fn ended(&mut self) -> End {
        loop {
            if let Err(end) = self.receive() {
                return end;
            }
        }
    }

    /// The same, where nothing was agreed on: what comes is not looked at.
    pub(crate) fn drained(&mut self) -> End {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) => return end_of(&error),
            }
        }
    }

    /// Exchanges keys, with these lies; the first time and every other.
    pub(crate) fn exchange(&mut self, lies: Lies<'_>) -> Result<(), End> {
        let ours = words::kexinit(!lies.lax);
        self.send(&ours)?;
        if !lies.after_kexinit.is_empty() {
            self.send(lies.after_kexinit)?;
        }
        let theirs = self.until(&[words::KEXINIT])?;
        if self.session.is_empty() {
            let offers = std::str::from_utf8(take(&theirs[17..]).0).unwrap();
            self.strict = !lies.lax && offers.contains("kex-strict-s-v00@openssh.com");
        }
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).unwrap();
        let public = private.compute_public_key().unwrap();
        self.send(&[&[words::ECDH_INIT][..], &string(public.as_ref())].concat())?;
        let reply = self.until(&[words::ECDH_REPLY])?;
        let (host_key, rest) = take(&reply[1..]);
        let (their_public, rest) = take(rest);
        let signature = take(take(take(rest).0).1).0;
        let shared = UnparsedPublicKey::new(&X25519, their_public);
        let shared = agree_ephemeral(private, shared, "no agreement", |secret| Ok(mpint(secret))).unwrap();
        let mut hash = Sha256::new();
        for part in [words::HELLO.as_bytes(), self.server.as_bytes(), &ours, &theirs, host_key, public.as_ref()] {
            hash.update(string(part));
        }
        hash.update(string(their_public));
        hash.update(&shared);
        let hash = hash.finalize().to_vec();
        // The exchange is an honest one but for the lies: what the gateway signed is what was said.
        let key = ed25519_dalek::VerifyingKey::from_bytes(take(take(host_key).1).0.try_into().unwrap()).unwrap();
        key.verify_strict(&hash, &ed25519_dalek::Signature::from_slice(signature).unwrap()).unwrap();
        if self.session.is_empty() {
            self.session.clone_from(&hash);
        }
        if !lies.before_newkeys.is_empty() {
            self.send(lies.before_newkeys)?;
        }
        self.send(&[words::NEWKEYS])?;
        if self.strict && !lies.keeps_counting {
            self.sent = 0;
        }
        self.sealing = Some(SealingKey::new(&self.derive(&shared, &hash, b'C')));
        self.until(&[words::NEWKEYS])?;
        if self.strict {
            self.received = 0;
        }
        self.opening = Some(OpeningKey::new(&self.derive(&shared, &hash, b'D')));
        Ok(())
    }

    /// RFC 4253 §7.2.
    fn derive(&self, shared: &[u8], hash: &[u8], letter: u8) -> [u8; KEY_LEN] {
        let once = |tail: &[u8]| Sha256::digest([shared, hash, tail].concat()).to_vec();
        let first = once(&[&[letter][..], &self.session].concat());
        let second = once(&first);
        [first, second].concat()[..KEY_LEN].try_into().unwrap()
    }
}
