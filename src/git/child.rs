//! The one place that starts git. Every flag and every variable has its reason beside it; no byte of a client is
//! among them.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::packing::Packing;
use super::profile::of_fetch;
use super::{Git, Program};
use crate::gate::Fetch;
use crate::model::protocol::GitProtocol;
use crate::model::text::printable_bytes;
use crate::sandbox::{Job, Pool, Profile, Running};

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
const CONFIG: [(&str, &str); 6] = [
    // Partial clones.
    ("uploadpack.allowFilter", "true"),
    // Over protocols 0 and 1 what protocol 2 allows anyway, and no more: a pinned commit (shallow submodules need it), and a
    // ref that has moved since the client was told of it, which may be long ago for one that waited for its slot.
    ("uploadpack.allowAnySHA1InWant", "true"),
    // A crash of git 2.47 with reuse over several packs was seen. "true" means one pack, and every git knows it; "single" is
    // the same since 2.44, and an error before.
    ("pack.allowPackReuse", "true"),
    // The owner of a repository is the store's to judge, and it has. Gits before 2.46 compare this with the name that they
    // were given, which is the working directory; newer ones with its whole path, which is added below.
    ("safe.directory", "."),
    // Signs of life while a pack is made, each five seconds: without them a clock of ours or of a client runs out.
    ("uploadpack.keepAlive", "5"),
    // A child lives for one fetch and leaves nothing behind.
    ("gc.auto", "0"),
];

/// Starts git for one permitted fetch, in a cell unless those are switched off. Dropping it ends it and everything it
/// started: pack-objects goes with it.
pub(super) fn start(git: &Git, fetch: &Fetch) -> std::io::Result<Running> {
    // --strict: exactly this directory, no search for `.git` inside or `.git` behind the name.
    Ready::new(git, fetch, fetch.protocol(), &["upload-pack", "--strict", "."])?.start()
}

/// A git that can be started, now or when there is a slot for it.
#[derive(Debug)]
pub(super) struct Ready {
    /// With the directory that was checked, open until it is started: whatever its path leads to by then.
    job: Job,
    /// Beside what is the same for every child.
    config: Vec<(&'static str, OsString)>,
    pool: Pool,
    packing: Packing,
}

impl Ready {
    /// Makes git ready for one request of protocol version 2, of one permitted fetch, whatever version its client speaks; its
    /// answer may serve others too, who were permitted the same repository.
    pub(super) fn for_request(git: &Git, fetch: &Fetch) -> std::io::Result<Self> {
        // --stateless-rpc: version 2 has no other state than its requests, and this ends after one
        // (`protocol_v2_serve_loop` in git's serve.c).
        Self::new(git, fetch, GitProtocol::V2, &["upload-pack", "--strict", "--stateless-rpc", "."])
    }

    fn new(git: &Git, fetch: &Fetch, protocol: GitProtocol, arguments: &[&str]) -> std::io::Result<Self> {
        let directory = fetch.repo().dir().try_clone_to_owned()?;
        let profile = of_fetch(&git.profile, fetch.repo());
        let mut environment: Vec<(OsString, OsString)> = Vec::new();
        let mut set = |name: &str, value: OsString| environment.push((name.into(), value));
        for (name, value) in ENVIRONMENT {
            set(name, value.into());
        }
        // Where its own commands are, whatever script led to it.
        set("GIT_EXEC_PATH", git.program.exec_path().into());
        set("GIT_PROTOCOL", protocol.env_value().into());
        // By its path as well: git's own complaint would print it.
        let config = vec![("safe.directory", fetch.repo().path().into())];
        let args = arguments.iter().map(OsString::from).collect();
        let job = Job { profile, program: git.program.path().to_owned(), args, environment, directory };
        Ok(Self { job, config, pool: git.pool.clone(), packing: git.packing })
    }

    /// Starts it to answer this question.
    pub(super) fn start_on(mut self, question: &[u8]) -> std::io::Result<Running> {
        let packing = self.packing.config(question);
        self.config.extend(packing.into_iter().map(|(key, value)| (key, value.into())));
        self.start()
    }

    /// Starts it.
    pub(super) fn start(mut self) -> std::io::Result<Running> {
        let config: Vec<(&str, OsString)> =
            CONFIG.into_iter().map(|(key, value)| (key, value.into())).chain(self.config).collect();
        let mut set = |name: &str, value: OsString| self.job.environment.push((name.into(), value));
        set("GIT_CONFIG_COUNT", config.len().to_string().into());
        for (n, (key, value)) in config.into_iter().enumerate() {
            set(&format!("GIT_CONFIG_KEY_{n}"), key.into());
            set(&format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        let running = self.pool.start(&self.job)?;
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&running.stdout, PIPE) {
            // The system's limit for unprivileged users; the default size works too.
            tracing::debug!(%error, "the pipe from git keeps its size");
        }
        Ok(running)
    }
}

/// A git that only says its version, in a cell as for a fetch, but of no repository.
pub(super) fn introduction(program: &Program, profile: &Profile) -> std::io::Result<Job> {
    Ok(Job {
        profile: profile.clone(),
        program: program.path().to_owned(),
        args: vec!["--version".into()],
        environment: ENVIRONMENT.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        directory: std::fs::File::open("/")?.into(),
    })
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
