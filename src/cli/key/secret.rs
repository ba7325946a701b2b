//! A new private key, and the one file that it is written to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{LineEnding, PrivateKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::admin::fault::{Fault, Kind};

/// A new key pair. The private half is wiped when this is dropped, and has no `Debug`.
pub(super) struct Pair {
    /// The private half in the OpenSSH format.
    pub(super) private: Zeroizing<String>,
    /// The public half, as a line of a `.pub` file.
    pub(super) public: String,
}

impl Pair {
    /// Makes an ed25519 key from the system's randomness; `name` becomes its comment.
    pub(super) fn generate(name: &str) -> Result<Self, Fault> {
        let mut seed = Zeroizing::new([0u8; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| {
            Fault::new(Kind::Unavailable, format!("the system gives no randomness: {error}")).hint("no key was made")
        })?;
        let signing = SigningKey::from_bytes(&seed);
        seed.zeroize();
        let made = PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from(signing)), name)
            .and_then(|key| Ok((key.to_openssh(LineEnding::LF)?, key.public_key().to_openssh()?)));
        match made {
            Ok((private, public)) => Ok(Self { private, public }),
            Err(error) => Err(Fault::new(Kind::Internal, format!("the new key cannot be written down: {error}"))),
        }
    }
}

/// A file that was made for one half of a key. Unless it is kept, it is removed again.
pub(super) struct NewFile {
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    /// Makes the file of the private half, with mode 0600, and writes it durably. A file that is there is never touched, and a link is not
    /// followed: `O_EXCL` sees to both (open(2)).
    pub(super) fn write(path: &Path, private: &str) -> Result<Self, Fault> {
        Self::with_mode(path, 0o600, private)
    }

    /// The same for the public half, beside it: `FILE.pub`, where ssh and its tools look for it.
    pub(super) fn beside(path: &Path, public: &str) -> Result<(PathBuf, Self), Fault> {
        let mut name = path.as_os_str().to_owned();
        name.push(".pub");
        let path = PathBuf::from(name);
        let file = Self::with_mode(&path, 0o644, &format!("{public}\n"))?;
        Ok((path, file))
    }

    fn with_mode(path: &Path, mode: u32, text: &str) -> Result<Self, Fault> {
        let failed = |error: &io::Error| {
            let fault = Fault::new(Kind::Unavailable, format!("{} cannot be made: {error}", path.display()));
            match error.kind() == io::ErrorKind::AlreadyExists {
                true => Fault { kind: Kind::Conflict, ..fault }.hint("name a new file: no key is ever overwritten"),
                false => fault,
            }
            .field("out")
        };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|error| failed(&error))?;
        let made = Self { path: path.to_owned(), kept: false };
        write(&mut file, text).map_err(|error| failed(&error))?;
        Ok(made)
    }

    /// Keeps the file.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, file = %self.path.display(), "the file of a key that was not registered is left");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::model::public_key::PublicKey;

    #[test]
    fn a_pair_fits_together_and_no_two_are_alike() {
        let (a, b) = (Pair::generate("acme/ci").unwrap(), Pair::generate("acme/ci").unwrap());
        assert_ne!(a.public, b.public);
        let read = PrivateKey::from_openssh(a.private.as_bytes()).unwrap();
        assert_eq!(read.public_key().to_openssh().unwrap(), a.public);
        assert!(a.public.ends_with(" acme/ci"));
        PublicKey::parse(&a.public).unwrap();
    }

    #[test]
    fn a_file_is_new_private_and_gone_unless_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let file = NewFile::write(&path, "secret").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
        NewFile::write(&path, "secret").unwrap().keep();
        assert_eq!(NewFile::write(&path, "other").err().unwrap().kind, Kind::Conflict);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(NewFile::write(&link, "secret").is_err());
    }
}
