//! ECDSA keys of the curve P-256 as ssh-keygen writes them: the secret is a number without leading zero bytes (`mpint`, RFC
//! 4251 section 5), and the library reads one of its full width only (of other curves, any). One key of 256 is shorter.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The file format's name, as its `PROTOCOL.key` says.
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// What a secret of P-256 takes, in bytes.
const WIDTH: usize = 32;
/// What the private half is a multiple of when it is not encrypted, in bytes.
const BLOCK: u8 = 8;

/// The key of a file with its secret in full width. `None` when it is another kind of file, or nothing is to be done.
pub(super) fn widened(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = text.trim().strip_prefix("-----BEGIN OPENSSH PRIVATE KEY-----")?;
    let body = body.strip_suffix("-----END OPENSSH PRIVATE KEY-----")?;
    let mut packed = Zeroizing::new(String::with_capacity(body.len()));
    packed.extend(body.split_ascii_whitespace());
    let bytes = Zeroizing::new(STANDARD.decode(packed.as_bytes()).ok()?);
    let private = private_of(&bytes)?;
    let wide = wide(private)?;
    let before = bytes.len().checked_sub(4 + private.len())?;
    let mut whole = Zeroizing::new(Vec::with_capacity(bytes.len() + 2 * usize::from(BLOCK)));
    whole.extend_from_slice(bytes.get(..before)?);
    put(&mut whole, &wide)?;
    Some(whole)
}

/// The private half of a file with one key that is not encrypted; it is the last in the file.
fn private_of(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    for plain in [&b"none"[..], b"none", b""] {
        if string(&mut rest)? != plain {
            return None;
        }
    }
    rest = rest.strip_prefix(&1u32.to_be_bytes())?;
    string(&mut rest)?;
    let private = string(&mut rest)?;
    rest.is_empty().then_some(private)
}

fn wide(private: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut rest = private.get(8..)?;
    let (kind, curve, point, secret, comment) =
        (string(&mut rest)?, string(&mut rest)?, string(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
    if (kind, curve) != (b"ecdsa-sha2-nistp256", b"nistp256") {
        return None;
    }
    let lacks = WIDTH.checked_sub(secret.len()).filter(|lacks| *lacks > 0)?;
    let mut full = Zeroizing::new(vec![0; lacks]);
    // Of this size from the beginning: what grows leaves its earlier copies behind.
    full.reserve_exact(secret.len());
    full.extend_from_slice(secret);
    let mut wide = Zeroizing::new(Vec::with_capacity(private.len() + lacks + usize::from(BLOCK)));
    wide.extend_from_slice(private.get(..8)?);
    for field in [kind, curve, point, &full, comment] {
        put(&mut wide, field)?;
    }
    for pad in 1..BLOCK {
        if wide.len().is_multiple_of(usize::from(BLOCK)) {
            break;
        }
        wide.push(pad);
    }
    Some(wide)
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (text, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = behind;
    Some(text)
}

fn put(into: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    into.extend_from_slice(&u32::try_from(text.len()).ok()?.to_be_bytes());
    into.extend_from_slice(text);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use russh::keys::PrivateKey;

    fn keygen(kind: &[&str], folder: &std::path::Path) -> String {
        let file = folder.join("key");
        let mut keygen = std::process::Command::new("ssh-keygen");
        let status = keygen.args(["-q", "-N", "", "-C", "a comment", "-t"]).args(kind).arg("-f").arg(&file).status();
        assert!(status.unwrap().success());
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        text
    }

    /// As ssh-keygen makes them, until there was a short one.
    #[test]
    fn a_short_secret_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut tries = 0;
        let (text, wide) = loop {
            let text = keygen(&["ecdsa", "-b", "256"], dir.path());
            if let Some(wide) = widened(&text) {
                break (text, wide);
            }
            tries += 1;
            assert!(tries < 6000, "no short secret among {tries}");
        };
        assert!(PrivateKey::from_openssh(&text).is_err(), "the library reads it by now: this file can go");
        let key = PrivateKey::from_bytes(&wide).unwrap();
        assert_eq!(key.comment().as_bytes(), b"a comment");
        // Its two halves belong together.
        let signed = key.sign("test", russh::keys::HashAlg::Sha512, b"text").unwrap();
        key.public_key().verify("test", b"text", &signed).unwrap();
    }

    #[test]
    fn others_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for kind in [&["ed25519"][..], &["ecdsa", "-b", "384"]] {
            assert_eq!(widened(&keygen(kind, dir.path())), None);
        }
        for other in ["", "x", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----"] {
            assert_eq!(widened(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), magic: bool) {
            let bytes = if magic { [MAGIC, &bytes].concat() } else { bytes };
            let text = STANDARD.encode(bytes);
            drop(widened(&format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----")));
        }
    }
}
