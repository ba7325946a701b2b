//! What the documents promise: the quickstart, and every command of the README.

use std::net::TcpListener;
use std::process::Command;

use crate::harness::{free_port, plain_git, program, run};

#[test]
fn quickstart_clones_refuses_a_push_and_can_be_run_again() {
    hold_the_usual_port();
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("it's 100% here");
    for round in 1..=2 {
        let said = run(Command::new(program()).arg("quickstart").arg(&site).arg("--once").current_dir(dir.path()));
        let said = said.ok();
        assert!(said.contains("fatal: remote error: this gateway is read-only"), "{said}");
        assert!(said.contains("Keep notes"), "{said}");
        assert_eq!(said.contains("wrote the private key"), round == 1, "{said}");
        assert!(said.contains("It stops now.") && !said.contains("In another terminal"), "{said}");
        let log = run(plain_git(&site.join("first-clone")).args(["log", "--oneline"])).ok();
        assert_eq!(log.lines().count(), 3);
    }
    // An earlier run that was cut off before the key was registered.
    let config = site.join("config.toml");
    run(Command::new(program()).args(["key", "remove", "acme/quickstart", "--config"]).arg(&config)).ok();
    let said = run(Command::new(program()).arg("quickstart").arg(&site).arg("--once").current_dir(dir.path())).ok();
    assert!(said.contains("pullgate key add acme quickstart"), "{said}");
}

/// ssh would not read back the config that names it.
#[test]
fn quickstart_makes_nothing_in_a_folder_that_ssh_cannot_name() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a \"b\"", "a\\b", "${HOME}"] {
        let said = run(Command::new(program()).arg("quickstart").arg(dir.path().join(name)).arg("--once")).failed();
        assert!(said.contains("a character in its path that ssh does not take"), "{said}");
        assert!(said.contains("hint: name a folder without quotes"), "{said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn quickstart_leaves_other_folders_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("known_hosts"), "mine").unwrap();
    let said = run(Command::new(program()).arg("quickstart").arg(dir.path()).arg("--once")).failed();
    assert!(said.contains("was not made by quickstart"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(dir.path().join("known_hosts")).unwrap(), "mine");
}

/// Quickstart prefers port 2222, writes what it took into its config, and takes that again. Two tests that run at a time
/// would take it from each other between two runs: with this, each has a port of its own.
fn hold_the_usual_port() {
    static HELD: std::sync::OnceLock<Option<TcpListener>> = std::sync::OnceLock::new();
    // That somebody else holds it is as good.
    HELD.get_or_init(|| TcpListener::bind("127.0.0.1:2222").ok());
}

/// What quickstart prints to be pasted works as it stands, while it stays up, from another folder.
#[test]
fn what_quickstart_prints_can_be_pasted() {
    hold_the_usual_port();
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    let printed = tempfile::NamedTempFile::new().unwrap();
    let mut quickstart = EndsWithTheTest(
        Command::new(program())
            .arg("quickstart")
            .arg(&site)
            .stdin(std::process::Stdio::null())
            .stdout(printed.reopen().unwrap())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    let text = || std::fs::read_to_string(printed.path()).unwrap();
    crate::harness::wait_until("it stays up", || text().contains("stays up until Ctrl-C"));
    let text = text();
    let pasted: Vec<_> = text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")).collect();
    assert!(pasted.len() >= 5, "{text}");
    for line in pasted.iter().filter(|line| !line.contains("/NAME")) {
        let elsewhere = tempfile::tempdir().unwrap();
        let line = line.replace("/tmp/pullgate-sample-", &format!("{}/sample-", elsewhere.path().display()));
        run(Command::new("sh").args(["-c", &line]).current_dir(elsewhere.path())).ok();
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(quickstart.0.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    crate::harness::wait_until("Ctrl-C ends it", || quickstart.0.try_wait().unwrap().is_some());
}

/// A process that a failing test does not leave behind.
struct EndsWithTheTest(std::process::Child);

impl Drop for EndsWithTheTest {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The blocks that a README marks as shell.
fn shell_blocks(text: &str) -> Vec<String> {
    text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_of_the_readme_runs() {
    let readme = include_str!("../../README.md");
    let blocks = shell_blocks(readme);
    assert_eq!(blocks[0].trim(), "cargo run --release -- quickstart", "the other quickstart tests run this one");
    assert!(blocks.len() >= 6, "the README lost its commands");
    let dir = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| run(plain_git(dir.path()).args(args)).ok();
    git(&["init", "-q", "-b", "main", "made"]);
    git(&["-C", "made", "commit", "-q", "--allow-empty", "-m", "one"]);
    git(&["clone", "-q", "--bare", "made", "app.git"]);
    // Another test may hold port 2222; nothing else of the commands is changed.
    let port = free_port().to_string();
    let mut script = "set -eu\n".to_owned();
    for block in &blocks[1..] {
        script.push_str(&block.replace("2222", &port));
        if block.contains("pullgate init") {
            script.push_str(&format!("sed -i s/2222/{port}/ gateway/config.toml\n"));
        }
        if block.contains("pullgate serve") {
            script.push_str("daemon=$!\ntrap 'kill $daemon' EXIT\n");
            script.push_str("for n in $(seq 200); do [ -S gateway/state/control.sock ] && break; sleep 0.1; done\n");
        }
    }
    let path =
        format!("{}:{}", std::path::Path::new(program()).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let said = run(Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir.path())
        .env("PATH", path)
        .env("HOME", dir.path()));
    let out = said.ok();
    assert!(out.contains("acme/ci-agent-7") && out.contains("acme/app"), "{out}");
    assert!(dir.path().join("app/.git").exists());
}
