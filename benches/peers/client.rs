//! A git client that keeps nothing: it speaks the protocol over an SSH connection of its own, counts the pack's bytes and
//! throws them away. So what the client costs does not hide what the server costs. `tests/gateway/fire` uses it too.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Preferred, cipher, client, kex};

/// What went wrong, in words for a person.
pub(crate) type Fault = String;

/// Where a client logs in, and as whom.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) user: String,
    pub(crate) key: Arc<PrivateKey>,
}

/// A connection that is logged in.
pub(crate) struct Client(client::Handle<AnyServer>);

struct AnyServer;

impl client::Handler for AnyServer {
    type Error = russh::Error;

    // The server is this machine's own, and its key a minute old.
    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

impl Client {
    /// Connects and logs in, with the same cipher and key exchange for every server.
    pub(crate) async fn connect(door: &Door) -> Result<Self, Fault> {
        Self::connect_wide(door, client::Config::default().window_size).await
    }

    /// The same with a window of so many bytes: what a server may send before the client has said that it wants more.
    pub(crate) async fn connect_wide(door: &Door, window: u32) -> Result<Self, Fault> {
        let config = client::Config {
            window_size: window,
            preferred: Preferred {
                kex: vec![kex::CURVE25519, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT].into(),
                cipher: vec![cipher::AES_128_GCM].into(),
                ..Preferred::default()
            },
            ..client::Config::default()
        };
        let socket = tokio::net::TcpStream::connect(door.address).await.map_err(|e| format!("connect: {e}"))?;
        socket.set_nodelay(true).map_err(|e| format!("nodelay: {e}"))?;
        let mut handle =
            client::connect_stream(Arc::new(config), socket, AnyServer).await.map_err(|e| format!("handshake: {e}"))?;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&door.key), None);
        let login = handle.authenticate_publickey(&door.user, key).await.map_err(|e| format!("login: {e}"))?;
        if !login.success() {
            return Err("login: refused".to_owned());
        }
        Ok(Self(handle))
    }

    /// Starts `git-upload-pack` for a repository, by the path that the server knows it by.
    pub(crate) async fn upload_pack(&self, path: &str, version: u8) -> Result<Talk, Fault> {
        self.exec(&format!("git-upload-pack '{path}'"), version).await
    }

    /// Starts any command.
    pub(crate) async fn exec(&self, command: &str, version: u8) -> Result<Talk, Fault> {
        let told = |e: russh::Error| format!("channel: {e}");
        let channel = self.0.channel_open_session().await.map_err(told)?;
        if version > 0 {
            channel.set_env(false, "GIT_PROTOCOL", format!("version={version}")).await.map_err(told)?;
        }
        channel.exec(false, command).await.map_err(told)?;
        Ok(Talk { channel, bytes: BytesMut::new(), said: String::new(), status: None })
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.0.disconnect(russh::Disconnect::ByApplication, "", "").await.ok();
    }
}

/// One pkt-line (gitprotocol-common).
pub(crate) enum Pkt {
    Data(Bytes),
    Flush,
    Delim,
}

/// Where the first flush of these lines ends.
fn through_flush(lines: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let length = std::str::from_utf8(&lines[at..at + 4]).ok().and_then(|head| usize::from_str_radix(head, 16).ok());
        at += length.expect("lines of our own").max(4);
        if length == Some(0) {
            return at;
        }
    }
}

/// What a fetch brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pack {
    pub(crate) bytes: u64,
    pub(crate) objects: u32,
}

/// One run of upload-pack at the other end.
pub(crate) struct Talk {
    channel: Channel<client::Msg>,
    bytes: BytesMut,
    said: String,
    status: Option<u32>,
}

impl Talk {
    async fn more(&mut self) -> Result<(), Fault> {
        loop {
            match self.channel.wait().await {
                Some(ChannelMsg::Data { data }) => {
                    self.bytes.extend_from_slice(&data);
                    return Ok(());
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => self.said.push_str(&String::from_utf8_lossy(&data)),
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
                Some(_) => {}
                None => return Err(format!("ended early, status {:?}: {}", self.status, self.said.trim())),
            }
        }
    }

    async fn pkt(&mut self) -> Result<Pkt, Fault> {
        while self.bytes.len() < 4 {
            self.more().await?;
        }
        let head = std::str::from_utf8(&self.bytes[..4]).map_err(|e| e.to_string())?;
        let length = usize::from_str_radix(head, 16).map_err(|_| format!("'{}' is no length", head.escape_debug()))?;
        while self.bytes.len() < length {
            self.more().await?;
        }
        self.bytes.advance(4);
        match length {
            0 => Ok(Pkt::Flush),
            1 | 2 => Ok(Pkt::Delim),
            3 => Err("a length of 3".to_owned()),
            _ => {
                let data = self.bytes.split_to(length - 4).freeze();
                match data.strip_prefix(b"ERR ") {
                    Some(words) => Err(format!("the server says: {}", String::from_utf8_lossy(words).trim())),
                    None => Ok(Pkt::Data(data)),
                }
            }
        }
    }

    async fn until_flush(&mut self) -> Result<Vec<Bytes>, Fault> {
        let mut lines = Vec::new();
        while let Pkt::Data(line) = self.pkt().await? {
            lines.push(line);
        }
        Ok(lines)
    }

    async fn send(&self, bytes: Vec<u8>) -> Result<(), Fault> {
        self.channel.data_bytes(bytes).await.map_err(|e| format!("send: {e}"))
    }

    /// The capabilities of version 2.
    pub(crate) async fn capabilities(&mut self) -> Result<Vec<Bytes>, Fault> {
        let lines = self.until_flush().await?;
        match lines.first() {
            Some(line) if line.starts_with(b"version 2") => Ok(lines),
            other => Err(format!("no capabilities of version 2, but {other:?}")),
        }
    }

    /// Asks for refs in version 2, with these prefixes.
    pub(crate) async fn ls_refs(&mut self, prefixes: &[&str]) -> Result<Vec<Bytes>, Fault> {
        let mut request = Vec::new();
        line(&mut request, "command=ls-refs\n");
        line(&mut request, "agent=git/2.47.3\n");
        line(&mut request, "object-format=sha1");
        request.extend_from_slice(b"0001");
        for argument in ["peel\n", "symrefs\n", "unborn\n"] {
            line(&mut request, argument);
        }
        for prefix in prefixes {
            line(&mut request, &format!("ref-prefix {prefix}\n"));
        }
        request.extend_from_slice(b"0000");
        self.send(request).await?;
        self.until_flush().await
    }

    /// The advertisement of version 0.
    pub(crate) async fn advertisement(&mut self) -> Result<Vec<Bytes>, Fault> {
        self.until_flush().await
    }

    /// A fetch in version 2 that is done at once.
    pub(crate) async fn fetch(&mut self, request: Vec<u8>) -> Result<Pack, Fault> {
        self.send(request).await?;
        loop {
            match self.pkt().await? {
                Pkt::Data(line) if line.starts_with(b"packfile") => return self.pack().await,
                Pkt::Data(_) | Pkt::Delim => {}
                Pkt::Flush => return Err("no pack in the answer".to_owned()),
            }
        }
    }

    /// A fetch in version 0.
    pub(crate) async fn fetch_v0(&mut self, request: Vec<u8>, deepens: bool) -> Result<Pack, Fault> {
        if deepens {
            // As git does: who asks for a depth says what it has, or that it is done, once it knows how shallow it will be.
            let wants = through_flush(&request);
            self.send(request[..wants].to_vec()).await?;
            self.until_flush().await?;
            self.send(request[wants..].to_vec()).await?;
        } else {
            self.send(request).await?;
        }
        loop {
            match self.pkt().await? {
                Pkt::Data(line) if line.starts_with(b"NAK") => return self.pack().await,
                // ACK of a commit that both have; the last one has no word behind it.
                Pkt::Data(line) if line.starts_with(b"ACK") && line.trim_ascii_end().len() == 44 => {
                    return self.pack().await;
                }
                Pkt::Data(_) => {}
                Pkt::Flush | Pkt::Delim => return Err("no pack in the answer".to_owned()),
            }
        }
    }

    async fn pack(&mut self) -> Result<Pack, Fault> {
        let (mut pack, mut head) = (Pack::default(), Vec::new());
        while let Pkt::Data(data) = self.pkt().await? {
            match data.first() {
                Some(1) => {
                    if head.len() < 12 {
                        head.extend_from_slice(&data[1..data.len().min(13)]);
                    }
                    pack.bytes += data.len() as u64 - 1;
                }
                Some(3) => return Err(format!("the server says: {}", String::from_utf8_lossy(&data[1..]).trim())),
                Some(_) | None => {}
            }
        }
        if head.len() < 12 || !head.starts_with(b"PACK") {
            return Err("what came is no pack".to_owned());
        }
        pack.objects = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        Ok(pack)
    }

    /// Ends the talk in the middle, as a client does that only wanted the refs; the server must end well.
    pub(crate) async fn flush_and_end(self) -> Result<(), Fault> {
        self.send(b"0000".to_vec()).await?;
        self.end().await
    }

    /// Waits for the end of the server's program, which has to be a good one.
    pub(crate) async fn end(mut self) -> Result<(), Fault> {
        self.channel.eof().await.ok();
        while let Some(message) = self.channel.wait().await {
            if let ChannelMsg::ExitStatus { exit_status } = message {
                self.status = Some(exit_status);
            } else if let ChannelMsg::ExtendedData { data, .. } = message {
                self.said.push_str(&String::from_utf8_lossy(&data));
            }
        }
        match self.status {
            Some(0) => Ok(()),
            status => Err(format!("status {status:?}: {}", self.said.trim())),
        }
    }
}

fn line(request: &mut Vec<u8>, text: &str) {
    request.extend_from_slice(format!("{:04x}{text}", text.len() + 4).as_bytes());
}

/// What a fetch asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) wants: Vec<String>,
    pub(crate) haves: Vec<String>,
    pub(crate) depth: Option<u32>,
    pub(crate) include_tag: bool,
}

impl Wish {
    /// As git 2.47 writes it in version 2.
    pub(crate) fn v2(&self) -> Vec<u8> {
        let mut request = Vec::new();
        line(&mut request, "command=fetch");
        line(&mut request, "agent=git/2.47.3");
        line(&mut request, "object-format=sha1");
        request.extend_from_slice(b"0001");
        line(&mut request, "thin-pack");
        line(&mut request, "no-progress");
        if self.include_tag {
            line(&mut request, "include-tag");
        }
        line(&mut request, "ofs-delta");
        if let Some(depth) = self.depth {
            line(&mut request, &format!("deepen {depth}"));
        }
        for want in &self.wants {
            line(&mut request, &format!("want {want}\n"));
        }
        for have in &self.haves {
            line(&mut request, &format!("have {have}\n"));
        }
        line(&mut request, "done\n");
        request.extend_from_slice(b"0000");
        request
    }

    /// As git 2.47 writes it in version 0.
    pub(crate) fn v0(&self) -> Vec<u8> {
        let mut request = Vec::new();
        let tags = if self.include_tag { " include-tag" } else { "" };
        let capabilities =
            format!(" multi_ack_detailed side-band-64k thin-pack no-progress{tags} ofs-delta agent=git/2.47.3");
        for (n, want) in self.wants.iter().enumerate() {
            line(&mut request, &format!("want {want}{}\n", if n == 0 { capabilities.as_str() } else { "" }));
        }
        if let Some(depth) = self.depth {
            line(&mut request, &format!("deepen {depth}"));
        }
        request.extend_from_slice(b"0000");
        for have in &self.haves {
            line(&mut request, &format!("have {have}\n"));
        }
        line(&mut request, "done\n");
        request
    }
}
