//! A gateway in a folder of its own, on a port of its own, and the people around it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// How long anything may take before a test gives up: these machines are slow at times, and a hang must not be for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running gateway with account `acme` and the repositories that a test asked for.
pub(crate) struct Gateway {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
    /// Who took its place since, the last one at the end.
    successors: Vec<Pid>,
    port: u16,
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The standard output of a command that has to succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.out, self.err);
        self.out
    }

    /// The standard error of a command that has to fail.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_ne!(self.code, Some(0), "stdout: {}\nstderr: {}", self.out, self.err);
        self.err
    }
}

/// Runs a command to its end, or panics when it takes longer than [`PATIENCE`].
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Said {
    // Files and not pipes: nothing waits for a reader, and no reader for a grandchild.
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.reopen().unwrap())
        .stderr(err.reopen().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} hangs; stderr: {}", std::fs::read_to_string(err.path()).unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text =
        |file: &tempfile::NamedTempFile| String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned();
    Said { code: status.code(), out: text(&out), err: text(&err) }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port on which nobody listens yet, below those that the kernel gives to clients (from 32,768 on): some tests have thousands of
/// them, and a daemon comes to its port a moment after it was looked for.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const PORTS: u16 = 22_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Two programs at a time begin elsewhere.
    let begin = u16::try_from(std::process::id() % u32::from(PORTS / 100)).unwrap() * 100;
    loop {
        let port = FIRST + begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

impl Gateway {
    /// A running gateway with an empty store.
    pub(crate) fn start() -> Self {
        Self::start_with(|config| config)
    }

    /// The same, with its config file edited before the start.
    pub(crate) fn start_with(edit: impl FnOnce(String) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut gateway = Self { dir, daemon: None, successors: Vec::new(), port };
        gateway.pullgate(["init", gateway.dir.path().to_str().unwrap()]).ok();
        let config = std::fs::read_to_string(gateway.config()).unwrap();
        let config = config.replace("127.0.0.1:2222", &format!("127.0.0.1:{port}"));
        let config = edit(config.replace("localhost:2222", &format!("localhost:{port}")));
        std::fs::write(gateway.config(), config).unwrap();
        gateway.resume();
        gateway.pullgate(["account", "add", "acme"]).ok();
        let known_hosts = gateway.pullgate(["known-hosts"]).ok();
        std::fs::write(gateway.path("known_hosts"), known_hosts).unwrap();
        gateway
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the running daemon.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// The same, to send signals to.
    pub(crate) fn process(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap()
    }

    /// Starts the daemon again after [`Gateway::kill`] or [`Gateway::stop`].
    pub(crate) fn resume(&mut self) {
        self.resume_as(Command::new(program()));
    }

    /// The same by another command, which runs the program with the arguments that it is given.
    pub(crate) fn resume_as(&mut self, mut command: Command) {
        assert!(self.daemon.is_none());
        let mut daemon = command
            .args(["serve", "--config"])
            .arg(self.config())
            // What the daemon's own environment holds must not matter to its children.
            .env("GIT_CONFIG_PARAMETERS", "'uploadpack.packObjectsHook'='touch PWNED; false'")
            .env("GIT_TRACE", self.path("PWNED"))
            .env("GIT_DIR", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = daemon.stderr.take().unwrap();
        let (sender, ready) = std::sync::mpsc::channel();
        let copy = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                std::io::Write::write_all(&mut &copy, format!("{line}\n").as_bytes()).unwrap();
                if line.contains("serving") {
                    sender.send(()).ok();
                }
            }
        });
        if ready.recv_timeout(PATIENCE).is_err() {
            daemon.kill().ok();
            panic!("the daemon does not serve: {}", self.log());
        }
        self.daemon = Some(daemon);
    }

    /// Has a new process take the daemon's place. The old one comes to its end by itself.
    #[track_caller]
    pub(crate) fn upgrade(&mut self) -> Pid {
        let said = self.pullgate(["upgrade"]).ok();
        let next = said.split(' ').nth(1).and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
        let next = next.unwrap_or_else(|| panic!("who serves now? {said}"));
        self.successors.push(next);
        next
    }

    /// Those that were made to take its place by other means than [`Gateway::upgrade`].
    pub(crate) fn successors_are(&mut self, successors: &[Pid]) {
        self.successors.extend(successors);
    }

    /// Waits for the end of the daemon that was started first.
    pub(crate) fn first_ended(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        wait_until("the daemon that was replaced ends", || daemon.try_wait().unwrap().is_some());
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        rustix::process::kill_process(self.process(), rustix::process::Signal::TERM).unwrap();
        let mut daemon = self.daemon.take().unwrap();
        let mut status = None;
        wait_until("the daemon ends", || {
            status = daemon.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The audit records, as text.
    pub(crate) fn audit(&self) -> String {
        let read = || std::fs::read_to_string(self.path("state/audit.jsonl")).unwrap();
        // A thread of the gateway writes them, a moment after it was decided.
        let mut text = read();
        loop {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let again = std::mem::replace(&mut text, read());
            if again == text {
                return text;
            }
        }
    }

    /// Runs `pullgate … --config`.
    #[track_caller]
    pub(crate) fn pullgate<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Said {
        run(Command::new(program()).args(args).env("PULLGATE_CONFIG", self.config()))
    }

    /// A new private key in the gateway's folder, not registered yet.
    pub(crate) fn keygen(&self, name: &str, kind: &[&str]) -> PathBuf {
        let path = self.path(name);
        run(Command::new("ssh-keygen").args(["-q", "-N", "", "-C", "a comment", "-f"]).arg(&path).arg("-t").args(kind))
            .ok();
        path
    }

    /// A new ed25519 key, registered under its name with these grants.
    #[track_caller]
    pub(crate) fn key(&self, label: &str, grants: &[&str]) -> PathBuf {
        let path = self.keygen(label, &["ed25519"]);
        let public = path.with_extension("pub");
        let mut args = vec!["key", "add", "acme", label, "--key", public.to_str().unwrap()];
        args.extend(grants.iter().flat_map(|grant| ["--grant", *grant]));
        self.pullgate(args).ok();
        path
    }

    /// The ssh command line of a careful client with this key.
    pub(crate) fn ssh_line(&self, key: &Path) -> String {
        format!(
            "ssh -F none -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=yes -o UserKnownHostsFile={} -i {}",
            self.path("known_hosts").display(),
            key.display()
        )
    }

    /// `ssh … ARGS` to the gateway.
    #[track_caller]
    pub(crate) fn ssh(&self, key: &Path, options: &[&str], command: &[&str]) -> Said {
        let line = self.ssh_line(key);
        let mut words = line.split(' ');
        let mut ssh = Command::new(words.next().unwrap());
        ssh.args(words).args(["-p", &self.port.to_string()]).args(options).arg("git@localhost").args(command);
        run(&mut ssh)
    }

    /// `git ARGS` with this key, in the gateway's folder.
    pub(crate) fn git_command(&self, key: &Path) -> Command {
        let mut git = plain_git(self.dir.path());
        git.env("GIT_SSH_COMMAND", self.ssh_line(key));
        git
    }

    #[track_caller]
    pub(crate) fn git(&self, key: &Path, args: &[&str]) -> Said {
        run(self.git_command(key).args(args))
    }

    pub(crate) fn url(&self, repo: &str) -> String {
        format!("ssh://git@localhost:{}/{repo}", self.port)
    }

    /// Makes a bare repository with a few commits, a branch and a tag.
    pub(crate) fn repo(&self, name: &str) -> PathBuf {
        self.repo_with(name, &[])
    }

    /// The same, with more arguments to `git init`.
    pub(crate) fn repo_with(&self, name: &str, init: &[&str]) -> PathBuf {
        let bare = self.path(&format!("repositories/{name}.git"));
        let bare_text = bare.to_str().unwrap();
        run(plain_git(self.dir.path()).args(["init", "-q", "--bare", "-b", "main"]).args(init).arg(&bare)).ok();
        for n in 1..=3 {
            self.commit(&bare, &format!("file{n}"), &format!("content {n} of {name}\n").repeat(n * 50));
        }
        run(plain_git(self.dir.path()).args(["-C", bare_text, "branch", "stable", "main~1"])).ok();
        run(plain_git(self.dir.path()).args(["-C", bare_text, "tag", "-m", "first", "v1", "main~2"])).ok();
        bare
    }

    /// A new commit on `main` of a bare repository, made in the store itself as a mirror's update would be.
    pub(crate) fn commit(&self, bare: &Path, file: &str, text: &str) {
        let work = tempfile::tempdir_in(self.dir.path()).unwrap();
        let git = |args: &[&str]| run(plain_git(work.path()).args(args)).ok();
        // Not a clone: gits before 2.41 take an empty repository for one with SHA-1, whatever it is.
        let format = git(&["-C", bare.to_str().unwrap(), "rev-parse", "--show-object-format"]);
        git(&["init", "-q", "-b", "main", &format!("--object-format={}", format.trim())]);
        git(&["remote", "add", "origin", bare.to_str().unwrap()]);
        if !self.refs(bare).is_empty() {
            git(&["pull", "-q", "origin", "main"]);
        }
        std::fs::write(work.path().join(file), text).unwrap();
        git(&["add", "."]);
        git(&["commit", "-q", "-m", &format!("Add {file}")]);
        git(&["push", "-q", "origin", "HEAD:main"]);
    }

    /// The refs of a repository on disk, as `ls-remote` prints them.
    pub(crate) fn refs(&self, bare: &Path) -> String {
        run(plain_git(self.dir.path()).args(["ls-remote"]).arg(bare)).ok()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for successor in &self.successors {
            rustix::process::kill_process(*successor, rustix::process::Signal::KILL).ok();
        }
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().ok();
            daemon.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log());
        }
    }
}

/// git without anybody's configuration.
pub(crate) fn plain_git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("HOME", dir)
        .env("GIT_TERMINAL_PROMPT", "0");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "Tester").env(format!("GIT_{who}_EMAIL"), "tester@localhost");
    }
    git
}

/// Whether this git can make such a repository: before 2.45 there is no reftable. Where every client has to be there, it has to.
#[track_caller]
pub(crate) fn can_init(init: &[&str]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let said = run(plain_git(dir.path()).args(["init", "-q", "--bare"]).args(init).arg("probe.git"));
    let required = std::env::var_os("PULLGATE_INTEROP").is_some_and(|value| value == "require");
    assert!(said.code == Some(0) || !required, "this git cannot make {init:?}: {}", said.err);
    if said.code != Some(0) {
        eprintln!("this git cannot make {init:?}: not tested");
    }
    said.code == Some(0)
}

pub(crate) fn program() -> &'static str {
    // A copy in a place where another user may execute it: `just cell-test`.
    static COPY: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    COPY.get_or_init(|| std::env::var("PULLGATE_TEST_PROGRAM").ok())
        .as_deref()
        .unwrap_or(env!("CARGO_BIN_EXE_pullgate"))
}

/// For tests that start their own process and look at what it leaves.
pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}
