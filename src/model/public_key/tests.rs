use proptest::prelude::*;
use russh::keys::ssh_key::{Mpint, public::RsaPublicKey};

use super::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

fn rsa(modulus_bytes: usize, exponent: &[u8]) -> String {
    let mut n = vec![0xc5; modulus_bytes];
    n[modulus_bytes - 1] = 0x01;
    let key = RsaPublicKey::new(Mpint::from_positive_bytes(exponent), Mpint::from_positive_bytes(&n));
    let blob = ssh_key::PublicKey::from(KeyData::Rsa(key.unwrap())).to_bytes().unwrap();
    format!("ssh-rsa {}", STANDARD.encode(blob))
}

#[test]
fn a_pub_file_is_read_with_its_comment_and_line_ends() {
    let key = PublicKey::parse(ED25519).unwrap();
    for form in [
        format!("{ED25519} ci@host with blanks\n"),
        format!("\r\n# a comment\r\n{ED25519} x\r\n\r\n"),
        format!("\u{feff}{ED25519}"),
    ] {
        assert_eq!(PublicKey::parse(&form).unwrap(), key);
    }
    assert_eq!(key.algorithm(), KeyAlgorithm::Ed25519);
    assert_eq!(key.to_string(), ED25519);
}

#[test]
fn everything_else_is_recognised() {
    for (text, why) in [
        ("", KeyError::Empty),
        ("# only a comment\n", KeyError::Empty),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc", KeyError::Private),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc", KeyError::Private),
        ("-----BEGIN PUBLIC KEY-----\nabc", KeyError::OtherFormat),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nabc", KeyError::OtherFormat),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", KeyError::Putty),
        (&format!("{ED25519}\n{ED25519}\n"), KeyError::Several),
        (&format!("command=\"x y\",no-pty {ED25519}"), KeyError::Options),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", KeyError::Certificate),
        ("ssh-dss AAAA", KeyError::Dsa),
        ("ssh-ed25519", KeyError::Damaged),
        ("ssh-ed25519 AAAA", KeyError::Damaged),
        ("hello world", KeyError::NoKey),
        ("[store]\nroot = \"x\"\n", KeyError::NoKey),
        ("\u{0}\u{1}\u{fffd}", KeyError::NoKey),
        (&ED25519.replace("ILM", "\nILM"), KeyError::Wrapped),
        (&format!("{ED25519}\nand more"), KeyError::Wrapped),
        (&format!("# mine\nnote\n{ED25519}"), KeyError::Wrapped),
        (&ED25519[..ED25519.len() - 4], KeyError::Damaged),
    ] {
        assert_eq!(PublicKey::parse(text), Err(why), "{text}");
    }
    assert_eq!(PublicKey::parse(&"x".repeat(MAX_TEXT + 1)), Err(KeyError::TooLarge));
}

#[test]
fn weak_rsa_keys_are_refused() {
    let good = PublicKey::parse(&rsa(384, &[1, 0, 1])).unwrap();
    assert_eq!((good.bits(), good.advice()), (3072, None));
    assert!(PublicKey::parse(&rsa(256, &[1, 0, 1])).unwrap().advice().is_some());
    assert!(PublicKey::parse(&rsa(256, &[1, 0, 0, 0, 1])).is_ok());
    assert_eq!(PublicKey::parse(&rsa(128, &[1, 0, 1])), Err(KeyError::RsaSize(1024)));
    for weak in [&[1u8][..], &[3], &[0xff, 0xff], &[1, 0, 0], &[1, 0, 2], &[1, 0, 0, 0, 0]] {
        assert_eq!(PublicKey::parse(&rsa(256, weak)), Err(KeyError::RsaExponent), "{weak:?}");
    }
}

#[test]
fn a_type_that_is_not_the_blobs_is_refused() {
    let renamed = ED25519.replacen("ssh-ed25519", "ssh-rsa", 1);
    assert_eq!(PublicKey::parse(&renamed), Err(KeyError::Damaged));
}

/// Security rule 4: no other spelling of a registered key is that key.
#[test]
fn a_flipped_case_is_never_the_same_key() {
    let key = PublicKey::parse(ED25519).unwrap();
    for (at, c) in ED25519.char_indices().skip("ssh-ed25519 ".len()) {
        let flipped = if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        if flipped == c {
            continue;
        }
        let mut text = ED25519.to_owned();
        text.replace_range(at..=at, &flipped.to_string());
        assert_ne!(PublicKey::parse(&text).map(|k| k.fingerprint()), Ok(key.fingerprint()), "{at}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}|(ssh-(rsa|ed25519|dss) [A-Za-z0-9+/=]{0,120}\r?\n?){0,3}") {
        if let Ok(key) = PublicKey::parse(&text) {
            prop_assert_eq!(PublicKey::parse(&key.to_string()).unwrap(), key);
        }
    }
}
