//! The one place that starts a process. Every flag and every variable has its reason beside it; no byte of a client is
//! among them.

use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

use super::program::Program;
use crate::gate::Fetch;

/// What the pipe from git holds, in bytes. Four times the default saves a tenth of the CPU of a large transfer; more than
/// that saves nothing.
const PIPE: usize = 256 * 1024;

/// Variables that are the same for every child. The environment is otherwise empty: git takes orders from variables
/// (`GIT_CONFIG_PARAMETERS` runs programs, `GIT_TRACE` writes files), and the gateway's own are none of its business.
const ENVIRONMENT: [(&str, &str); 8] = [
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
const CONFIG: [(&str, &str); 4] = [
    // Partial clones.
    ("uploadpack.allowFilter", "true"),
    // A pinned commit over protocol 0, as protocol 2 allows anyway (shallow submodules need it).
    ("uploadpack.allowAnySHA1InWant", "true"),
    // A crash of git 2.47 with reuse over several packs was seen.
    ("pack.allowPackReuse", "single"),
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
    /// Starts git for one permitted fetch.
    pub(super) fn start(program: &Program, fetch: &Fetch) -> std::io::Result<Self> {
        // --strict: exactly this directory, no search for `.git` inside or `.git` behind the name.
        Self::spawn(program, fetch, &["upload-pack", "--strict", "."])
    }

    /// Starts git for one request of protocol version 2, of one permitted fetch; its answer may serve others too, who were
    /// permitted the same repository.
    pub(super) fn start_request(program: &Program, fetch: &Fetch) -> std::io::Result<Self> {
        // --stateless-rpc: version 2 has no other state than its requests, and this ends after one
        // (`protocol_v2_serve_loop` in git's serve.c).
        Self::spawn(program, fetch, &["upload-pack", "--strict", "--stateless-rpc", "."])
    }

    fn spawn(program: &Program, fetch: &Fetch, arguments: &[&str]) -> std::io::Result<Self> {
        let mut command = Command::new(program.path());
        command
            .args(arguments)
            // The directory that was checked, by its open descriptor: whatever its path leads to by now.
            .current_dir(format!("/proc/self/fd/{}", fetch.repo().dir().as_raw_fd()))
            .env_clear()
            .envs(ENVIRONMENT)
            .env("GIT_PROTOCOL", fetch.protocol().env_value())
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
        // The owner of a repository is the store's to judge, and it has; git's own complaint would print the path.
        command.env(format!("GIT_CONFIG_KEY_{}", CONFIG.len()), "safe.directory");
        command.env(format!("GIT_CONFIG_VALUE_{}", CONFIG.len()), fetch.repo().path());
        let mut process = command.spawn()?;
        let lost = || std::io::Error::other("a pipe of the child is missing");
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let stdout = stdout.ok_or_else(lost)?;
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE) {
            // The system's limit for unprivileged users; the default size works too.
            tracing::debug!(%error, "the pipe from git keeps its size");
        }
        let group = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { process, group, stdin, stdout, stderr: stderr.ok_or_else(lost)? })
    }

    /// Waits for the end; `None` for an end by signal.
    pub(super) async fn wait(&mut self) -> std::io::Result<Option<i32>> {
        let status = self.process.wait().await?;
        // The leader is gone, and with it the certainty that the group's number is still ours.
        self.group = None;
        Ok(status.code())
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

/// What `git --version` prints.
pub(super) fn version(path: &Path) -> Result<String, String> {
    let output = std::process::Command::new(path)
        .arg("--version")
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}
