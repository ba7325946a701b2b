//! The SHA-256 fingerprint of a public key, as `ssh-keygen -l` prints it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Why a text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint looks like SHA256: and 43 base64 characters, as `ssh-keygen -lf FILE` prints it")]
pub struct FingerprintError;

/// SHA-256 over the whole wire blob of a public key (RFC 4253 §6.6): what the registry is searched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a wire blob.
    #[must_use]
    pub fn of_blob(blob: &[u8]) -> Self {
        Self(Sha256::digest(blob).into())
    }

    /// Parses `SHA256:…`.
    ///
    /// # Errors
    /// [`FingerprintError`] for anything that is not exactly 32 bytes in unpadded base64 behind `SHA256:`.
    pub fn parse(text: &str) -> Result<Self, FingerprintError> {
        let digits = text.strip_prefix("SHA256:").ok_or(FingerprintError)?;
        let bytes = STANDARD_NO_PAD.decode(digits).map_err(|_| FingerprintError)?;
        Ok(Self(bytes.try_into().map_err(|_| FingerprintError)?))
    }

    /// The 32 bytes, for use as a look-up key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A fingerprint from its 32 bytes, as an index stores them.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;
    fn try_from(text: String) -> Result<Self, FingerprintError> {
        Self::parse(&text)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let fingerprint = Fingerprint::of_blob(b"blob");
        assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Ok(fingerprint));
        for bad in [
            "",
            "SHA256:",
            "SHA256:abc",
            "MD5:aa:bb",
            "SHA256:=",
            &format!("{fingerprint}="),
            &format!("{fingerprint}A"),
        ] {
            assert_eq!(Fingerprint::parse(bad), Err(FingerprintError), "{bad}");
        }
    }
}
