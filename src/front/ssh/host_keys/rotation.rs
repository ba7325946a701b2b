//! A new host key without a day on which builds fail: it is made and published first, used later.
//!
//! Beside a key `ssh_host_x_key` lie its successor `ssh_host_x_key.next`, which `known-hosts` prints already, and its
//! predecessor `ssh_host_x_key.retired`, which is neither used nor printed any more. OpenSSH clients could learn of a
//! next key by themselves (`hostkeys-00@openssh.com`); the SSH library sends no such announcement and answers no
//! `hostkeys-prove-00@openssh.com` (russh 0.65.1, `server/encrypted.rs`: an unknown global request is refused).

use std::path::{Path, PathBuf};

use russh::keys::PublicKey;

use super::{HostKeyError, Kinds, make_missing, names, read, standard};

/// What a successor's file ends with.
const NEXT: &str = "_key.next";
/// What a next key's file has behind the name that it will have.
pub(super) const NEXT_END: &str = ".next";
/// What a predecessor's file ends with.
const RETIRED: &str = "_key.retired";

/// The keys that will be used later and are published already.
///
/// # Errors
/// [`HostKeyError`]
pub fn next_keys(folder: &Path, kinds: Kinds) -> Result<Vec<PublicKey>, HostKeyError> {
    let mut keys = keys(folder, NEXT)?;
    keys.retain(|key| kinds.has(&key.algorithm()));
    Ok(keys)
}

/// The keys that were used once and are published no more.
///
/// # Errors
/// [`HostKeyError`]
pub fn retired_keys(folder: &Path) -> Result<Vec<PublicKey>, HostKeyError> {
    keys(folder, RETIRED)
}

fn keys(folder: &Path, end: &str) -> Result<Vec<PublicKey>, HostKeyError> {
    names(folder, end)?.iter().map(|name| Ok(read(&folder.join(name))?.public_key().clone())).collect()
}

/// Makes a next key of each kind that has none yet.
///
/// # Errors
/// [`HostKeyError`]
pub fn make_next(folder: &Path, kinds: Kinds) -> Result<Vec<PublicKey>, HostKeyError> {
    for (name, algorithm) in standard(kinds) {
        make_missing(&folder.join(format!("{name}{NEXT_END}")), &algorithm)?;
    }
    next_keys(folder, kinds)
}

/// Puts each next key into its place and keeps the one that was there as retired. In force when the daemon starts again, or at SIGHUP.
/// Returns how many changed.
///
/// # Errors
/// [`HostKeyError`]
pub fn promote(folder: &Path) -> Result<usize, HostKeyError> {
    let next = names(folder, NEXT)?;
    for name in &next {
        let next = folder.join(name);
        // Nothing takes a place that it cannot fill.
        read(&next)?;
        let current = next.with_extension("");
        let retired = current.with_extension("retired");
        if current.symlink_metadata().is_ok() {
            // A link and not a move: at no moment is there no key in place.
            match std::fs::remove_file(&retired) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&retired)(error)),
                Ok(()) | Err(_) => {}
            }
            std::fs::hard_link(&current, &retired).map_err(io(&retired))?;
        }
        std::fs::rename(&next, &current).map_err(io(&current))?;
    }
    let folder_file = std::fs::File::open(folder).map_err(io(folder))?;
    folder_file.sync_all().map_err(io(folder))?;
    Ok(next.len())
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> HostKeyError + use<> {
    let path: PathBuf = path.to_owned();
    move |error| HostKeyError::Io(path, error)
}

#[cfg(test)]
mod tests {
    use super::super::{load_or_make, public_keys};
    use super::*;

    #[test]
    fn a_next_key_is_made_once_published_and_then_used() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, kinds) = (dir.path(), Kinds { rsa: false, nist_curves: true });
        load_or_make(folder, kinds, &[]).unwrap();
        let first = public_keys(folder, kinds).unwrap();
        assert_eq!(promote(folder).unwrap(), 0);

        let next = make_next(folder, kinds).unwrap();
        assert_eq!(next.len(), 2);
        assert_eq!(make_next(folder, kinds).unwrap(), next);
        assert_eq!(public_keys(folder, kinds).unwrap(), first, "a next key is not used yet");

        assert_eq!(promote(folder).unwrap(), 2);
        let mut now = public_keys(folder, kinds).unwrap();
        now.sort();
        let mut wanted = next;
        wanted.sort();
        assert_eq!(now, wanted);
        assert!(next_keys(folder, kinds).unwrap().is_empty());
        let mut retired = retired_keys(folder).unwrap();
        retired.sort();
        let mut wanted = first;
        wanted.sort();
        assert_eq!(retired, wanted);
        // A kind that is new to clients is not made while they are told of its next key.
        let all = Kinds { rsa: true, nist_curves: true };
        let announced = make_next(folder, all).unwrap();
        assert_eq!(announced.len(), 3);
        let shown =
            |keys: Vec<russh::keys::PrivateKey>| keys.iter().map(|key| key.public_key().clone()).collect::<Vec<_>>();
        let mut shown_now = shown(load_or_make(folder, all, &[]).unwrap());
        shown_now.sort();
        assert_eq!(shown_now, now);
        assert_eq!(promote(folder).unwrap(), 3);
        let mut shown_now = shown(load_or_make(folder, all, &[]).unwrap());
        shown_now.sort();
        now = announced;
        now.sort();
        assert_eq!(shown_now, now);
        now.retain(|key| !key.algorithm().is_rsa());
        // Again: the retired ones make room for those that retire now.
        make_next(folder, kinds).unwrap();
        assert_eq!(promote(folder).unwrap(), 2);
        let mut retired = retired_keys(folder).unwrap();
        retired.sort();
        assert_eq!(retired, now);
    }
}
