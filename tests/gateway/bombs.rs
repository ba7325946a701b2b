//! Repositories that unpack to far more than they weigh: bounded by the cell, without harm to anybody else.

use std::io::{BufWriter, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Gateway, plain_git, run};
use crate::tree::gits;

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
        let (name, before) = (format!("after{packed}"), gateway.log().len());
        let said = gateway.git(&key, &["clone", "-q", "--mirror", &gateway.url("acme/bomb"), &name]).failed();
        assert!(!said.contains(gateway.path("").to_str().unwrap()), "{said}");
        let complains = || gateway.log().split_off(before).to_lowercase().contains("out of memory");
        crate::harness::wait_until("git's complaint in the log", complains);
        // Nobody else notices.
        gateway.git(&key, &["clone", "-q", &gateway.url("acme/good"), &format!("good{packed}")]).ok();
    }
}

/// Two huge commits, and a second of processor time: comparing and packing them takes longer.
#[test]
fn what_computes_too_long_is_stopped_at_the_cpu_limit() {
    let gateway = Gateway::start_with(|config| config.replace("cpu_seconds = 3600", "cpu_seconds = 1"));
    gateway.repo("acme/good");
    let bare = gateway.repo("acme/bomb");
    let key = gateway.key("ci", &["acme/*"]);
    for end in ["one", "two"] {
        let huge = huge_commit(&bare, end);
        run(plain_git(&bare).args(["update-ref", &format!("refs/heads/{end}"), &huge])).ok();
    }
    let said = gateway.git(&key, &["clone", "-q", "--mirror", &gateway.url("acme/bomb"), "copy"]).failed();
    assert!(!said.contains(gateway.path("").to_str().unwrap()), "{said}");
    // It was the limit that ended it, and nothing else: how long that takes is a matter of who else computes here.
    crate::harness::wait_until("git's end in the log", || gateway.log().contains("pack-objects died of signal 9"));
    assert!(!gateway.log().to_lowercase().contains("out of memory"), "{}", gateway.log());
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/good"), "good"]).ok();
}

/// A number of `/proc/…/status`, in KiB; `None` when the process is gone.
fn status(pid: u32, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok())
}

/// What came of a listing of many refs.
struct Listing {
    bytes: u64,
    took: Duration,
    /// The most memory of its own that git had, and the daemon more than before, in KiB.
    git: u64,
    daemon: u64,
}

/// Asks for all refs in one version of the protocol, over real ssh, and throws them away as they come.
fn list(gateway: &Gateway, key: &std::path::Path, version: &str) -> Listing {
    let line = gateway.ssh_line(key);
    let mut ssh = Command::new("ssh");
    ssh.args(line.split(' ').skip(1)).args(["-p", &gateway.port().to_string()]);
    ssh.args(["-o", &format!("SetEnv=GIT_PROTOCOL=version={version}"), "git@localhost", "git-upload-pack 'acme/refs'"]);
    let (start, before) = (Instant::now(), status(gateway.pid(), "VmRSS").unwrap());
    let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = ssh.stdin.take().unwrap();
    // In version 2 the refs are asked for; a flush is the farewell in each.
    let ask: &[u8] = if version == "2" { b"0014command=ls-refs\n00010009peel\n00000000" } else { b"0000" };
    stdin.write_all(ask).unwrap();
    let mut stdout = ssh.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
        while let Ok(some @ 1..) = stdout.read(&mut buffer) {
            bytes += u64::try_from(some).unwrap();
        }
        bytes
    });
    let (mut git, mut daemon) = (0, 0);
    while ssh.try_wait().unwrap().is_none() {
        git = git.max(gits(gateway).pop().and_then(|pid| status(pid, "RssAnon")).unwrap_or(0));
        daemon = daemon.max(status(gateway.pid(), "VmRSS").unwrap());
        std::thread::sleep(Duration::from_millis(20));
        assert!(start.elapsed() < Duration::from_secs(500), "it does not end");
    }
    let bytes = reader.join().unwrap();
    Listing { bytes, took: start.elapsed(), git, daemon: daemon.saturating_sub(before) }
}

/// `just refs-test` does this with ten million. They are served as they are read, and nobody holds them.
#[test]
fn many_refs_are_served_in_little_memory() {
    let count: usize = std::env::var("PULLGATE_REFS").map_or(200_000, |count| count.parse().unwrap());
    let gateway = Gateway::start_with(|config| config.replace("memory_mib = 4096", "memory_mib = 256"));
    let bare = gateway.repo("acme/refs");
    let key = gateway.key("ci", &["acme/*"]);
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let mut file = BufWriter::new(std::fs::File::create(bare.join("packed-refs")).unwrap());
    writeln!(file, "# pack-refs with: peeled fully-peeled sorted ").unwrap();
    for n in 0..count {
        writeln!(file, "{} refs/tags/t{n:08}", tip.trim()).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
    for version in ["2", "0"] {
        let listing = list(&gateway, &key, version);
        let Listing { bytes, took, git, daemon } = listing;
        eprintln!(
            "{count} refs, version {version}: {bytes} bytes in {took:.1?}; git {git} KiB, daemon {daemon} KiB more"
        );
        // Each is its name, a blank, a path, a line end and four digits.
        let all = u64::try_from(count * (4 + 40 + 1 + "refs/tags/t00000000".len() + 1)).unwrap();
        assert!(bytes > all && daemon < 100 << 10, "version {version}");
        // It was looked at, and did not come near its limit.
        assert!(git > 0 && git < 200 << 10, "version {version}: {git} KiB");
    }
}
