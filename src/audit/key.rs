//! The audit key: signs how far the chain of changes goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::{SigningKey, VerifyingKey};
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};
use russh::keys::ssh_key::{LineEnding, PublicKey};
use russh::keys::{PrivateKey, ssh_key};
use zeroize::Zeroizing;

use crate::model::fingerprint::Fingerprint;

/// The longest key file that is read, in bytes.
const MAX_FILE: usize = 16 * 1024;

/// Why there is no audit key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the audit key {} cannot be used: {error}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others than the owner can read or write it.
    #[error("the audit key {} is open to other users (mode {mode:03o}): chmod 600 it; what it signed may be another's", file.display())]
    Open {
        /// Which.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error("{} is not an unencrypted Ed25519 key of OpenSSH", file.display())]
    NotAKey {
        /// Which.
        file: PathBuf,
    },
    /// The system gives no randomness.
    #[error("an audit key cannot be made: {0}")]
    Random(getrandom::Error),
}

/// Reads the key, after making it when it is missing. The file comes with it, to be locked.
///
/// # Errors
/// [`KeyError`]
pub fn load_or_make(path: &Path) -> Result<(SigningKey, File), KeyError> {
    let io = |error| KeyError::Io { file: path.to_owned(), error };
    if path.symlink_metadata().is_err() {
        make(path)?;
    }
    let mut file = File::open(path).map_err(io)?;
    let key = read(path, &mut file)?;
    Ok((key, file))
}

/// The public half of the key in a file. Makes none.
///
/// # Errors
/// [`KeyError`]
pub fn public_half(path: &Path) -> Result<VerifyingKey, KeyError> {
    let mut file = File::open(path).map_err(|error| KeyError::Io { file: path.to_owned(), error })?;
    Ok(read(path, &mut file)?.verifying_key())
}

fn read(path: &Path, file: &mut File) -> Result<SigningKey, KeyError> {
    let io = |error| KeyError::Io { file: path.to_owned(), error };
    let not_a_key = || KeyError::NotAKey { file: path.to_owned() };
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { file: path.to_owned(), mode });
    }
    // As large as it may become: what grows leaves its earlier copies behind, which nobody clears.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE));
    file.take(MAX_FILE as u64).read_to_string(&mut text).map_err(io)?;
    let key = PrivateKey::from_openssh(text.as_str()).map_err(|_| not_a_key())?;
    let pair = key.key_data().ed25519().ok_or_else(not_a_key)?;
    let seed = Zeroizing::new(pair.private.to_bytes());
    Ok(SigningKey::from_bytes(&seed))
}

fn make(path: &Path) -> Result<(), KeyError> {
    let io = |error| KeyError::Io { file: path.to_owned(), error };
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
    let pair = Ed25519Keypair::from(SigningKey::from_bytes(&seed));
    let key = PrivateKey::new(KeypairData::Ed25519(pair), "pullgate audit key");
    let text = key
        .and_then(|key| key.to_openssh(LineEnding::LF))
        .map_err(|error: ssh_key::Error| io(io::Error::other(error)))?;
    // Written beside and then linked: a half-written key is never in place, and that of another process is not replaced.
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::hard_link(&beside, path)
    });
    let removed = std::fs::remove_file(&beside);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(io)?,
    }
    removed.map_err(io)
}

/// A public key as OpenSSH writes it, without a comment.
#[must_use]
pub fn text(key: &VerifyingKey) -> String {
    // A key of 32 bytes always has such a text.
    openssh(key).to_openssh().unwrap_or_default()
}

fn openssh(key: &VerifyingKey) -> PublicKey {
    PublicKey::from(KeyData::Ed25519(Ed25519PublicKey(key.to_bytes())))
}

/// The fingerprint of a public key, as `ssh-keygen -l` says it.
#[must_use]
pub fn fingerprint(key: &VerifyingKey) -> Fingerprint {
    Fingerprint::of_blob(&openssh(key).to_bytes().unwrap_or_default())
}

/// Reads what [`text`] writes, with or without a comment; `None` for everything else.
#[must_use]
pub fn parse(text: &str) -> Option<VerifyingKey> {
    let key = PublicKey::from_openssh(text.trim()).ok()?;
    VerifyingKey::from_bytes(&key.key_data().ed25519()?.0).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_its_public_half_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.key");
        assert!(matches!(public_half(&path), Err(KeyError::Io { .. })), "looking makes none");
        let (first, _) = load_or_make(&path).unwrap();
        let (again, _) = load_or_make(&path).unwrap();
        assert_eq!(first.to_bytes(), again.to_bytes());
        let public = public_half(&path).unwrap();
        assert_eq!(parse(&format!("{} a comment\n", text(&public))), Some(public));
        assert_eq!(parse("ssh-ed25519 AAAA"), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(load_or_make(&path), Err(KeyError::Open { mode: 0o640, .. })));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, "no key").unwrap();
        assert!(matches!(load_or_make(&path), Err(KeyError::NotAKey { .. })));
    }
}
