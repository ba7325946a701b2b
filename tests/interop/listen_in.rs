//! A wire between client and gateway that listens in on the part that is not encrypted: who the client says it is, and
//! what the two agree on (RFC 4253 §7.1: the first of the client's names that the server has too).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is kept of each direction: the identification and the first packet.
const KEPT: usize = 16 * 1024;

/// What a connection began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The client's identification, without `SSH-2.0-`.
    pub(crate) client: String,
    pub(crate) key_exchange: String,
    pub(crate) host_key: String,
    pub(crate) cipher: String,
}

/// What the gateway's first packet offers, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) key_exchanges: Vec<String>,
    pub(crate) host_keys: Vec<String>,
    pub(crate) ciphers: Vec<String>,
    pub(crate) macs: Vec<String>,
}

type Heard = Arc<Mutex<Vec<u8>>>;

/// The wire.
pub(crate) struct Wire {
    port: u16,
    to: Arc<AtomicU16>,
    heard: Arc<Mutex<Vec<(Heard, Heard)>>>,
    pace: Arc<AtomicU8>,
}

/// How fast what a client says reaches the gateway.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// At once.
    Free = 0,
    /// With a pause before each piece, so that what happened meanwhile is noticed.
    Slow = 1,
    /// Not at all, until the pace changes.
    Stopped = 2,
}

/// The pause before each piece.
const PAUSE: Duration = Duration::from_millis(150);

impl Wire {
    /// A wire with its own port, which leads nowhere until [`Wire::lead_to`].
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to, heard) = (Arc::new(AtomicU16::new(0)), Arc::new(Mutex::new(Vec::new())));
        let pace = Arc::new(AtomicU8::new(Pace::Free as u8));
        let wire = Self { port, to: Arc::clone(&to), heard: Arc::clone(&heard), pace: Arc::clone(&pace) };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to.load(Ordering::Acquire))) else { continue };
                let (from_client, from_server) = (Heard::default(), Heard::default());
                heard.lock().unwrap().push((Arc::clone(&from_client), Arc::clone(&from_server)));
                carry(client.try_clone().unwrap(), server.try_clone().unwrap(), from_client, Some(Arc::clone(&pace)));
                carry(server, client, from_server, None);
            }
        });
        wire
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn lead_to(&self, port: u16) {
        self.to.store(port, Ordering::Release);
    }

    pub(crate) fn set_pace(&self, pace: Pace) {
        self.pace.store(pace as u8, Ordering::Release);
    }

    /// What the gateway offered on each connection so far.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter_map(|(_, server)| offer(&server.lock().unwrap())).collect()
    }

    /// What each connection so far agreed on, as far as it came to that.
    pub(crate) fn agreed(&self) -> Vec<Agreed> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter_map(|(client, server)| agreed(&client.lock().unwrap(), &server.lock().unwrap())).collect()
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, heard: Heard, pace: Option<Arc<AtomicU8>>) {
    for socket in [&from, &to] {
        socket.set_nodelay(true).unwrap();
    }
    std::thread::spawn(move || {
        let mut piece = [0u8; 32 * 1024];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            let mut heard = heard.lock().unwrap();
            let room = KEPT.saturating_sub(heard.len()).min(read);
            heard.extend_from_slice(&piece[..room]);
            drop(heard);
            if let Some(pace) = &pace {
                let is = |wanted: Pace| pace.load(Ordering::Acquire) == wanted as u8;
                if is(Pace::Slow) {
                    std::thread::sleep(PAUSE);
                }
                while is(Pace::Stopped) {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            if to.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        // One of them may be gone already.
        to.shutdown(Shutdown::Write).ok();
    });
}

fn agreed(client: &[u8], server: &[u8]) -> Option<Agreed> {
    let (ident, wants) = opening(client)?;
    let (_, has) = opening(server)?;
    let first = |list: usize| {
        let has: Vec<&str> = has.get(list)?.split(',').collect();
        wants.get(list)?.split(',').find(|name| has.contains(name)).map(str::to_owned)
    };
    let client = ident.trim_start_matches("SSH-2.0-").to_owned();
    // Lists 0, 1 and 3 of RFC 4253 §7.1: key exchange, host key, cipher from server to client.
    Some(Agreed { client, key_exchange: first(0)?, host_key: first(1)?, cipher: first(3)? })
}

fn offer(server: &[u8]) -> Option<Offer> {
    let (_, lists) = opening(server)?;
    let list =
        |number: usize| -> Option<Vec<String>> { Some(lists.get(number)?.split(',').map(str::to_owned).collect()) };
    // Of ciphers and of codes there is one list for each direction, and ours are the same.
    let (to, from) = ((list(2)?, list(4)?), (list(3)?, list(5)?));
    assert_eq!(to, from);
    Some(Offer { key_exchanges: list(0)?, host_keys: list(1)?, ciphers: to.0, macs: to.1 })
}

/// The identification line and the name lists of the first packet.
fn opening(bytes: &[u8]) -> Option<(String, Vec<String>)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let ident = String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned();
    let packet = &bytes[end + 1..];
    // Length, padding length, SSH_MSG_KEXINIT, cookie.
    let mut rest = packet.get(4 + 1 + 1 + 16..)?;
    if packet[5] != 20 {
        return None;
    }
    let mut lists = Vec::new();
    for _ in 0..10 {
        let length = usize::try_from(u32::from_be_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
        lists.push(String::from_utf8_lossy(rest.get(4..4 + length)?).into_owned());
        rest = &rest[4 + length..];
    }
    Some((ident, lists))
}
