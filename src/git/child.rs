//! The one place that starts a process. Every flag and every variable has its reason beside it; no byte of a client is
//! among them.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

use super::Git;
use super::profile::of_fetch;
use crate::gate::Fetch;
use crate::model::protocol::GitProtocol;
use crate::model::text::printable_bytes;

/// What the pipe from git holds, in bytes. Four times the default saves a tenth of the CPU of a large transfer; more than
/// that saves nothing.
const PIPE: usize = 256 * 1024;

/// Variables that are the same for every child. The environment is otherwise empty: git takes orders from variables
/// (`GIT_CONFIG_PARAMETERS` runs programs, `GIT_TRACE` writes files), and the gateway's own are none of its business.
pub(super) const ENVIRONMENT: [(&str, &str); 8] = [
    // For git's own children, which it finds in its exec path first.
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    // No configuration but the repository's and ours.
    ("HOME", "/nonexistent"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    // A partial clone as a source must not call out for what it lacks.
    ("GIT_NO_LAZY_FETCH", "1"),
    // Nor may anything else reach another repository through a transport.
    ("GIT_ALLOW_PROTOCOL", "none"),
    // Fixed words in its log lines.
    ("LC_ALL", "C"),
    // Serving must not write: no index refresh, no opportunistic lock.
    ("GIT_OPTIONAL_LOCKS", "0"),
];

/// Configuration that is the same for every child. Given by variables it stands above the repository's own.
const CONFIG: [(&str, &str); 5] = [
    // Partial clones.
    ("uploadpack.allowFilter", "true"),
    // A pinned commit over protocol 0, as protocol 2 allows anyway (shallow submodules need it).
    ("uploadpack.allowAnySHA1InWant", "true"),
    // A crash of git 2.47 with reuse over several packs was seen. "true" means one pack, and every git knows it; "single" is
    // the same since 2.44, and an error before.
    ("pack.allowPackReuse", "true"),
    // The owner of a repository is the store's to judge, and it has. Gits before 2.46 compare this with the name that they
    // were given, which is the working directory; newer ones with its whole path, which is added below.
    ("safe.directory", "."),
    // A child lives for one fetch and leaves nothing behind.
    ("gc.auto", "0"),
];

/// A running `git upload-pack` with the three ends of its pipes. Dropping it ends it and everything it started.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Child {
    /// Starts git for one permitted fetch, in a cell unless those are switched off.
    pub(super) fn start(git: &Git, fetch: &Fetch) -> std::io::Result<Self> {
        // --strict: exactly this directory, no search for `.git` inside or `.git` behind the name.
        Ready::new(git, fetch, fetch.protocol(), &["upload-pack", "--strict", "."])?.start()
    }

    /// Makes git ready for one request of protocol version 2, of one permitted fetch, whatever version its client speaks; its
    /// answer may serve others too, who were permitted the same repository.
    pub(super) fn ready_for_request(git: &Git, fetch: &Fetch) -> std::io::Result<Ready> {
        // --stateless-rpc: version 2 has no other state than its requests, and this ends after one
        // (`protocol_v2_serve_loop` in git's serve.c).
        Ready::new(git, fetch, GitProtocol::V2, &["upload-pack", "--strict", "--stateless-rpc", "."])
    }

    /// Waits for the end; `None` for an end by signal.
    pub(super) async fn wait(&mut self) -> std::io::Result<Option<i32>> {
        let status = self.process.wait().await?;
        // The leader is gone, and with it the certainty that the group's number is still ours.
        self.group = None;
        Ok(status.code())
    }
}

/// A git that can be started, now or when there is a slot for it.
#[derive(Debug)]
pub(super) struct Ready {
    command: Command,
    /// The directory that was checked, open until it is started.
    _dir: OwnedFd,
}

impl Ready {
    fn new(git: &Git, fetch: &Fetch, protocol: GitProtocol, arguments: &[&str]) -> std::io::Result<Self> {
        let dir = fetch.repo().dir().try_clone_to_owned()?;
        let profile = of_fetch(&git.profile, fetch.repo());
        let launch = git.cells.launch(&profile, git.program.path(), arguments);
        // Nothing here may need code between fork and exec (`pre_exec`, `uid`): then the standard library could not use
        // posix_spawn, and every start would copy the page tables of the whole gateway.
        let mut command = Command::new(launch.program);
        command
            .args(launch.args)
            // The directory that was checked, by its open descriptor: whatever its path leads to by now.
            .current_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))
            .env_clear()
            .envs(ENVIRONMENT)
            // Where its own commands are, whatever script led to it.
            .env("GIT_EXEC_PATH", git.program.exec_path())
            .env("GIT_PROTOCOL", protocol.env_value())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that pack-objects goes with it.
            .process_group(0)
            .kill_on_drop(true);
        command.env("GIT_CONFIG_COUNT", (CONFIG.len() + 1).to_string());
        for (n, (key, value)) in CONFIG.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        // By its path as well: git's own complaint would print it.
        command.env(format!("GIT_CONFIG_KEY_{}", CONFIG.len()), "safe.directory");
        command.env(format!("GIT_CONFIG_VALUE_{}", CONFIG.len()), fetch.repo().path());
        Ok(Self { command, _dir: dir })
    }

    /// Starts it.
    pub(super) fn start(mut self) -> std::io::Result<Child> {
        let mut process = self.command.spawn()?;
        let lost = || std::io::Error::other("a pipe of the child is missing");
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let stdout = stdout.ok_or_else(lost)?;
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE) {
            // The system's limit for unprivileged users; the default size works too.
            tracing::debug!(%error, "the pipe from git keeps its size");
        }
        let group = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Child { process, group, stdin, stdout, stderr: stderr.ok_or_else(lost)? })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "the child's group is gone already");
        }
    }
}

/// How much of what it says instead is shown, in bytes.
const COMPLAINT: usize = 300;

/// What git answers to a question about itself.
pub(super) fn ask(path: &Path, question: &str) -> Result<String, String> {
    let output = std::process::Command::new(path)
        .arg(question)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let complaint = printable_bytes(&output.stderr, COMPLAINT);
        return Err(format!("it ended with {}: {complaint}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

/// Starts git, waits until it works, and looks: which program it is, and what it has mapped. It hashes nothing and waits
/// for more, so that it is there to be looked at.
pub(super) fn watch(path: &Path) -> Result<(PathBuf, String), String> {
    let mut child = std::process::Command::new(path)
        .args(["hash-object", "--stdin-paths"])
        .current_dir("/")
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let seen = look(&mut child);
    // Its input ends with this, and so does it.
    drop(child.stdin.take());
    let ended = child.wait();
    match (seen, ended) {
        (Ok(seen), Ok(status)) if status.success() => Ok(seen),
        (Ok(_), Ok(status)) => Err(format!("it ended with {status}")),
        (Err(error), _) | (Ok(_), Err(error)) => Err(error.to_string()),
    }
}

fn look(child: &mut std::process::Child) -> std::io::Result<(PathBuf, String)> {
    let lost = || std::io::Error::other("a pipe of the child is missing");
    child.stdin.as_mut().ok_or_else(lost)?.write_all(b"/dev/null\n")?;
    let mut answer = [0u8; 1];
    child.stdout.as_mut().ok_or_else(lost)?.read_exact(&mut answer)?;
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    Ok((std::fs::read_link(process.join("exe"))?, std::fs::read_to_string(process.join("maps"))?))
}
