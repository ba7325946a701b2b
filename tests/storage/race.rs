//! Many processes register one key at once.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::names::key_text;

const PROCESSES: u32 = 16;

fn pullgate(config: &std::path::Path) -> std::process::Command {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("pullgate"));
    command.env("PULLGATE_CONFIG", config).stdin(Stdio::null());
    command
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sixteen commands at a time, each a process, all of which want the same key: half of them as a deploy key, half as an
/// account key where the command has that, each in an account of its own.
#[test]
fn of_sixteen_processes_one_gets_the_key() {
    let rounds = u32::try_from(crate::count("PULLGATE_ROUNDS", 5)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let run = |args: &[&str]| {
        let output = pullgate(&config).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["init", dir.path().to_str().unwrap()]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = std::fs::read_to_string(&config).unwrap().replace("127.0.0.1:2222", &format!("127.0.0.1:{port}"));
    std::fs::write(&config, text).unwrap();
    let mut daemon = Daemon(pullgate(&config).arg("serve").stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(daemon.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the daemon does not serve");
    }
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    // A second daemon with the same state says what is the matter, and the first one goes on.
    let second = pullgate(&config).arg("serve").output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(6), "{said}");
    assert!(
        said.contains("another process has the registry open")
            && said.contains("a daemon with the same state_dir runs already"),
        "{said}"
    );
    for n in 0..PROCESSES {
        run(&["account", "add", &format!("acc{n}")]);
    }
    let account_keys = pullgate(&config).args(["account-key", "--help"]).output().unwrap().status.success();
    let mut conflicts = 0;
    for round in 0..rounds {
        let file = dir.path().join("key.pub");
        writeln!(std::fs::File::create(&file).unwrap(), "{}", key_text(round)).unwrap();
        let children: Vec<Child> = (0..PROCESSES)
            .map(|n| {
                let noun = if account_keys && n % 2 == 1 { "account-key" } else { "key" };
                let (account, label) = (format!("acc{n}"), format!("r{round}"));
                let mut command = pullgate(&config);
                command.args([noun, "add", &account, &label, "--key"]).arg(&file);
                command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let start = Instant::now();
        let mut winners = 0;
        for child in children {
            let output = child.wait_with_output().unwrap();
            match output.status.code() {
                Some(0) => winners += 1,
                Some(4) => conflicts += 1,
                other => panic!("round {round}: {other:?} {}", String::from_utf8_lossy(&output.stderr)),
            }
        }
        assert!(start.elapsed() < Duration::from_secs(60));
        assert_eq!(winners, 1, "round {round}");
        let held = run(&["whereis", file.to_str().unwrap()]);
        assert_eq!(held.matches(&format!("/r{round}")).count().min(1), 1, "round {round}: {held}");
    }
    println!(
        "{rounds} rounds of {PROCESSES} processes ({}): one holder each round, {conflicts} conflicts",
        if account_keys { "deploy keys and account keys" } else { "deploy keys" }
    );
}
