//! SSH beyond the fetch: greetings, and everything that is not there.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Gateway, plain_git, run, wait_until};

/// A client that begins to fetch, and says nothing of itself.
fn begin(gateway: &Gateway, key: &Path) -> Child {
    Command::new("ssh")
        .args(gateway.ssh_line(key).split(' ').skip(1))
        .args(["-p", &gateway.port().to_string(), "git@localhost", "git-upload-pack 'acme/app'"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_shell_is_a_greeting() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &["acme/app", "acme/lib"]);
    let said = gateway.ssh(&key, &["-T"], &[]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
    let print = run(Command::new("ssh-keygen").arg("-lf").arg(gateway.path("ci.pub"))).ok();
    let print = print.split(' ').nth(1).unwrap();
    for part in [&format!("Hello acme/ci ({print})."), "does not expire", "  acme/app\n  acme/lib\n", "no shell here"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
}

#[test]
fn a_terminal_is_refused_without_closing() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &[]);
    // With a terminal of its own, as a person has one, ssh asks for a pty before the shell.
    let line = format!("{} -p {} git@localhost", gateway.ssh_line(&key), gateway.port());
    let said = run(Command::new("script").args(["-qec", &line, "/dev/null"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("PTY allocation request failed") && said.out.contains("Hello acme/ci"), "{said:?}");
}

#[test]
fn subsystems_and_forwarding_are_refused() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let sftp = gateway.ssh(&key, &["-s"], &["sftp"]);
    assert!(sftp.err.contains("subsystem request failed"), "{sftp:?}");
    let remote = gateway.ssh(&key, &["-o", "ExitOnForwardFailure=yes", "-R", "0:localhost:1", "-N"], &[]);
    assert!(remote.code == Some(255) && remote.err.contains("remote port forwarding failed"), "{remote:?}");
    let through = gateway.ssh(&key, &["-W", "localhost:22"], &[]);
    assert!(through.code == Some(255) && through.err.contains("administratively prohibited"), "{through:?}");
    // Agent and X11 forwarding are refused, and the command is answered all the same.
    let both = gateway.ssh(&key, &["-A", "-X"], &["git-lfs-transfer x"]);
    assert_eq!(both.code, Some(127), "{both:?}");
}

/// A client that sends variables gets an answer for each, and only the protocol's version is taken.
#[test]
fn of_the_environment_only_the_protocol_is_taken() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    // One directive: ssh takes only the first SetEnv.
    let pwned = gateway.path("PWNED").display().to_string();
    let evil = format!(
        "GIT_TRACE={pwned} GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=uploadpack.packObjectsHook GIT_CONFIG_VALUE_0={pwned} \
         LD_PRELOAD=/nonexistent GIT_NAMESPACE=x GIT_OBJECT_DIRECTORY=/nonexistent"
    );
    let line = format!("{} -o \"SetEnv={evil}\"", gateway.ssh_line(&key));
    let refs =
        run(plain_git(&gateway.path("")).env("GIT_SSH_COMMAND", &line).args(["ls-remote", &gateway.url("acme/app")]))
            .ok();
    assert_eq!(refs, gateway.refs(&bare));
    assert!(!gateway.path("PWNED").exists() && !bare.join("PWNED").exists());
    // A version that is none is refused, and version 0 spoken.
    let mut ssh = Command::new("ssh");
    let line = gateway.ssh_line(&key);
    ssh.args(line.split(' ').skip(1)).args(["-p", &gateway.port().to_string(), "-o", "SetEnv=GIT_PROTOCOL=version=9"]);
    let said = run(ssh.args(["git@localhost", "git-upload-pack 'acme/app'"]));
    assert!(!said.out.contains("version 2") && said.out.contains("refs/heads/main"), "{said:?}");
}

#[test]
fn several_fetches_share_one_connection() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    gateway.repo("acme/lib");
    let key = gateway.key("ci", &["acme/app", "acme/lib"]);
    let socket = tempfile::tempdir().unwrap();
    let master = Master::open(&gateway, &key, &socket.path().join("s"));
    let mut clones: Vec<_> = ["acme/app", "acme/lib", "acme/app"]
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let mut git = plain_git(&gateway.path(""));
            git.env("GIT_SSH_COMMAND", &master.line);
            git.args(["clone", "-q", &gateway.url(name), &format!("shared{n}")]).spawn().unwrap()
        })
        .collect();
    for clone in &mut clones {
        assert!(clone.wait().unwrap().success());
    }
    assert_eq!(gateway.audit().matches("\"event\":\"login\"").count(), 1);
}

/// Clients that keep a connection open fetch over it all day.
#[test]
fn one_connection_serves_fetch_after_fetch() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let socket = tempfile::tempdir().unwrap();
    let master = Master::open(&gateway, &key, &socket.path().join("s"));
    for _ in 0..25 {
        let mut git = plain_git(&gateway.path(""));
        run(git.env("GIT_SSH_COMMAND", &master.line).args(["ls-remote", &gateway.url("acme/app")])).ok();
    }
    assert_eq!(gateway.audit().matches("\"event\":\"login\"").count(), 1, "it was one connection");
}

#[test]
fn a_renamed_key_is_called_by_its_new_name_at_once() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let socket = tempfile::tempdir().unwrap();
    let master = Master::open(&gateway, &key, &socket.path().join("s"));
    gateway.pullgate(["key", "rename", "acme/ci", "robot"]).ok();
    let mut git = plain_git(&gateway.path(""));
    let said = run(git.env("GIT_SSH_COMMAND", &master.line).args(["ls-remote", &gateway.url("acme/none")])).failed();
    assert!(said.contains("not granted to key acme/robot ("), "{said}");
}

#[test]
fn a_removed_key_is_refused_on_its_open_connection() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let socket = tempfile::tempdir().unwrap();
    let master = Master::open(&gateway, &key, &socket.path().join("s"));
    let poll = || {
        let mut git = plain_git(&gateway.path(""));
        run(git.env("GIT_SSH_COMMAND", &master.line).args(["ls-remote", &gateway.url("acme/app")]))
    };
    poll().ok();
    gateway.pullgate(["key", "ungrant", "acme/ci", "acme/app"]).ok();
    assert!(poll().failed().contains("[not-granted]"));
    gateway.pullgate(["key", "grant", "acme/ci", "acme/app"]).ok();
    poll().ok();
    gateway.pullgate(["key", "remove", "acme/ci"]).ok();
    let said = poll().failed();
    assert!(said.contains("is no longer registered") && said.contains("[removed]"), "{said}");
    assert_eq!(gateway.audit().matches("\"event\":\"login\"").count(), 1, "it was one connection");
}

#[test]
fn a_client_that_leaves_takes_its_git_along() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let mut ssh = begin(&gateway, &key);
    // Who asks for nothing has no git.
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let want = format!("want {} side-band-64k\n", tip.trim());
    // It has something already: what only clones would be answered from what is kept for all.
    let have = "0032have 0123456789012345678901234567890123456789\n";
    let asked = format!("{:04x}{want}0000{have}", want.len() + 4);
    std::io::Write::write_all(ssh.stdin.as_mut().unwrap(), asked.as_bytes()).unwrap();
    wait_until("git serves", || served_children(&gateway) > 0);
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    wait_until("git is gone", || served_children(&gateway) == 0);
    wait_until("the record", || gateway.audit().contains("\"outcome\":\"client-gone\""));
}

/// Not the client left: it was still there when the gateway had no more patience.
#[test]
fn what_the_end_of_a_drain_cuts_is_told_so_and_recorded_as_cut() {
    let mut gateway = Gateway::start_with(|config| config.replace("drain_seconds = 30", "drain_seconds = 1"));
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let mut ssh = begin(&gateway, &key);
    // A client that takes its time over what it wants.
    let slow = format!("sh -c '{{ sleep 6; cat; }} | {} \"$@\"' sh", gateway.ssh_line(&key));
    let mut git = gateway.git_command(&key);
    git.env("GIT_SSH_COMMAND", slow).args(["clone", "-q", &gateway.url("acme/app")]).arg(gateway.path("clone"));
    let git = git.stderr(Stdio::piped()).spawn().unwrap();
    wait_until("both are allowed", || gateway.audit().matches("\"event\":\"allowed\"").count() == 2);
    assert_eq!(gateway.stop(), Some(0));
    assert_eq!(gateway.audit().matches("\"outcome\":\"cut\"").count(), 2, "{}", gateway.audit());
    assert!(!gateway.audit().contains("client-gone"), "{}", gateway.audit());
    assert_eq!(ssh.wait().unwrap().code(), Some(128));
    let said = String::from_utf8(git.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("acme/app: this gateway is being stopped") && said.contains("[unavailable] (id "), "{said}");
}

/// Whoever types a command then is told the truth, and not to look for another config file.
#[test]
fn a_command_while_the_daemon_stops_is_told_so() {
    let mut gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let mut ssh = begin(&gateway, &key);
    wait_until("it is allowed", || gateway.audit().contains("\"event\":\"allowed\""));
    rustix::process::kill_process(gateway.process(), rustix::process::Signal::TERM).unwrap();
    wait_until("the socket is closed", || !gateway.path("state/control.sock").exists());
    for verb in [["account", "list"], ["key", "list"]] {
        let said = gateway.pullgate(verb);
        assert_eq!(said.code, Some(6), "{said:?}");
        let expected = format!("the daemon (process {}) is stopping", gateway.pid());
        assert!(said.err.contains(&expected) && !said.err.contains("another config"), "{said:?}");
    }
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    assert_eq!(gateway.stop(), Some(0));
    gateway.pullgate(["account", "list"]).ok();
    assert!(!gateway.path("state/control.sock.stopping").exists());
}

/// How many processes have their working folder in the gateway's store: the children that serve.
fn served_children(gateway: &Gateway) -> usize {
    let store = gateway.path("repositories").canonicalize().unwrap();
    let links =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path().join("cwd")).ok());
    links.filter(|cwd| cwd.starts_with(&store)).count()
}

/// An OpenSSH master connection, and the ssh command line that uses it.
struct Master {
    line: String,
    close: Vec<String>,
}

impl Master {
    fn open(gateway: &Gateway, key: &std::path::Path, socket: &std::path::Path) -> Self {
        let line = format!("{} -o ControlPath={}", gateway.ssh_line(key), socket.display());
        let words: Vec<String> = line.split(' ').skip(1).map(str::to_owned).collect();
        let port = gateway.port().to_string();
        let start = ["-p", &port, "-M", "-N", "-f", "git@localhost"];
        run(Command::new("ssh").args(&words).args(start)).ok();
        let close = words.into_iter().chain(["-p", &port, "-O", "exit", "git@localhost"].map(str::to_owned)).collect();
        Self { line, close }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        run(Command::new("ssh").args(&self.close));
    }
}
