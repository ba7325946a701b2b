//! What stands in git's place where only the servers' own way of a byte is to be measured: a program that does nothing but
//! write. It answers to what the gateway asks of a git before it takes it.

use std::io::{BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::waited_for;

/// What it writes, in bytes.
pub(crate) const BYTES: u64 = 256 << 20;
/// At once, as upload-pack does (`LARGE_PACKET_MAX`).
const PIECE: usize = 65_520;

/// Puts this program into a folder, under git's name.
pub(crate) fn put(dir: &Path) -> Result<PathBuf, String> {
    let folder = dir.join("writer");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::copy(std::env::current_exe()?, folder.join("git")))
        .map_err(|e| format!("the writer: {e}"))?;
    Ok(folder)
}

/// Whether this process was started under git's name. What it was asked is done then.
pub(crate) fn was_asked() -> bool {
    let mut words = std::env::args();
    let name = words.next().unwrap_or_default();
    if Path::new(&name).file_name() != Some("git".as_ref()) {
        return false;
    }
    match words.next().as_deref() {
        Some("--version") => println!("git version 2.47.3"),
        // It has no commands beside it.
        Some("--exec-path") => println!("/nonexistent"),
        // The gateway looks at it while it waits for more of these.
        Some("hash-object") => {
            std::io::stdin().lock().lines().for_each(|_| println!("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
        }
        Some("upload-pack") => write(),
        _ => std::process::exit(1),
    }
    true
}

fn write() {
    let mut piece = vec![b'x'; PIECE];
    // So that whoever listens sees that a pack has begun.
    piece[..13].copy_from_slice(b"fff0\x01PACK\0\0\0\x02");
    // Not through the buffer of Rust's standard output, which looks for ends of lines.
    let mut out = std::fs::File::from(std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned().expect("out"));
    let mut left = usize::try_from(BYTES).expect("a number of bytes");
    while left > 0 {
        let length = left.min(PIECE);
        if out.write_all(&piece[..length]).is_err() {
            std::process::exit(1);
        }
        left -= length;
    }
}

/// Milliseconds that it takes for itself, into a pipe that somebody reads.
pub(crate) fn alone(folder: &Path) -> Result<f64, String> {
    let before = waited_for();
    let mut child = Command::new(folder.join("git"))
        .arg("upload-pack")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let (mut from, mut buffer, mut bytes) = (child.stdout.take().expect("piped"), vec![0; 4 * PIECE], 0);
    loop {
        match from.read(&mut buffer).map_err(|e| e.to_string())? {
            0 => break,
            length => bytes += length as u64,
        }
    }
    match child.wait() {
        Ok(status) if status.success() && bytes == BYTES => Ok(waited_for() - before),
        other => Err(format!("the writer: {other:?}, {bytes} bytes")),
    }
}
