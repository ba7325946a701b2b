//! Clients that no OpenSSH would be: they sign for another than they offered, or say something else where a signature belongs.
//! The library's own client asks us for the bytes of its signed request, and sends whatever it gets.

use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use russh::client::{self, AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{ChannelMsg, SendError};

use crate::harness::Gateway;

/// How long any one of these conversations may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// Makes the packet that is sent in place of a signed request; is told the session's id and the key that was accepted.
struct Forger<F>(F);

impl<F: FnMut(&[u8], &PublicKey) -> Option<Vec<u8>> + Send> russh::Signer for Forger<F> {
    type Error = SendError;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        _hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        // The session's id, as a string; the packet is what stands behind it.
        let length = usize::try_from(u32::from_be_bytes(to_sign[..4].try_into().unwrap())).unwrap() + 4;
        let packet = (self.0)(&to_sign[..length], &key.public_key()).ok_or(SendError {})?;
        Ok([&to_sign[..length], &packet].concat())
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A request to log in as the holder of `named`, signed by `signer` (RFC 4252 §7).
fn request(session: &[u8], named: &PublicKey, signer: &PrivateKey) -> Vec<u8> {
    let mut packet = vec![50];
    for part in [b"git".as_slice(), b"ssh-connection", b"publickey"] {
        packet.extend(string(part));
    }
    packet.push(1);
    packet.extend(string(b"ssh-ed25519"));
    packet.extend(string(&named.to_bytes().unwrap()));
    let seed = signer.key_data().ed25519().unwrap().private.to_bytes();
    let signature = SigningKey::from_bytes(&seed).sign(&[session, &packet].concat()).to_bytes();
    packet.extend(string(&[string(b"ssh-ed25519"), string(&signature)].concat()));
    packet
}

pub(crate) async fn connect(gateway: &Gateway) -> Handle<Trusting> {
    client::connect(Arc::new(client::Config::default()), ("127.0.0.1", gateway.port()), Trusting).await.unwrap()
}

async fn forge(
    handle: &mut Handle<Trusting>,
    offered: &PrivateKey,
    forger: impl FnMut(&[u8], &PublicKey) -> Option<Vec<u8>> + Send,
) -> bool {
    let mut forger = Forger(forger);
    let login = handle.authenticate_publickey_with("git", offered.public_key().clone(), None, &mut forger);
    matches!(tokio::time::timeout(PATIENCE, login).await, Ok(Ok(AuthResult::Success)))
}

/// Who the gateway takes this connection for, from its greeting.
async fn greeted(handle: &Handle<Trusting>) -> String {
    let mut channel = handle.channel_open_session().await.unwrap();
    channel.request_shell(true).await.unwrap();
    let mut said = Vec::new();
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::ExtendedData { data, .. } = message {
            said.extend_from_slice(&data);
        }
    }
    let said = String::from_utf8(said).unwrap();
    said.split("Hello acme/").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

pub(crate) fn key(gateway: &Gateway, label: &str) -> PrivateKey {
    PrivateKey::from_openssh(std::fs::read(gateway.key(label, &[])).unwrap()).unwrap()
}

/// CVE-2026-24058 and its like: whatever was offered, in whatever order, who signs is who is logged in.
#[tokio::test]
async fn who_signs_is_who_is_logged_in_whatever_was_offered() {
    let gateway = Gateway::start();
    let names = ["a", "b", "c"];
    let keys = names.map(|name| key(&gateway, name));
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for signer in 0..3 {
            let mut handle = connect(&gateway).await;
            for offered in order {
                // Accepted as a key that might sign, and then left.
                let mut asked = false;
                let offer = forge(&mut handle, &keys[offered], |_, _| {
                    asked = true;
                    None
                });
                assert!(!offer.await && asked, "{order:?}");
            }
            let real = PrivateKeyWithHashAlg::new(Arc::new(keys[signer].clone()), None);
            assert!(handle.authenticate_publickey("git", real).await.unwrap().success(), "{order:?} {signer}");
            assert_eq!(greeted(&handle).await, names[signer], "{order:?}");
        }
    }
}

/// russh before 0.61.2: the acceptance of one key held for a signature by another.
#[tokio::test]
async fn a_signature_counts_for_its_own_key_alone() {
    let gateway = Gateway::start();
    let [victim, thief, gone] = ["victim", "thief", "gone"].map(|label| key(&gateway, label));
    // The victim's key is accepted and named, and the thief signs.
    let mut handle = connect(&gateway).await;
    assert!(!forge(&mut handle, &victim, |session, named| Some(request(session, named, &thief))).await);
    // The victim's key is accepted; the thief names his own, and signs rightly. He may be let in, as himself.
    let mut handle = connect(&gateway).await;
    if forge(&mut handle, &victim, |session, _| Some(request(session, thief.public_key(), &thief))).await {
        assert_eq!(greeted(&handle).await, "thief");
    }
    // The session of somebody else.
    let mut handle = connect(&gateway).await;
    let other = |session: &[u8], named: &PublicKey| Some(request(&[session, b"x"].concat(), named, &victim));
    assert!(!forge(&mut handle, &victim, other).await);
    // Accepted, removed, and then signed as it should be.
    let mut handle = connect(&gateway).await;
    let removed = |session: &[u8], named: &PublicKey| {
        gateway.pullgate(["key", "remove", "acme/gone"]).ok();
        Some(request(session, named, &gone))
    };
    assert!(!forge(&mut handle, &gone, removed).await);
    // And these packets are good ones, when they say the truth.
    let mut handle = connect(&gateway).await;
    assert!(forge(&mut handle, &victim, |session, named| Some(request(session, named, &victim))).await);
    assert_eq!(greeted(&handle).await, "victim");
}

/// CVE-2018-10933 and CVE-2026-67279, behind the key exchange and behind a second one: nothing of a session is there before
/// a login, whoever says that it has happened.
#[tokio::test]
async fn nothing_is_open_before_a_login() {
    // What makes no sense may be left unanswered; then the clock of the login ends it.
    let gateway = Gateway::start_with(|config| config.replace("login_seconds = 30", "login_seconds = 3"));
    let key = key(&gateway, "ci");
    let exec = [&[98, 0, 0, 0, 0][..], &string(b"exec"), &[1], &string(b"git-upload-pack 'acme/app'")].concat();
    let messages = [
        ("login success", vec![52]),
        ("public key accepted", [&[60][..], &string(b"ssh-ed25519"), &string(&[0; 51])].concat()),
        ("channel open", [&[90][..], &string(b"session"), &[0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0x80, 0]].concat()),
        ("channel request", exec),
        ("forwarding", [&[80][..], &string(b"tcpip-forward"), &[1], &string(b""), &[0; 4]].concat()),
        ("an unfinished request", vec![50, 0, 0]),
    ];
    for (what, message) in messages {
        for again in [false, true] {
            let mut handle = connect(&gateway).await;
            if again {
                handle.rekey_soon().await.unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
                assert!(!handle.is_closed());
            }
            let mut asked = false;
            let login = forge(&mut handle, &key, |_, _| {
                asked = true;
                Some(message.clone())
            });
            assert!(!login.await && asked, "{what}, keys exchanged again: {again}");
            let opened = tokio::time::timeout(PATIENCE, handle.channel_open_session()).await;
            assert!(!matches!(opened, Ok(Ok(_))), "{what}: a channel is open");
        }
    }
    assert!(!gateway.audit().contains("\"event\":\"login\""), "{}", gateway.audit());
}
