//! The cell of a child of the running daemon: who the child is, and that no secret leaves the daemon beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Gateway, run, wait_until};
use crate::tree::{self, gits};

/// Whoever only looks has no git of its own, unless nothing is kept.
fn always_git(config: String) -> String {
    assert!(config.contains("enabled = true"), "{config}");
    config.replace("enabled = true", "enabled = false")
}

/// A fetch that waits for its client: git sits in its cell and reads.
struct Waiting {
    client: Child,
    git: PathBuf,
}

impl Waiting {
    fn start(gateway: &Gateway, key: &Path, repo: &str) -> Self {
        let line = gateway.ssh_line(key);
        let mut words = line.split(' ');
        let mut ssh = Command::new(words.next().unwrap());
        ssh.args(words).args([
            "-p",
            &gateway.port().to_string(),
            "git@localhost",
            &format!("git-upload-pack '{repo}'"),
        ]);
        let mut client = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // It has listed the refs: whatever it opened for that is closed again.
        let (mut said, mut piece) = (Vec::new(), [0; 4096]);
        while !said.ends_with(b"0000") {
            let length = client.stdout.as_mut().unwrap().read(&mut piece).unwrap();
            assert!(length > 0, "it ended: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&piece[..length]);
        }
        let mut found = None;
        wait_until("git waits for its client", || {
            found = gits(gateway).pop();
            found.is_some()
        });
        let git = PathBuf::from(format!("/proc/{}", found.unwrap()));
        // The git that was found, and not the worker's thread that starts it, nor one that the harness runs.
        assert_eq!(std::fs::read_link(git.join("exe")).unwrap().file_name(), Some("git".as_ref()));
        Self { client, git }
    }

    /// The lines of its status, by their names.
    fn status(&self) -> BTreeMap<String, String> {
        let status = std::fs::read_to_string(self.git.join("status")).unwrap();
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.client.kill().ok();
        self.client.wait().ok();
    }
}

/// Lets another user into the folder of the gateway, as a site does with its store.
fn open_to_others(gateway: &Gateway) {
    let folder = gateway.path("");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    run(Command::new("chmod").arg("-R").arg("a+rX").arg(gateway.path("repositories"))).ok();
}

#[test]
fn git_in_its_cell_is_confined_as_the_kernel_says() {
    let gateway = Gateway::start_with(always_git);
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let waiting = Waiting::start(&gateway, &key, "acme/app");
    let status = waiting.status();
    assert_eq!((status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()), ("1", "2"), "{status:?}");
    let limits = std::fs::read_to_string(waiting.git.join("limits")).unwrap();
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(limit("Max data size").contains(&(4096u64 << 20).to_string()), "{limits}");
    assert!(limit("Max cpu time").contains(" 3600 "), "{limits}");
    // Its environment has these names and no other, whatever the daemon was started with and its client asks for.
    let environment = std::fs::read(waiting.git.join("environ")).unwrap();
    let names: Vec<String> = environment
        .split(|byte| *byte == 0)
        .filter(|variable| !variable.is_empty())
        .map(|variable| String::from_utf8_lossy(variable).split('=').next().unwrap().to_owned())
        .filter(|name| !name.starts_with("GIT_CONFIG_KEY_") && !name.starts_with("GIT_CONFIG_VALUE_"))
        .collect();
    let wanted = [
        "PATH",
        "HOME",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_GLOBAL",
        "GIT_NO_LAZY_FETCH",
        "GIT_ALLOW_PROTOCOL",
        "LC_ALL",
        "GIT_OPTIONAL_LOCKS",
        "GIT_EXEC_PATH",
        "GIT_PROTOCOL",
        "GIT_CONFIG_COUNT",
    ];
    assert_eq!(BTreeSet::from_iter(names.iter().map(String::as_str)), BTreeSet::from(wanted), "{names:?}");
    // Nothing but its three pipes.
    assert_eq!(std::fs::read_dir(waiting.git.join("fd")).unwrap().count(), 3);
}

#[test]
fn a_daemon_that_is_root_serves_as_the_user_that_is_configured() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can become another user");
        return;
    }
    let gateway = Gateway::start_with(|config| always_git(config).replace("user = \"\"", "user = \"nobody\""));
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    open_to_others(&gateway);
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "work"]).ok();
    assert!(gateway.path("work/file3").is_file());
    let waiting = Waiting::start(&gateway, &key, "acme/app");
    let status = waiting.status();
    let (uid, gid) =
        (run(Command::new("id").args(["-u", "nobody"])).ok(), run(Command::new("id").args(["-g", "nobody"])).ok());
    let four = |id: &str| [id.trim(); 4].join(" ");
    // Real, effective, saved and of the file system; and no group beside.
    assert_eq!((&status["Uid"], &status["Gid"]), (&four(&uid), &four(&gid)));
    assert_eq!(status["Groups"], "", "{status:?}");
    for worker in tree::workers_of(&gateway) {
        for thread in std::fs::read_dir(format!("/proc/{worker}/task")).unwrap() {
            let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
            assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), four(&uid), "a thread of the worker");
        }
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status[set].trim_start_matches('0'), "", "{set}");
    }
    drop(waiting);
    // What that user may not read is not served, whatever root could read.
    let secret = gateway.repo("acme/private");
    run(Command::new("chmod").args(["-R", "go-rwx"]).arg(&secret)).ok();
    gateway.pullgate(["key", "grant", "acme/ci", "acme/private"]).ok();
    let said = gateway.git(&key, &["ls-remote", &gateway.url("acme/private")]).failed();
    assert!(said.contains("[repository]") && !said.contains(secret.to_str().unwrap()), "{said}");
}

/// A machine that has too many processes for a moment is busy; the repository is whole.
#[test]
fn a_git_that_there_is_no_process_for_is_told_as_a_shortage() {
    use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can have a user for git whose processes are few");
        return;
    }
    let gateway = Gateway::start_with(|config| always_git(config).replace("user = \"\"", "user = \"nobody\""));
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    open_to_others(&gateway);
    let daemon = Some(gateway.process());
    // The limit holds for users other than root: a worker has become one when it starts the thread that starts git.
    let usual = getrlimit(Resource::Nproc);
    prlimit(daemon, Resource::Nproc, Rlimit { current: Some(0), ..usual }).unwrap();
    for version in ["protocol.version=2", "protocol.version=0"] {
        let said = gateway.git(&key, &["-c", version, "ls-remote", &gateway.url("acme/app")]).failed();
        assert!(said.contains("[busy]") && !said.contains("[repository]"), "{version}: {said}");
    }
    prlimit(daemon, Resource::Nproc, usual).unwrap();
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
}

/// Who is shown an id by a client finds in the log what git complained of.
#[test]
fn the_log_says_of_which_fetch_git_complained() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    gateway.repo("acme/good");
    let key = gateway.key("ci", &["acme/*"]);
    std::fs::write(bare.join("config"), "[core\n").unwrap();
    let said = gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).failed();
    gateway.git(&key, &["ls-remote", &gateway.url("acme/good")]).ok();
    let id = said.split("(id ").nth(1).unwrap().split(')').next().unwrap().to_owned();
    let mut lines = Vec::new();
    wait_until("git's complaint is in the log", || {
        lines = gateway.log().lines().filter(|line| line.contains("git complained")).map(str::to_owned).collect();
        !lines.is_empty()
    });
    assert!(lines.iter().all(|line| line.contains(&id) && line.contains("acme/app")), "{id}: {lines:?}");
}
