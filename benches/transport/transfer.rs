//! A transfer to the real ssh, and what was seen of it.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::Fault;
use super::servers::Server;

/// A clone that takes longer is measured by what came until then.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What one transfer was.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) bytes: u64,
    /// Until the first byte, and from there to the last one.
    pub(crate) first: Duration,
    pub(crate) rest: Duration,
    /// Whether it came to its end in time.
    pub(crate) whole: bool,
}

/// Reads all of it, or for as long as is allowed.
pub(crate) fn watch(from: &mut impl std::io::Read, start: Instant) -> Result<Seen, Fault> {
    let mut buffer = vec![0; 256 << 10];
    let (mut bytes, mut first, mut last) = (0, None, start);
    while start.elapsed() < LIMIT {
        let read = from.read(&mut buffer).map_err(|e| format!("what came: {e}"))?;
        if read == 0 {
            let first = first.ok_or("nothing came")?;
            return Ok(Seen { bytes, first: first - start, rest: last - first, whole: true });
        }
        last = Instant::now();
        first.get_or_insert(last);
        bytes += read as u64;
    }
    let first = first.ok_or("nothing came in time")?;
    Ok(Seen { bytes, first: first - start, rest: last - first, whole: false })
}

/// Ends with what it was started for.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The real ssh, with a request for the whole repository on its input. So many bytes have to come.
pub(crate) fn by_ssh(server: &Server, repo: &str, wish: &[u8], cipher: &str, least: u64) -> Result<Seen, Fault> {
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-T"]);
    for option in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        &format!("Ciphers={cipher}"),
        "KexAlgorithms=curve25519-sha256",
        "SetEnv=GIT_PROTOCOL=version=2",
    ] {
        command.args(["-o", option]);
    }
    command.arg("-i").arg(&server.key).args(["-l", &server.door.user, "-p", &server.door.address.port().to_string()]);
    command.arg(server.door.address.ip().to_string()).arg(format!("git-upload-pack '{}'", server.path(repo)));
    let start = Instant::now();
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| format!("ssh: {e}"))?;
    let mut child = Ended(child);
    let mut to = child.0.stdin.take().expect("piped");
    to.write_all(wish).and_then(|()| to.write_all(b"0000")).map_err(|e| format!("ssh: {e}"))?;
    let seen = watch(child.0.stdout.as_mut().expect("piped"), start)?;
    if seen.whole {
        let status = child.0.wait().map_err(|e| format!("ssh: {e}"))?;
        if !status.success() || seen.bytes < least {
            return Err(format!("{}: {status}, {} bytes of {least}", server.name, seen.bytes));
        }
    }
    Ok(seen)
}
