//! The messages of SSH, as bytes: what an honest client would send, and the parts of which lies are made.

use ed25519_dalek::{Signer as _, SigningKey};
use russh::keys::PrivateKey;

pub(crate) const DISCONNECT: u8 = 1;
pub(crate) const UNIMPLEMENTED: u8 = 3;
pub(crate) const KEXINIT: u8 = 20;
pub(crate) const NEWKEYS: u8 = 21;
pub(crate) const ECDH_INIT: u8 = 30;
pub(crate) const ECDH_REPLY: u8 = 31;
/// RFC 4419 §5: of an exchange that begins with a request of a group.
pub(crate) const GROUP: u8 = 31;
pub(crate) const GROUP_REPLY: u8 = 33;
pub(crate) const SERVICE_ACCEPT: u8 = 6;
pub(crate) const AUTH_FAILURE: u8 = 51;
pub(crate) const AUTH_SUCCESS: u8 = 52;
pub(crate) const PK_OK: u8 = 60;
pub(crate) const CHANNEL_CONFIRMATION: u8 = 91;
pub(crate) const CHANNEL_FAILURE: u8 = 100;
pub(crate) const CHANNEL_SUCCESS: u8 = 99;
pub(crate) const CHANNEL_OPEN_FAILURE: u8 = 92;
pub(crate) const CHANNEL_DATA: u8 = 94;

/// What an honest client says that it is.
pub(crate) const HELLO: &str = "SSH-2.0-OpenSSH_9.2p1 raw";

pub(crate) fn u32_of(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_be_bytes()
}

/// RFC 4251 §5.
pub(crate) fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [&u32_of(bytes.as_ref().len())[..], bytes.as_ref()].concat()
}

/// Likewise, of a positive number.
pub(crate) fn mpint(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let number = &number[start..];
    string(if number.first().is_some_and(|byte| byte & 0x80 != 0) { [&[0], number].concat() } else { number.to_vec() })
}

/// The string at the start of these bytes, and what is behind it.
pub(crate) fn take(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = usize::try_from(u32::from_be_bytes(bytes[..4].try_into().unwrap())).unwrap();
    bytes[4..].split_at(length)
}

/// RFC 4253 §7.1: one of each, and strictness where it is wanted.
pub(crate) fn kexinit(strict: bool) -> Vec<u8> {
    let kex = if strict { "curve25519-sha256,kex-strict-c-v00@openssh.com" } else { "curve25519-sha256" };
    kexinit_of(kex, "ssh-ed25519")
}

pub(crate) fn kexinit_of(kex: &str, host_key: &str) -> Vec<u8> {
    let cipher = "chacha20-poly1305@openssh.com";
    let mac = "hmac-sha2-256";
    let mut packet = [&[KEXINIT][..], &[7; 16]].concat();
    for names in [kex, host_key, cipher, cipher, mac, mac, "none", "none", "", ""] {
        packet.extend(string(names));
    }
    packet.extend([0; 5]);
    packet
}

/// RFC 4419 §3: a group of so many bits.
pub(crate) fn group_request(least: u32, preferred: u32, most: u32) -> Vec<u8> {
    [&[34][..], &[least, preferred, most].map(u32::to_be_bytes).concat()].concat()
}

/// Likewise: the client's half.
pub(crate) fn group_init(half: &[u8]) -> Vec<u8> {
    [&[32][..], &mpint(half)].concat()
}

pub(crate) fn service(name: &str) -> Vec<u8> {
    [&[5][..], &string(name)].concat()
}

fn userauth(user: &str, method: &str) -> Vec<u8> {
    [&[50][..], &string(user), &string("ssh-connection"), &string(method)].concat()
}

pub(crate) fn none(user: &str) -> Vec<u8> {
    userauth(user, "none")
}

pub(crate) fn password(user: &str) -> Vec<u8> {
    [userauth(user, "password"), vec![0], string("secret")].concat()
}

pub(crate) fn blob(key: &PrivateKey) -> Vec<u8> {
    key.public_key().to_bytes().unwrap()
}

/// RFC 4252 §7: whether this key would do.
pub(crate) fn offer(user: &str, key: &PrivateKey) -> Vec<u8> {
    [userauth(user, "publickey"), vec![0], string("ssh-ed25519"), string(blob(key))].concat()
}

/// Likewise, with a certificate (PROTOCOL.certkeys) for a key of Ed25519.
pub(crate) fn certificate(user: &str, certificate: &[u8]) -> Vec<u8> {
    [userauth(user, "publickey"), vec![0], string("ssh-ed25519-cert-v01@openssh.com"), string(certificate)].concat()
}

/// Likewise: a login as the holder of `named` in `session`, signed by `signer`.
pub(crate) fn signed(user: &str, session: &[u8], named: &PrivateKey, signer: &PrivateKey) -> Vec<u8> {
    let packet = [userauth(user, "publickey"), vec![1], string("ssh-ed25519"), string(blob(named))].concat();
    let seed = signer.key_data().ed25519().unwrap().private.to_bytes();
    let signature = SigningKey::from_bytes(&seed).sign(&[string(session), packet.clone()].concat()).to_bytes();
    [packet, string([string("ssh-ed25519"), string(signature)].concat())].concat()
}

/// RFC 4254 §5.1, with this window and these largest packets.
pub(crate) fn open(channel: u32, kind: &str, window: u32, largest: u32) -> Vec<u8> {
    let numbers = [channel, window, largest].map(u32::to_be_bytes).concat();
    [&[90][..], &string(kind), &numbers].concat()
}

/// Likewise §5.4.
pub(crate) fn request(channel: u32, kind: &str, wants_reply: bool, rest: &[u8]) -> Vec<u8> {
    [&[98][..], &channel.to_be_bytes(), &string(kind), &[u8::from(wants_reply)], rest].concat()
}

pub(crate) fn exec(channel: u32, command: &str) -> Vec<u8> {
    request(channel, "exec", true, &string(command))
}

pub(crate) fn env(channel: u32, name: &str, value: &str, wants_reply: bool) -> Vec<u8> {
    request(channel, "env", wants_reply, &[string(name), string(value)].concat())
}

/// Likewise §5.2.
pub(crate) fn data(channel: u32, bytes: &[u8]) -> Vec<u8> {
    [&[CHANNEL_DATA][..], &channel.to_be_bytes(), &string(bytes)].concat()
}

pub(crate) fn window(channel: u32, more: u32) -> Vec<u8> {
    [&[93][..], &channel.to_be_bytes(), &more.to_be_bytes()].concat()
}

/// End of file is 96, close is 97.
pub(crate) fn end(channel: u32, number: u8) -> Vec<u8> {
    [&[number][..], &channel.to_be_bytes()].concat()
}

pub(crate) fn global(name: &str, wants_reply: bool) -> Vec<u8> {
    [&[80][..], &string(name), &[u8::from(wants_reply)]].concat()
}

pub(crate) fn ignore(bytes: usize) -> Vec<u8> {
    [&[2][..], &string(vec![0; bytes])].concat()
}

/// A line of git's protocol.
pub(crate) fn pkt(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

/// A whole clone in version 2, of one commit.
pub(crate) fn clone_of(tip: &str) -> Vec<u8> {
    let lines = [pkt("command=fetch"), pkt("object-format=sha1"), "0001".to_owned()];
    let wish = [pkt("no-progress"), pkt("ofs-delta"), pkt(&format!("want {tip}\n")), pkt("done\n"), "0000".to_owned()];
    [lines.concat(), wish.concat()].concat().into_bytes()
}
