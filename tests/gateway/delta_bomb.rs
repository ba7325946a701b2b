//! A delta bomb: a small object, and instructions that copy it again and again (gitformat-pack(5)).

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use sha1::{Digest as _, Sha1};

use crate::harness::{Gateway, plain_git, run, wait_until};

/// What the base weighs, about, and how often it is copied; in bytes.
const BASE: usize = 60_000;
const COPIES: usize = 2_200;

const COMMIT: u8 = 1;
const REF_DELTA: u8 = 7;

/// The head of an entry: three bits of type, and the size in groups of 4 and then 7 bits.
fn head(kind: u8, mut size: usize) -> Vec<u8> {
    let mut bytes = vec![kind << 4 | u8::try_from(size & 15).unwrap()];
    size >>= 4;
    while size > 0 {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(u8::try_from(size & 127).unwrap());
        size >>= 7;
    }
    bytes
}

/// A zlib stream (RFC 1950) of stored blocks, which need no compressor.
fn stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = data.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap();
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

/// A number as a delta has it: groups of 7 bits.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = value > 127;
        bytes.push(u8::try_from(value & 127).unwrap() | u8::from(more) << 7);
        value >>= 7;
        if !more {
            return bytes;
        }
    }
}

/// The instruction to copy so many bytes of the base from an offset on; both below 65,536.
fn copy(offset: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0b1011_0011];
    bytes.extend(u16::try_from(offset).unwrap().to_le_bytes());
    bytes.extend(u16::try_from(length).unwrap().to_le_bytes());
    bytes
}

fn name_of(commit: &[u8]) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(format!("commit {}\0", commit.len()));
    hash.update(commit);
    hash.finalize().into()
}

/// Puts the bomb into a repository as its branch `bomb`; says what the pack weighs, and what the object unpacks to, in bytes.
fn plant(bare: &Path) -> (usize, usize) {
    let tree = run(plain_git(bare).args(["rev-parse", "main^{tree}"])).ok();
    let start = format!("tree {}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\n", tree.trim()).into_bytes();
    let base = [start.clone(), vec![b'x'; BASE]].concat();
    let whole = [base.clone(), vec![b'x'; BASE * COPIES]].concat();
    let mut delta = [number(base.len()), number(whole.len()), copy(0, base.len())].concat();
    for _ in 0..COPIES {
        delta.extend(copy(start.len(), BASE));
    }
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
    pack.extend([head(COMMIT, base.len()), stored(&base)].concat());
    pack.extend([head(REF_DELTA, delta.len()), name_of(&base).to_vec(), stored(&delta)].concat());
    let sum: [u8; 20] = Sha1::digest(&pack).into();
    pack.extend(sum);
    let mut git = plain_git(bare);
    let mut git = git.args(["index-pack", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    git.stdin.take().unwrap().write_all(&pack).unwrap();
    assert!(git.wait().unwrap().success());
    let name: String = name_of(&whole).iter().map(|byte| format!("{byte:02x}")).collect();
    run(plain_git(bare).args(["update-ref", "refs/heads/bomb", &name])).ok();
    (pack.len(), whole.len())
}

#[test]
fn a_delta_bomb_is_stopped_at_the_memory_limit() {
    let gateway = Gateway::start_with(|config| config.replace("memory_mib = 4096", "memory_mib = 96"));
    gateway.repo("acme/good");
    let bare = gateway.repo("acme/bomb");
    let key = gateway.key("ci", &["acme/*"]);
    gateway.git(&key, &["clone", "-q", "--mirror", &gateway.url("acme/bomb"), "before"]).ok();
    let (weighs, unpacks) = plant(&bare);
    assert!(unpacks > 1000 * weighs, "{weighs} to {unpacks}");
    let said = gateway.git(&key, &["clone", "-q", "--mirror", &gateway.url("acme/bomb"), "after"]).failed();
    assert!(!said.contains(gateway.path("").to_str().unwrap()), "{said}");
    wait_until("git's complaint in the log", || gateway.log().to_lowercase().contains("out of memory"));
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/good"), "good"]).ok();
}
