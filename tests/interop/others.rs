//! What is no client of git: an auditor of the SSH server, and git-lfs.

use std::process::Command;

use crate::Check;
use crate::exercise::{Site, missing};
use crate::harness::{Gateway, plain_git, run};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "ssh-audit finds no failure".to_owned(), missing: missing(&["ssh-audit"]), run: Box::new(audit) },
        Check {
            name: "git-lfs is told clearly".to_owned(),
            missing: missing(&["git-lfs"]),
            run: Box::new(lfs_is_told),
        },
    ]
}

/// What is offered by default is faulted for one thing, the NIST curves, without which JGit with JSch cannot connect; where
/// they are switched off, for nothing. With an RSA host key too.
fn audit() {
    let report = |edit: fn(String) -> String| {
        let gateway = Gateway::start_with(edit);
        let args = ["--no-colors", "-p", &gateway.port().to_string(), "127.0.0.1"];
        let report = run(Command::new("ssh-audit").args(args)).out;
        // It talked to us and knew what it saw.
        assert!(report.contains("(key) ssh-ed25519") && report.contains("(kex) curve25519-sha256"), "{report}");
        report
    };
    let failures = |report: &str| -> Vec<String> {
        report.lines().filter(|line| line.contains("[fail]")).map(str::to_owned).collect()
    };
    let default = failures(&report(|config| config.replace("rsa_host_key = false", "rsa_host_key = true")));
    assert!(default.iter().all(|line| line.contains("-sha2-nistp")), "{default:#?}");
    let without = report(|config| config.replace("nist_curves = true", "nist_curves = false"));
    assert_eq!(failures(&without), [""; 0], "{without}");
}

/// git-lfs asks over SSH where the files are, twice: for its own protocol, and for an address. Both end with 127 and a sentence
/// that it shows as it is; where an address is configured, it does not ask.
fn lfs_is_told() {
    let site = Site::new(&["ed25519"]);
    let home = site.gateway.path("home");
    let ssh = format!(
        "ssh -F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={} -i {}",
        home.join(".ssh/known_hosts").display(),
        site.key.display()
    );
    let git = |dir: &std::path::Path, args: &[&str]| {
        let mut git = plain_git(dir);
        git.env("HOME", &home).env("GIT_SSH_COMMAND", &ssh).env("GIT_LFS_SKIP_SMUDGE", "1").env("GIT_TRACE", "1");
        run(git.args(args))
    };
    let work = site.gateway.path("work");
    let edit = site.gateway.path("edit");
    run(plain_git(&site.gateway.path("")).args(["clone", "-q", site.bare.to_str().unwrap(), "edit"])).ok();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12\n", "a1".repeat(32));
    std::fs::write(edit.join("big.bin"), pointer).unwrap();
    std::fs::write(edit.join(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n").unwrap();
    for args in [&["add", "."][..], &["commit", "-q", "-m", "Large"], &["push", "-q", "origin", "HEAD:main"]] {
        run(plain_git(&edit).args(args)).ok();
    }
    git(&site.gateway.path(""), &["clone", "-q", &site.url("acme/app.git"), "work"]).ok();
    let pulled = git(&work, &["lfs", "pull", "origin"]);
    assert_ne!(pulled.code, Some(0));
    let shown: Vec<&str> = pulled.err.lines().filter(|line| !line.contains(" trace ")).collect();
    assert!(shown.contains(&"batch request: git-lfs-authenticate: not found: exit status 127"), "{}", pulled.err);
    assert!(pulled.err.contains("attempting pure SSH protocol connection"), "{}", pulled.err);
    let logins = || site.gateway.audit().matches("\"event\":\"login\"").count();
    let before = logins();
    run(plain_git(&work).args(["config", "lfs.url", "http://127.0.0.1:9/acme/app"])).ok();
    let elsewhere = git(&work, &["lfs", "pull", "origin"]);
    assert!(elsewhere.err.contains("127.0.0.1:9") && logins() == before, "{}", elsewhere.err);
    // The checkout itself is good all the same, with pointers in place of the files.
    assert!(std::fs::read_to_string(work.join("big.bin")).unwrap().starts_with("version https://git-lfs"));
}
