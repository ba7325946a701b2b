//! Repositories that unpack to far more than they weigh: bounded by the cell, without harm to anybody else.

use std::io::Write as _;
use std::process::Stdio;

use crate::harness::{Gateway, plain_git, run};

/// What one object unpacks to, in bytes; it weighs a thousandth of that.
const HUGE: usize = 128 << 20;

/// Stores a commit with a message of [`HUGE`] bytes, ending in `end`, and returns its name.
fn huge_commit(bare: &std::path::Path, end: &str) -> String {
    let tree = run(plain_git(bare).args(["rev-parse", "main^{tree}"])).ok();
    let mut git = plain_git(bare);
    git.args(["hash-object", "-t", "commit", "-w", "--stdin"]);
    let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = git.stdin.take().unwrap();
    write!(stdin, "tree {}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\n", tree.trim()).unwrap();
    let line = [b'x'; 1 << 20];
    for _ in 0..HUGE / line.len() {
        stdin.write_all(&line).unwrap();
    }
    stdin.write_all(end.as_bytes()).unwrap();
    drop(stdin);
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_unpacks_hugely_is_stopped_at_the_memory_limit() {
    let gateway = Gateway::start_with(|config| config.replace("memory_mib = 4096", "memory_mib = 96"));
    gateway.repo("acme/good");
    let bare = gateway.repo("acme/bomb");
    let key = gateway.key("ci", &["acme/*"]);
    gateway.git(&key, &["clone", "-q", "--mirror", &gateway.url("acme/bomb"), "before"]).ok();
    for end in ["one", "two"] {
        let huge = huge_commit(&bare, end);
        run(plain_git(&bare).args(["update-ref", &format!("refs/heads/{end}"), &huge])).ok();
    }
    // As loose objects, and then as a delta of one to the other.
    for packed in [false, true] {
        if packed {
            run(plain_git(&bare).args(["-c", "pack.window=2", "repack", "-adfq"])).ok();
        }
        let name = format!("after{packed}");
        let said = gateway.git(&key, &["clone", "-q", "--mirror", &gateway.url("acme/bomb"), &name]).failed();
        assert!(!said.contains(gateway.path("").to_str().unwrap()), "{said}");
        // Nobody else notices.
        gateway.git(&key, &["clone", "-q", &gateway.url("acme/good"), &format!("good{packed}")]).ok();
    }
    crate::harness::wait_until("git's complaint in the log", || gateway.log().to_lowercase().contains("out of memory"));
}
