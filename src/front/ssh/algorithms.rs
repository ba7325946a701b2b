//! What is offered to a peer, and the rest of the library's settings. Nothing is left to the library's defaults.

use std::borrow::Cow;
use std::time::Duration;

use russh::keys::ssh_key::AlgorithmName;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::server::Config;
use russh::{Limits, MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};

use super::Settings;

/// Post-quantum first; then what every client since 2014 has; the one at the end is for old clients without curves. Anybody may ask for
/// an exchange before the login: with 8,192 bits it takes the library 1.3 s of processor time, with 3,072 0.08 s and with 2,048 0.02 s,
/// on a thread that others wait for. So there is none but that which asks us for its group: by that the line knows whose turn it has to
/// wait for ([`super::exchange`], docs/decisions/0005-groups.md). There is no `sntrup761x25519-sha512`, since the library has none
/// (russh 0.65.1). docs/ci/README.md lists what is offered, by a test.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    // Not methods, but announcements: which signatures we take (RFC 8308), and strict key exchange (against Terrapin).
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// AES-GCM costs an eighth of ChaCha20 per byte where the processor helps.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

/// The methods that go with the ECDSA host key.
const NIST: &[kex::Name] = &[kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

/// For host keys and for users' keys alike. `ssh-rsa`, which is SHA-1, see [`keys`].
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Compression is the client's wish to make us work before it is known (RUSTSEC-2026-0493); packs are compressed anyway.
const COMPRESSION: &[compression::Name] = &[compression::NONE];

/// What we say that we take. `ssh-rsa` is its last entry: a client that can do nothing better then signs with it, is told what
/// is wrong, and fetches nothing; without the entry OpenSSH would give up with "no mutual signature algorithm".
///
/// The library makes two lists of this one: which of our host keys it signs with, and which signatures of users we take
/// (RFC 8308). With an RSA host key it would take the entry as a wish to sign with SHA-1 itself. A name of the form
/// `name@domain` is never one of a host key, and a comma in it makes two names of the second list.
fn keys(host_keys: &[PrivateKey]) -> Vec<Algorithm> {
    let mut keys = KEYS.to_vec();
    if !host_keys.iter().any(|key| key.algorithm().is_rsa()) {
        keys.push(Algorithm::Rsa { hash: None });
    } else if let Ok(name) = AlgorithmName::new(USERS_SHA1) {
        keys.push(Algorithm::Other(name));
    } else {
        // A later version of the library that looks closer: nothing is lost but the sentence.
        tracing::debug!("ssh-rsa is not announced: clients that sign with SHA-1 are not told of it");
    }
    keys
}

/// `ssh-rsa`, and a name that nobody has.
const USERS_SHA1: &str = "ssh-rsa,none@pullgate.invalid";

/// What an operator can do for a client that has nothing in common with us, by what it offered.
pub(super) fn remedy(offered: &[String]) -> &'static str {
    let knows = |part: &str| offered.iter().any(|name| name.contains(part));
    // Auditors have nothing against the first. Of ECDSA host keys there is one, over nistp256.
    if knows("rsa-sha2-") {
        "it can be served with rsa_host_key = true under [ssh]"
    } else if knows("ecdsa-sha2-nistp256") || knows("ecdh-sha2-nistp") {
        "it can be served with nist_curves = true under [ssh]"
    } else if offered.iter().any(|name| name.starts_with("diffie-hellman-group1") && !name.ends_with("-sha1")) {
        "let it offer a curve or diffie-hellman-group-exchange-sha256, which are served"
    } else {
        "it is too old, and cannot be served"
    }
}

pub(super) fn config(host_keys: Vec<PrivateKey>, settings: &Settings) -> Config {
    let nist = host_keys.iter().any(|key| key.algorithm().is_ecdsa());
    let kex = KEX.iter().filter(|name| nist || !NIST.contains(name)).copied().collect();
    let accepted = keys(&host_keys);
    Config {
        server_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-pullgate_", env!("CARGO_PKG_VERSION")))),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // An unknown key is refused at once: five stray keys in an agent must not cost five seconds. What guesses cost is
        // bounded by their number on a connection, and by the connections.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: host_keys,
        certificates: Vec::new(),
        limits: Limits {
            rekey_write_limit: settings.rekey.bytes,
            rekey_read_limit: settings.rekey.bytes,
            rekey_time_limit: settings.rekey.after,
        },
        // What a client sends is negotiation, which is small.
        window_size: 256 * 1024,
        maximum_packet_size: 32 * 1024,
        // The read half of a channel is dropped, so nothing waits in this queue.
        channel_buffer_size: 16,
        // Pieces of a packet each, on their way to the session's task: 256 KiB for a reader who stands still.
        event_buffer_size: 8,
        preferred: Preferred {
            kex: Cow::Owned(kex),
            key: Cow::Owned(accepted),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(COMPRESSION),
        },
        // The handler counts the probes, and notes the one that is too many. So that it sees that one, the library allows one
        // more, and one for the `none` that clients begin with, which it counts as well; then it says goodbye.
        max_auth_attempts: settings.key_probes + 2,
        inactivity_timeout: Some(settings.idle),
        // Not before the login clock has run out: a client that waits for its user's passphrase or token takes a message that
        // belongs to later for a broken server (OpenSSH's `input_userauth_error`), and ends.
        keepalive_interval: Some(settings.keepalive.max(settings.login + Duration::from_secs(1))),
        keepalive_max: 4,
        nodelay: true,
    }
}
