//! An SSH public key that the policy admits, and what to say about everything that is not one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key;
use russh::keys::ssh_key::public::KeyData;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fingerprint::Fingerprint;

/// The largest text that is looked at, in bytes: an RSA key of 16,384 bits is under 3 KiB.
pub const MAX_TEXT: usize = 16 * 1024;
/// The smallest RSA modulus, in bits.
pub const MIN_RSA_BITS: u32 = 2048;
/// What new RSA keys should have at least, in bits (NIST SP 800-57: good beyond 2030).
pub const ADVISED_RSA_BITS: u32 = 3072;

/// Why a text is not a public key that can be registered. Each says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing but blanks and comments.
    #[error("there is no public key in it")]
    Empty,
    /// More than [`MAX_TEXT`] bytes.
    #[error("it is far too large for a public key")]
    TooLarge,
    /// The secret half.
    #[error("this is a private key: keep it secret, and give the public half (`ssh-keygen -y -f FILE` prints it)")]
    Private,
    /// A PEM or RFC 4716 public key.
    #[error(
        "this is a public key in another format: convert it with `ssh-keygen -i -m PKCS8 -f FILE` (or `-m RFC4716`)"
    )]
    OtherFormat,
    /// A `.ppk` file.
    #[error("this is a PuTTY key file: export the line under \"Public key for pasting\" in PuTTYgen")]
    Putty,
    /// More than one line with a key.
    #[error("there are several keys in it: register them one by one, each under its own label")]
    Several,
    /// One key, broken over lines or with other text around it.
    #[error(
        "the key is broken over several lines, or has other text around it: give the key alone, type and all in one line"
    )]
    Wrapped,
    /// No line of it looks like a key.
    #[error(
        "this is no public key: one is a line such as `ssh-ed25519 AAAAC3… comment`, usually in a file that ends in .pub"
    )]
    NoKey,
    /// authorized_keys options in front.
    #[error(
        "it starts with authorized_keys options: give the key alone, and use --from and --expires for what they limit"
    )]
    Options,
    /// An OpenSSH certificate.
    #[error("this is a certificate: register the public key that it certifies")]
    Certificate,
    /// DSA.
    #[error("DSA keys are not safe and not accepted: make one with `ssh-keygen -t ed25519`")]
    Dsa,
    /// Some other type.
    #[error("keys of type {0} are not accepted: use ed25519, ECDSA, a security key (sk-…) or RSA")]
    Type(String),
    /// RSA below [`MIN_RSA_BITS`].
    #[error(
        "an RSA key of {0} bits is not safe: at least {MIN_RSA_BITS} are needed, {ADVISED_RSA_BITS} advised; ed25519 is better"
    )]
    RsaSize(u32),
    /// An RSA exponent that makes forgery easy.
    #[error("this RSA key's public exponent is even or below 65537: it is not safe")]
    RsaExponent,
    /// It looks like a key, but does not decode, or not to one spelling.
    #[error("this does not decode as a public key: was it cut or wrapped when it was copied?")]
    Damaged,
}

/// The algorithm family of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256`, `384`, `521`
    Ecdsa,
    /// `ssh-rsa`: a key's type; its signatures are SHA-2 only.
    Rsa,
    /// `sk-ssh-ed25519@openssh.com`, `sk-ecdsa-sha2-nistp256@openssh.com`
    SecurityKey,
}

/// An SSH public key: the exact wire blob (RFC 4253 §6.6) of a key that the policy admits.
///
/// Two keys are the same when their whole blobs are the same, byte by byte; comments do not count.
///
/// In JSON and TOML it is the text of a `.pub` file, in compact encodings the blob alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    name: String,
    blob: Vec<u8>,
    algorithm: KeyAlgorithm,
    bits: u32,
}

impl PublicKey {
    /// Reads one public key from what a person pasted or a `.pub` file holds: one line, a comment at its end, CRLF, blank
    /// and `#` lines allowed.
    ///
    /// # Errors
    /// [`KeyError`], which says what the text is instead and what to do.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_TEXT {
            return Err(KeyError::TooLarge);
        }
        let text = text.trim_start_matches('\u{feff}');
        recognise_other_formats(text)?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().ok_or(KeyError::Empty)?;
        let keys = |line: &str| line.split_ascii_whitespace().any(is_key_type);
        let (mut all, mut found) = (1, usize::from(keys(line)));
        for other in lines {
            all += 1;
            found += usize::from(keys(other));
        }
        match (found, all) {
            (0, _) => return Err(KeyError::NoKey),
            (1, 1) => {}
            (1, _) => return Err(KeyError::Wrapped),
            _ => return Err(KeyError::Several),
        }
        let mut words = line.split_ascii_whitespace();
        let name = words.next().ok_or(KeyError::Empty)?;
        if !is_key_type(name) {
            // Options may hold quoted blanks, so look for a type in any later place.
            return Err(KeyError::Options);
        }
        let blob = STANDARD.decode(words.next().ok_or(KeyError::Damaged)?).map_err(|_| KeyError::Damaged)?;
        Self::from_blob(name, blob)
    }

    /// Checks a wire blob against the type it was called and against the policy.
    fn from_blob(name: &str, blob: Vec<u8>) -> Result<Self, KeyError> {
        if name.ends_with("-cert-v01@openssh.com") {
            return Err(KeyError::Certificate);
        }
        if name == "ssh-dss" {
            return Err(KeyError::Dsa);
        }
        let key = ssh_key::PublicKey::from_bytes(&blob).map_err(|_| KeyError::Damaged)?;
        // One spelling: a blob that decodes but encodes differently (padded integers) would be a second name for the key.
        if key.algorithm().as_str() != name || key.to_bytes().ok().as_deref() != Some(blob.as_slice()) {
            return Err(KeyError::Damaged);
        }
        let (algorithm, bits) = policy(key.key_data(), name)?;
        Ok(Self { name: name.to_owned(), blob, algorithm, bits })
    }

    /// The key that a peer presents, after the SSH library decoded it.
    ///
    /// # Errors
    /// [`KeyError`] for a key that could not have been registered.
    pub fn from_peer(key: &ssh_key::PublicKey) -> Result<Self, KeyError> {
        let blob = key.to_bytes().map_err(|_| KeyError::Damaged)?;
        Self::from_blob(key.algorithm().as_str(), blob)
    }

    /// The fingerprint that the registry is searched by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_blob(&self.blob)
    }

    /// The algorithm family.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The type as SSH names it, e.g. `ssh-ed25519`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.name
    }

    /// The key's size in bits, as `ssh-keygen -l` counts them.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Advice that belongs beside the acceptance of the key, if there is any.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        (self.algorithm == KeyAlgorithm::Rsa && self.bits < ADVISED_RSA_BITS).then(|| {
            format!("an RSA key of {} bits is accepted, but {ADVISED_RSA_BITS} or an ed25519 key is advised", self.bits)
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, STANDARD.encode(&self.blob))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.name, self.fingerprint())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.blob)
        }
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom);
        }
        let blob = <&[u8]>::deserialize(deserializer)?;
        // A blob starts with its type, as a string with a length of four bytes (RFC 4253 §6.6).
        let name = blob.split_first_chunk().and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
        let name = name.and_then(|name| std::str::from_utf8(name).ok()).ok_or(KeyError::Damaged);
        name.and_then(|name| Self::from_blob(name, blob.to_owned())).map_err(D::Error::custom)
    }
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| word.starts_with(prefix))
}

fn recognise_other_formats(text: &str) -> Result<(), KeyError> {
    let start = text.trim_start();
    if start.starts_with("PuTTY-User-Key-File") {
        return Err(KeyError::Putty);
    }
    if start.starts_with("-----BEGIN") || start.starts_with("---- BEGIN") {
        let first = start.lines().next().unwrap_or_default();
        return Err(if first.contains("PRIVATE KEY") { KeyError::Private } else { KeyError::OtherFormat });
    }
    Ok(())
}

fn policy(data: &KeyData, name: &str) -> Result<(KeyAlgorithm, u32), KeyError> {
    match data {
        KeyData::Ed25519(_) => Ok((KeyAlgorithm::Ed25519, 256)),
        KeyData::Ecdsa(key) => Ok((
            KeyAlgorithm::Ecdsa,
            match key {
                ssh_key::public::EcdsaPublicKey::NistP256(_) => 256,
                ssh_key::public::EcdsaPublicKey::NistP384(_) => 384,
                ssh_key::public::EcdsaPublicKey::NistP521(_) => 521,
            },
        )),
        KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => Ok((KeyAlgorithm::SecurityKey, 256)),
        KeyData::Rsa(key) => {
            let bits = key.key_size();
            if bits < MIN_RSA_BITS {
                return Err(KeyError::RsaSize(bits));
            }
            let exponent = key.e().as_positive_bytes().ok_or(KeyError::RsaExponent)?;
            let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
            let large = exponent.len() > 2 && exponent > [1, 0, 0].as_slice();
            if odd && (large || exponent.len() > 3) {
                Ok((KeyAlgorithm::Rsa, bits))
            } else {
                Err(KeyError::RsaExponent)
            }
        }
        KeyData::Dsa(_) => Err(KeyError::Dsa),
        KeyData::Certificate(_) => Err(KeyError::Certificate),
        KeyData::Other(_) | _ => Err(KeyError::Type(super::text::printable(name, 60))),
    }
}

#[cfg(test)]
mod tests;
