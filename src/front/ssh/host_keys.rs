//! The gateway's own keys: made at the first start, read at every start, refused when others can read them.

mod ecdsa;
pub mod rotation;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use getrandom::rand_core::UnwrapErr;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData, RsaKeypair};
use russh::keys::ssh_key::{self, LineEnding};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// The kind of key that every gateway shows.
pub const ALWAYS: Algorithm = Algorithm::Ed25519;

/// The keys of a gateway, in the order in which they are offered. ECDSA is for clients that know no ed25519 (JSch up to
/// 0.1.55, systems in FIPS mode, appliances), and made when it is asked for.
const STANDARD: [(&str, Algorithm); 2] =
    [("ssh_host_ed25519_key", ALWAYS), ("ssh_host_ecdsa_key", Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })];

/// For clients that take nothing else; made when it is asked for. 3072 bits are what NIST SP 800-57 advises beyond 2030.
const RSA: (&str, usize) = ("ssh_host_rsa_key", 3072);

/// Which kinds of key the gateway shows itself with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds {
    /// An RSA key too. Off by default: the library's RSA has a timing weakness when it signs (RUSTSEC-2023-0071).
    pub rsa: bool,
    /// An ECDSA key, and key exchange over the same curves. Off by default: `ssh-audit` calls both a failure. JSch up to
    /// 0.1.55 (JGit's, in Debian) cannot do without: beside ECDSA it knows `ssh-rsa` and `ssh-dss` only, which are SHA-1.
    pub nist_curves: bool,
}

impl Kinds {
    /// Whether a key of this kind is shown to clients.
    #[must_use]
    pub fn has(self, algorithm: &Algorithm) -> bool {
        if matches!(algorithm, Algorithm::Rsa { .. }) {
            return self.rsa;
        }
        self.nist_curves || !matches!(algorithm, Algorithm::Ecdsa { .. })
    }
}

/// The longest key file that is read, in bytes.
const MAX_FILE: u64 = FILE_BYTES as u64;
const FILE_BYTES: usize = 64 * 1024;

/// Why there are no host keys to serve with.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// A file or the folder cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// Others than the owner can read or write it.
    #[error("{0} is open to other users (mode {1:03o}); a host key must be its owner's alone: chmod 600 {0}")]
    Open(PathBuf, u32),
    /// The file does not hold an unencrypted OpenSSH private key.
    #[error("{} is no host key: {}", .0.display(), is_not(.1))]
    NotAKey(PathBuf, ssh_key::Error),
    /// The system gives no randomness.
    #[error("a key cannot be made: {0}")]
    Random(getrandom::Error),
    /// One that clients know is not there any more.
    #[error("{0} is missing, and clients know that key: put it back, or start anew to have another one made")]
    Missing(PathBuf),
    /// The folder holds no key that can be used.
    #[error("there are no host keys in {0}; they are made when `pullgate serve` starts for the first time")]
    None(PathBuf),
}

/// The library's own words are about whatever it stumbles over first.
fn is_not(error: &ssh_key::Error) -> &'static str {
    if matches!(error, ssh_key::Error::Encrypted) {
        return "it has a passphrase, which nobody is there to type";
    }
    "an OpenSSH private key cannot be read from it"
}

/// Reads every `ssh_host_*_key` in the folder that is of these kinds, after making the standard ones that are missing and have
/// no next one. A folder that is missing where its own folder is there, as at the first start of a service, is made for its
/// owner alone. None is made in the place of one that is `shown` to clients already.
///
/// # Errors
/// [`HostKeyError`]
pub fn load_or_make(folder: &Path, kinds: Kinds, shown: &[Algorithm]) -> Result<Vec<PrivateKey>, HostKeyError> {
    let keys = made_and_loaded(folder, kinds, shown);
    wipe_stack();
    keys
}

// A function of its own, so that all that it leaves lies where the next one is laid.
#[inline(never)]
fn made_and_loaded(folder: &Path, kinds: Kinds, shown: &[Algorithm]) -> Result<Vec<PrivateKey>, HostKeyError> {
    let is_shown = |algorithm: &Algorithm| {
        let kind = std::mem::discriminant(algorithm);
        shown.iter().any(|shown| std::mem::discriminant(shown) == kind)
    };
    for (name, algorithm) in standard(kinds) {
        if is_shown(&algorithm) && is_missing(folder, name) {
            return Err(HostKeyError::Missing(folder.join(name)));
        }
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(HostKeyError::Io(folder.to_owned(), error));
        }
        Ok(()) | Err(_) => {}
    }
    for (name, algorithm) in standard(kinds) {
        if is_missing(folder, name) {
            make_missing(&folder.join(name), &algorithm)?;
        }
    }
    load(folder, kinds)
}

/// Whether the key that every gateway shows is not there, nor a next one of its kind: a start makes it, and whoever knew one before
/// is warned.
#[must_use]
pub fn is_gone(folder: &Path) -> bool {
    is_missing(folder, STANDARD[0].0)
}

/// Whether there is neither this key nor a next one of its kind. One whose next key clients are just being told of comes when that
/// takes its place: another would be new to them all.
fn is_missing(folder: &Path, name: &str) -> bool {
    let there = |name: &str| folder.join(name).symlink_metadata().is_ok();
    !there(name) && !there(&format!("{name}{}", rotation::NEXT_END))
}

/// Overwrites what the functions before have left on the stack: each move of a key leaves the old place as it was, and whatever
/// is laid there next and does not fill its room carries that on, for as long as it lives.
#[inline(never)]
fn wipe_stack() {
    const DEEP: usize = 256 * 1024;
    std::hint::black_box(&mut [0u8; DEEP]);
}

/// The public halves of the keys that are there and shown to clients; makes none.
///
/// # Errors
/// [`HostKeyError`]
pub fn public_keys(folder: &Path, kinds: Kinds) -> Result<Vec<PublicKey>, HostKeyError> {
    Ok(load(folder, kinds)?.iter().map(|key| key.public_key().clone()).collect())
}

/// The files that a gateway with these kinds has, in the order in which their keys are offered.
fn standard(kinds: Kinds) -> Vec<(&'static str, Algorithm)> {
    let rsa = (RSA.0, Algorithm::Rsa { hash: None });
    STANDARD.into_iter().chain([rsa]).filter(|(_, algorithm)| kinds.has(algorithm)).collect()
}

fn load(folder: &Path, kinds: Kinds) -> Result<Vec<PrivateKey>, HostKeyError> {
    let names = names(folder, "_key")?;
    let mut keys = names.iter().map(|name| read(&folder.join(name))).collect::<Result<Vec<_>, _>>()?;
    keys.retain(|key| kinds.has(&key.algorithm()));
    if keys.is_empty() { Err(HostKeyError::None(folder.to_owned())) } else { Ok(keys) }
}

/// The files `ssh_host_…` in the folder that end so: the standard ones first, in their order; the others by name.
fn names(folder: &Path, end: &str) -> Result<Vec<String>, HostKeyError> {
    let io = |error| HostKeyError::Io(folder.to_owned(), error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        if let Ok(name) = entry.map_err(io)?.file_name().into_string()
            && name.starts_with("ssh_host_")
            && name.ends_with(end)
        {
            names.push(name);
        }
    }
    let rank = |name: &String| STANDARD.iter().position(|(standard, _)| name.starts_with(standard));
    names.sort_by_key(|name| (rank(name).unwrap_or(STANDARD.len()), name.clone()));
    Ok(names)
}

fn read(path: &Path) -> Result<PrivateKey, HostKeyError> {
    let io = |error| HostKeyError::Io(path.to_owned(), error);
    let file = std::fs::File::open(path).map_err(io)?;
    // Of the open file, not of the path: what was checked is what is read.
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(HostKeyError::Open(path.to_owned(), mode));
    }
    // As large as it may become: what grows leaves its earlier copies behind, which nobody clears.
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(io)?;
    let key = match ecdsa::widened(&text) {
        Some(bytes) => PrivateKey::from_bytes(&bytes),
        None => PrivateKey::from_openssh(text.as_str()),
    };
    let key = key.map_err(|error| HostKeyError::NotAKey(path.to_owned(), error))?;
    if key.is_encrypted() {
        return Err(HostKeyError::NotAKey(path.to_owned(), ssh_key::Error::Encrypted));
    }
    Ok(key)
}

fn make_missing(path: &Path, algorithm: &Algorithm) -> Result<(), HostKeyError> {
    let io = |error| HostKeyError::Io(path.to_owned(), error);
    let not_a_key = |error| HostKeyError::NotAKey(path.to_owned(), error);
    let key = generate(algorithm)?;
    let text = key.to_openssh(LineEnding::LF).map_err(not_a_key)?;
    // Written beside and then linked: a half-written key is never in place, and a key of another process is not replaced.
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        belong_to_the_folder(&file, path)?;
        file.sync_all()?;
        std::fs::hard_link(&beside, path)
    });
    let removed = std::fs::remove_file(&beside);
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        other => {
            other.map_err(io)?;
            let (file, fingerprint) = (path.display(), key.fingerprint(HashAlg::Sha256));
            tracing::info!(%file, %fingerprint, "there was no host key: a new one was made, which no client knows");
        }
    }
    removed.map_err(io)
}

/// The daemon's user owns the folder, and could not read a key of root's.
fn belong_to_the_folder(file: &std::fs::File, path: &Path) -> std::io::Result<()> {
    let (mine, Some(folder)) = (file.metadata()?, path.parent()) else { return Ok(()) };
    let folder = folder.metadata()?;
    if mine.uid() == folder.uid() || mine.uid() != 0 {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()))
}

/// A new key.
fn generate(algorithm: &Algorithm) -> Result<PrivateKey, HostKeyError> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(HostKeyError::Random)?;
    let refused = |error| HostKeyError::NotAKey(PathBuf::from("a new key"), error);
    if *algorithm == Algorithm::Ed25519 {
        let pair = Ed25519Keypair::from(SigningKey::from_bytes(&seed));
        return PrivateKey::new(KeypairData::Ed25519(pair), "pullgate host key").map_err(refused);
    }
    if matches!(algorithm, Algorithm::Rsa { .. }) {
        let pair = RsaKeypair::random(&mut UnwrapErr(getrandom::SysRng), RSA.1).map_err(refused)?;
        return PrivateKey::new(KeypairData::from(pair), "pullgate host key").map_err(refused);
    }
    // The system just gave randomness, so that the infallible wrapper will not have to panic.
    PrivateKey::random(&mut UnwrapErr(getrandom::SysRng), algorithm.clone()).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_that_is_missing_is_made_and_its_parents_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        assert_eq!(load_or_make(&folder, Kinds::default(), &[]).unwrap().len(), 1);
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let deeper = dir.path().join("a/keys");
        assert!(
            matches!(load_or_make(&deeper, Kinds::default(), &[]), Err(HostKeyError::Io(path, _)) if path == deeper)
        );
    }

    #[test]
    fn keys_are_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(public_keys(dir.path(), Kinds::default()), Err(HostKeyError::None(_))));
        let nist = Kinds { rsa: false, nist_curves: true };
        let first = load_or_make(dir.path(), nist, &[]).unwrap();
        let kinds: Vec<_> = first.iter().map(|key| key.algorithm().to_string()).collect();
        assert_eq!(kinds, ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
        let again: Vec<_> =
            load_or_make(dir.path(), nist, &[]).unwrap().iter().map(|key| key.public_key().clone()).collect();
        assert_eq!(again, public_keys(dir.path(), nist).unwrap());
        assert_eq!(again[0], *first[0].public_key());
        let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["ssh_host_ecdsa_key", "ssh_host_ed25519_key"]);
        for name in left {
            assert_eq!(std::fs::metadata(dir.path().join(name)).unwrap().mode() & 0o777, 0o600);
        }
    }

    /// Else everybody would be warned of a key that somebody took away by mistake.
    #[test]
    fn none_is_made_in_the_place_of_one_that_clients_know() {
        let dir = tempfile::tempdir().unwrap();
        let shown = |keys: Vec<PrivateKey>| keys.iter().map(PrivateKey::algorithm).collect::<Vec<_>>();
        let first = shown(load_or_make(dir.path(), Kinds::default(), &[]).unwrap());
        let more = Kinds { rsa: false, nist_curves: true };
        let both = shown(load_or_make(dir.path(), more, &first).unwrap());
        assert_eq!(both.len(), 2, "another kind is made when it is asked for");
        let file = dir.path().join("ssh_host_ecdsa_key");
        std::fs::rename(&file, dir.path().join("aside")).unwrap();
        assert!(matches!(load_or_make(dir.path(), more, &both), Err(HostKeyError::Missing(path)) if path == file));
        assert_eq!(shown(load_or_make(dir.path(), Kinds::default(), &both).unwrap()).len(), 1, "it is not wanted");
        let elsewhere = dir.path().join("elsewhere");
        assert!(matches!(load_or_make(&elsewhere, more, &both), Err(HostKeyError::Missing(_))));
        assert!(!elsewhere.exists());
        assert_eq!(shown(load_or_make(dir.path(), more, &[]).unwrap()), both, "a start makes it");
    }

    #[test]
    fn kinds_are_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let kinds = |kinds| -> Vec<_> {
            load_or_make(dir.path(), kinds, &[]).unwrap().iter().map(|key| key.algorithm().to_string()).collect()
        };
        let all = Kinds { rsa: true, nist_curves: true };
        assert_eq!(kinds(all), ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]);
        // They stay in the folder and are left aside.
        assert_eq!(kinds(Kinds { rsa: false, nist_curves: true }), ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
        assert_eq!(kinds(Kinds::default()), ["ssh-ed25519"]);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make(dir.path(), Kinds::default(), &[]).unwrap();
        let path = dir.path().join("ssh_host_ed25519_key");
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert!(
                matches!(load_or_make(dir.path(), Kinds::default(), &[]), Err(HostKeyError::Open(_, m)) if m == mode)
            );
        }
    }

    #[test]
    fn what_is_no_key_is_said() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make(dir.path(), Kinds::default(), &[]).unwrap();
        std::fs::write(dir.path().join("ssh_host_ed25519_key"), "not a key\n").unwrap();
        assert!(matches!(load_or_make(dir.path(), Kinds::default(), &[]), Err(HostKeyError::NotAKey(..))));
    }
}
