//! Signals while another process takes the daemon's place: whoever serves in the end has heard of them.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Gateway, PATIENCE, program, run, wait_until};
use crate::upgrades::{ended, large_repo, slow_line};

/// A gateway that was started from a file of its own, which a test can replace; with a large repository and a key for it.
fn site() -> (Gateway, PathBuf) {
    let mut gateway = Gateway::start();
    large_repo(&gateway, "acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    gateway.stop();
    resume(&mut gateway);
    (gateway, key)
}

fn resume(gateway: &mut Gateway) {
    let own = gateway.path("pullgate");
    std::fs::remove_file(&own).ok();
    // Not a copy: a child that another test starts meanwhile would have it open for writing, and nobody could start it.
    std::os::unix::fs::symlink(program(), &own).unwrap();
    gateway.resume_as(Command::new(&own));
}

/// The next upgrade starts this instead of the program. `$PID` is where it writes who it is.
fn next_is(gateway: &Gateway, script: &str) -> PathBuf {
    let (own, pid) = (gateway.path("pullgate"), gateway.path("next.pid"));
    std::fs::remove_file(&own).unwrap();
    std::fs::remove_file(&pid).ok();
    std::fs::write(&own, format!("#!/bin/sh\nPID={}\n{script}\n", pid.display())).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
    pid
}

fn pid(file: &Path) -> Pid {
    let read = || std::fs::read_to_string(file).ok()?.strip_suffix('\n')?.parse().ok().and_then(Pid::from_raw);
    wait_until("the next process is there", || read().is_some());
    read().unwrap()
}

/// `pullgate upgrade`, while something else happens.
fn upgrading(gateway: &Gateway) -> Child {
    let (out, err) = (File::create(gateway.path("up.out")).unwrap(), File::create(gateway.path("up.err")).unwrap());
    let mut command = Command::new(program());
    command.arg("upgrade").env("PULLGATE_CONFIG", gateway.config()).stdin(Stdio::null());
    command.stdout(out).stderr(err).spawn().unwrap()
}

/// A clone that takes some seconds, and has begun.
fn slow_clone(gateway: &Gateway, key: &Path, copy: &str) -> Child {
    let (slow, real) = (slow_line(gateway), format!("[localhost]:{}", gateway.port()));
    let mut git = gateway.git_command(key);
    git.env("GIT_SSH_COMMAND", format!("{} -o HostKeyAlias={real}", gateway.ssh_line(key)));
    git.args(["clone", "-q", &format!("ssh://git@localhost:{slow}/acme/app"), copy]);
    let clone = git.stdin(Stdio::null()).spawn().unwrap();
    let packs = gateway.path(copy).join(".git/objects/pack");
    wait_until("the clone has begun", || std::fs::read_dir(&packs).is_ok_and(|mut files| files.next().is_some()));
    clone
}

fn edit(gateway: &Gateway) {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let changed = text.replace("rsa_host_key = false", "rsa_host_key = true");
    assert_ne!(text, changed);
    std::fs::write(gateway.config(), changed).unwrap();
}

/// Whether the config that [`edit`] makes is in force.
fn in_force(gateway: &Gateway) -> bool {
    let port = gateway.port().to_string();
    let keys = run(Command::new("ssh-keyscan").args(["-T", "10", "-p", &port, "-t", "ed25519,rsa", "127.0.0.1"])).out;
    assert!(keys.contains("ssh-ed25519"), "{keys}");
    keys.contains("ssh-rsa")
}

/// Takes the packet with the sockets, and the one that says that the registry is closed.
const HEARS: &str = "dd bs=20000 count=1 of=/dev/null 2>/dev/null";
const PREPARED: &str = "echo '{\"word\":\"prepared\"}' >&0";

#[test]
fn a_daemon_that_is_told_to_stop_ends_who_was_to_take_over() {
    let says = "echo $$ >$PID";
    let waits = "exec sleep 600";
    for (what, script) in [
        ("one that says nothing", format!("{says}\n{waits}")),
        ("one that opens the registry", format!("{HEARS}\n{PREPARED}\n{HEARS}\n{says}\n{waits}")),
        ("one that does not listen", format!("trap '' TERM\n{HEARS}\n{PREPARED}\n{HEARS}\n{says}\n{waits}")),
    ] {
        let (mut gateway, key) = site();
        let mut clone = slow_clone(&gateway, &key, "copy");
        let file = next_is(&gateway, &script);
        let mut upgrade = upgrading(&gateway);
        let next = pid(&file);
        let start = Instant::now();
        assert_eq!(gateway.stop(), Some(0), "{what}");
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: {:?}", start.elapsed());
        assert!(ended(next), "{what}: it was left behind");
        assert!(clone.wait().unwrap().success(), "{what}: what was running came to its end");
        assert!(!upgrade.wait().unwrap().success());
        let said = std::fs::read_to_string(gateway.path("up.err")).unwrap();
        assert!(said.contains("the daemon is stopping"), "{what}: {said}");
        assert!(gateway.log().contains("pullgate::daemon::serving: stopped"), "{what}");
        resume(&mut gateway);
        gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
        gateway.pullgate(["account", "add", "later"]).ok();
        gateway.pullgate(["audit", "verify"]).ok();
    }
}

/// Before and after there is no way back.
#[test]
fn whenever_it_is_told_to_stop_nobody_serves_afterwards() {
    let (mut gateway, key) = site();
    for (round, delay) in (0..480).step_by(60).enumerate() {
        if round > 0 {
            resume(&mut gateway);
        }
        let copy = format!("copy{round}");
        let mut clone = slow_clone(&gateway, &key, &copy);
        let mut upgrade = upgrading(&gateway);
        std::thread::sleep(Duration::from_millis(delay));
        let handed = gateway.log().rsplit("serving SSH").next().unwrap().contains("another process serves");
        kill_process(gateway.process(), Signal::TERM).unwrap();
        upgrade.wait().unwrap();
        let said = std::fs::read_to_string(gateway.path("up.out")).unwrap();
        let next = said.split(' ').nth(1).and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
        gateway.successors_are(next.as_slice());
        gateway.first_ended();
        assert!(clone.wait().unwrap().success(), "{delay} ms: {}", gateway.log());
        if handed {
            // It was said to one that was ending in any case.
            break;
        }
        wait_until("who took over ends", || next.is_none_or(ended));
        assert!(TcpStream::connect(("127.0.0.1", gateway.port())).is_err(), "{delay} ms: somebody serves");
        assert!(!gateway.path("state/control.sock").exists(), "{delay} ms");
    }
}

#[test]
fn whoever_serves_has_read_the_config_after_the_hangup() {
    let (mut gateway, key) = site();
    let old = gateway.process();
    // Somebody who is logged in and asks for nothing, for whom the old one waits for some seconds.
    let path = format!("ControlPath={}", gateway.path("s").display());
    gateway.ssh(&key, &["-o", "ControlMaster=yes", "-o", &path, "-fN"], &[]).ok();
    let mut clone = slow_clone(&gateway, &key, "copy");
    let read = gateway.log().matches("git serves").count();
    let mut upgrade = upgrading(&gateway);
    wait_until("the new one has read its config", || gateway.log().matches("git serves").count() > read);
    edit(&gateway);
    kill_process(old, Signal::HUP).unwrap();
    assert!(upgrade.wait().unwrap().success(), "{}", gateway.log());
    let said = std::fs::read_to_string(gateway.path("up.out")).unwrap();
    gateway.successors_are(said.split(' ').nth(1).and_then(|id| Pid::from_raw(id.parse().unwrap())).as_slice());
    assert!(
        gateway.log().contains("have not asked for anything yet"),
        "the signal came in the middle: {}",
        gateway.log()
    );
    wait_until("the config is in force", || in_force(&gateway));
    assert!(clone.wait().unwrap().success());
    gateway.first_ended();
}

#[test]
fn a_hangup_for_a_daemon_that_was_replaced_is_passed_on() {
    let (mut gateway, key) = site();
    let old = gateway.process();
    let mut clone = slow_clone(&gateway, &key, "copy");
    gateway.upgrade();
    assert!(!in_force(&gateway));
    edit(&gateway);
    let (file, moved) = (gateway.path("state/audit.jsonl"), gateway.path("state/audit.jsonl.1"));
    std::fs::rename(&file, &moved).unwrap();
    kill_process(old, Signal::HUP).unwrap();
    wait_until("the config is in force", || in_force(&gateway));
    assert!(clone.wait().unwrap().success());
    gateway.first_ended();
    // The old one has hung up its audit file, too.
    let fetched = |text: &str| text.contains(r#""event":"fetch""#);
    assert!(fetched(&gateway.audit()) && !fetched(&std::fs::read_to_string(&moved).unwrap()));
}

/// When it is the old one that serves on, it has heard of it as well, and stands before the registry that it opened again.
#[test]
fn a_hangup_during_an_upgrade_that_fails_is_heard() {
    let (gateway, key) = site();
    let file = next_is(&gateway, &format!("{HEARS}\n{PREPARED}\n{HEARS}\necho $$ >$PID\nsleep 2\nexit 2"));
    let mut upgrade = upgrading(&gateway);
    pid(&file);
    edit(&gateway);
    kill_process(gateway.process(), Signal::HUP).unwrap();
    assert!(!upgrade.wait().unwrap().success());
    let start = Instant::now();
    while !in_force(&gateway) {
        assert!(start.elapsed() < PATIENCE, "{}", gateway.log());
    }
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
}
