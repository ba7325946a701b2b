//! What the machine itself takes for a cipher: what no server can do without.

use std::time::Instant;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// A cipher of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cipher {
    Aes128,
    Aes256,
    ChaCha20,
}

/// Seconds to encrypt a gigabyte in packets of 32 KiB, as SSH has them.
pub(crate) fn seconds_a_gigabyte(cipher: Cipher) -> f64 {
    const PACKET: usize = 32 * 1024;
    const PACKETS: usize = 8192;
    let algorithm = match cipher {
        Cipher::Aes128 => &AES_128_GCM,
        Cipher::Aes256 => &AES_256_GCM,
        Cipher::ChaCha20 => &CHACHA20_POLY1305,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &vec![7; algorithm.key_len()]).expect("a key"));
    let mut packet = vec![1; PACKET];
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        for n in 0..PACKETS {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&(n as u64).to_be_bytes());
            let tag = key
                .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut packet)
                .expect("sealed");
            assert_eq!(std::hint::black_box(tag).as_ref().len(), 16);
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    best * f64::from(1 << 30) / (PACKET * PACKETS) as f64
}
