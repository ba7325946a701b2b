//! A new process takes the daemon's place: no clone breaks, nobody is refused, and what cannot take over does not.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::harness::{Gateway, free_port, program, run, wait_until};

/// A slow line to the gateway: what it sends goes on a piece at a time. Its port.
pub(crate) fn slow_line(gateway: &Gateway) -> u16 {
    let (listener, to) = (TcpListener::bind("127.0.0.1:0").unwrap(), gateway.port());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            // What the kernel takes off the gateway's hands is not slow.
            rustix::net::sockopt::set_socket_recv_buffer_size(&server, PIECE).unwrap();
            let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass(from_client, to_server, Duration::ZERO));
            std::thread::spawn(move || pass(server, client, Duration::from_millis(20)));
        }
    });
    port
}

const PIECE: usize = 64 * 1024;

fn pass(mut from: TcpStream, mut to: TcpStream, pause: Duration) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        std::thread::sleep(pause);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    to.shutdown(std::net::Shutdown::Write).ok();
}

/// Says that it is over, also when a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Some megabytes that no compression makes smaller.
pub(crate) fn large_repo(gateway: &Gateway, name: &str) -> PathBuf {
    let bare = gateway.repo(name);
    let noise: String = std::iter::repeat_with(|| format!("{:016x}\n", fastrand())).take(400_000).collect();
    gateway.commit(&bare, "noise", &noise);
    bare
}

/// Numbers without a pattern that deflate would find.
fn fastrand() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

pub(crate) fn ended(process: Pid) -> bool {
    test_kill_process(process).is_err()
}

#[test]
fn fifty_clones_run_through_three_upgrades() {
    let watched = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut gateway = Gateway::start_with(|config| {
        let config = config.replace("listen = \"\"", &format!("listen = \"{watched}\""));
        config.replace("drain_seconds = 30", "drain_seconds = 120")
    });
    let bare = large_repo(&gateway, "acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let (slow, real) = (slow_line(&gateway), format!("[localhost]:{}", gateway.port()));
    let ssh = format!("{} -o HostKeyAlias={real}", gateway.ssh_line(&key));
    let url = format!("ssh://git@localhost:{slow}/acme/app");
    let clone = |number: usize| -> Child {
        let mut git = gateway.git_command(&key);
        git.env("GIT_SSH_COMMAND", &ssh).args(["clone", "-q", &url, &format!("copy{number}")]);
        git.stdin(Stdio::null()).stderr(File::create(gateway.path(&format!("err{number}"))).unwrap()).spawn().unwrap()
    };
    let over = AtomicBool::new(false);
    let config = gateway.config();
    let (mut clones, mut asked, mut olds) = (Vec::new(), 0, vec![gateway.process()]);
    let first = clone(0);
    clones.push(first);
    std::thread::scope(|scope| {
        // An operator asks all the time, and is never refused.
        let operator = scope.spawn(|| {
            let mut times = 0;
            while !over.load(Ordering::Relaxed) {
                run(Command::new(program()).args(["key", "list"]).env("PULLGATE_CONFIG", &config)).ok();
                times += 1;
            }
            times
        });
        let at_the_end = Over(&over);
        for upgrade in 1..=3 {
            for number in (upgrade - 1) * 16 + 1..=upgrade * 16 {
                clones.push(clone(number));
                std::thread::sleep(Duration::from_millis(20));
            }
            let said = run(Command::new(program()).arg("upgrade").env("PULLGATE_CONFIG", &config)).ok();
            let next = said.split(' ').nth(1).unwrap().parse().ok().and_then(Pid::from_raw).unwrap();
            olds.push(next);
            TcpStream::connect(watched).unwrap();
            let label = format!("after-{upgrade}");
            run(Command::new(program()).args(["account", "add", &label]).env("PULLGATE_CONFIG", &config)).ok();
        }
        clones.push(clone(49));
        for (number, clone) in clones.iter_mut().enumerate() {
            let status = clone.wait().unwrap();
            let err = std::fs::read_to_string(config.with_file_name(format!("err{number}"))).unwrap();
            assert!(status.success(), "clone {number}: {err}");
        }
        drop(at_the_end);
        asked = operator.join().unwrap();
    });
    gateway.successors_are(&olds[1..]);
    assert!(asked > 3, "the operator asked {asked} times");
    let want = run(Command::new("git").arg("-C").arg(&bare).args(["rev-parse", "main"])).ok();
    for number in 0..50 {
        let copy = gateway.path(&format!("copy{number}"));
        assert_eq!(run(Command::new("git").arg("-C").arg(&copy).args(["rev-parse", "HEAD"])).ok(), want);
        if number % 10 == 0 {
            run(Command::new("git").arg("-C").arg(&copy).args(["fsck", "--full"])).ok();
        }
    }
    // Each that was replaced came to its end, and left its records: all of them, and none twice.
    for old in olds.iter().skip(1).take(2) {
        wait_until("a daemon that was replaced ends", || ended(*old));
    }
    gateway.first_ended();
    let audit = gateway.audit();
    let fetched = audit.lines().filter(|line| line.contains(r#""event":"fetch""#));
    assert_eq!(fetched.filter(|line| line.contains(r#""outcome":"served""#)).count(), 50);
    let verified = gateway.pullgate(["audit", "verify"]).ok();
    assert!(verified.contains("5 changes"), "{verified}");
    for account in ["after-1", "after-2", "after-3"] {
        assert!(gateway.pullgate(["account", "list"]).ok().contains(account));
    }
    assert!(!gateway.log().contains("built again"), "{}", gateway.log());
    assert!(!gateway.log().contains("have not asked for anything yet"), "{}", gateway.log());
    // The last one stops as any daemon does.
    let last = *olds.last().unwrap();
    kill_process(last, Signal::TERM).unwrap();
    wait_until("the last daemon ends", || ended(last));
    assert!(!gateway.path("state/control.sock").exists());
}

#[test]
fn who_cannot_take_over_leaves_the_place_to_the_old_one() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let good = std::fs::read_to_string(gateway.config()).unwrap();
    let serves = |what: &str| {
        gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), what]).ok();
        gateway.pullgate(["account", "add", what]).ok();
        assert!(gateway.pullgate(["audit", "verify"]).code == Some(0));
    };
    let refused = |config: &str| {
        let said = gateway.pullgate(["upgrade"]);
        assert_eq!(said.code, Some(6), "{config}: {}", said.err);
        assert!(said.err.contains("hint: the old process serves on"), "{}", said.err);
        said.err
    };
    // A config that is none: the daemon's own commands read it too, so it is asked for with the old one.
    let wrong = good.replace("[ssh]\n", "[ssh]\nnonsense = 1\n");
    std::fs::write(gateway.path("good.toml"), &good).unwrap();
    std::fs::write(gateway.config(), &wrong).unwrap();
    let said = run(Command::new(program()).args(["upgrade", "--config"]).arg(gateway.path("good.toml")));
    assert_eq!(said.code, Some(6), "{}", said.err);
    assert!(said.err.contains("ssh.nonsense") && said.err.contains("the old process serves on"), "{}", said.err);
    std::fs::write(gateway.config(), &good).unwrap();
    serves("first");
    // Clients know the key that the old process has still.
    let (host_key, aside) = (gateway.path("keys/ssh_host_ed25519_key"), gateway.path("aside"));
    std::fs::rename(&host_key, &aside).unwrap();
    let said = refused("no host key");
    assert!(
        said.contains("ssh_host_ed25519_key is missing, and clients know that key") && !host_key.exists(),
        "{said}"
    );
    std::fs::rename(&aside, &host_key).unwrap();
    // Everything is well but the registry, which is found out only when the old daemon has closed its own.
    let elsewhere = good.replace("state_dir = \"state\"", "state_dir = \"other\"");
    assert_ne!(elsewhere, good);
    std::fs::create_dir_all(gateway.path("other/registry")).unwrap();
    let lock = File::create(gateway.path("other/registry/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    std::fs::write(gateway.config(), elsewhere).unwrap();
    // Somebody whose connection stays in between.
    let path = format!("ControlPath={}", gateway.path("s").display());
    let ssh = format!("{} -o ControlMaster=auto -o ControlPersist=60 -o {path}", gateway.ssh_line(&key));
    let shared = || {
        let url = gateway.url("acme/app");
        run(gateway.git_command(&key).env("GIT_SSH_COMMAND", &ssh).args(["ls-remote", &url])).ok()
    };
    shared();
    let said = refused("another registry");
    shared();
    assert!(said.contains("another process has the registry open"), "{said}");
    assert!(gateway.log().contains("this one opens the registry again"));
    std::fs::write(gateway.config(), &good).unwrap();
    serves("second");
    run(Command::new("ssh").args(["-O", "exit", "-o", &path, "git@localhost"]));
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "third"]).ok();
}

/// Says all that it should, and ends while the other one hears it.
const GONE: &str = r#"#!/bin/sh
dd bs=16384 count=1 of=/dev/null 2>/dev/null
echo '{"word":"prepared"}' >&0
dd bs=16384 count=1 of=/dev/null 2>/dev/null
OLD=$PPID
kill -STOP $OLD
echo '{"word":"serving"}' >&0
exec 0<&-
{ sleep 0.5; kill -CONT $OLD; } &
exit 1
"#;

#[test]
fn a_program_that_does_not_understand_leaves_the_place_to_the_old_one() {
    let mut gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    gateway.stop();
    let own = gateway.path("pullgate");
    std::fs::copy(program(), &own).unwrap();
    gateway.resume_as(Command::new(&own));
    for (what, text) in [
        ("an older release", "#!/bin/sh\nexit 2\n"),
        ("nonsense", "#!/bin/sh\necho '{\"word\":\"serving\"}' >&0\nsleep 60\n"),
        ("one that is gone as soon as it serves", GONE),
    ] {
        std::fs::remove_file(&own).unwrap();
        std::fs::write(&own, text).unwrap();
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
        let said = gateway.pullgate(["upgrade"]).failed();
        assert!(said.contains("the new process cannot take over"), "{what}: {said}");
        gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
        gateway.pullgate(["key", "grant", "acme/ci", "acme/lib"]).ok();
        gateway.pullgate(["key", "ungrant", "acme/ci", "acme/lib"]).ok();
    }
    std::fs::remove_file(&own).unwrap();
    let said = gateway.pullgate(["upgrade"]).failed();
    assert!(said.contains("cannot be started"), "{said}");
    // And the real one in its place takes over.
    std::fs::copy(program(), &own).unwrap();
    gateway.upgrade();
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
}

#[test]
fn a_connection_that_lies_idle_is_told_to_come_again() {
    let mut gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let socket = gateway.path("s").display().to_string();
    let path = format!("ControlPath={socket}");
    let ssh = format!("{} -o ControlMaster=auto -o ControlPersist=60 -o {path}", gateway.ssh_line(&key));
    let url = gateway.url("acme/app");
    let clone = |gateway: &Gateway, copy: &str| {
        run(gateway.git_command(&key).env("GIT_SSH_COMMAND", &ssh).args(["clone", "-q", &url, copy])).ok();
    };
    clone(&gateway, "before");
    let is_there = || run(Command::new("ssh").args(["-O", "check", "-o", &path, "git@localhost"])).code == Some(0);
    assert!(is_there());
    gateway.upgrade();
    // Before it hears of it: ssh makes a connection of its own, since this one takes no more sessions.
    clone(&gateway, "at-once");
    wait_until("the idle connection ends", || !is_there());
    gateway.first_ended();
    clone(&gateway, "after");
    run(Command::new("ssh").args(["-O", "exit", "-o", &path, "git@localhost"]));
}

#[test]
fn a_daemon_that_stops_does_not_wait_for_who_lies_idle() {
    let mut gateway = Gateway::start_with(|config| config.replace("drain_seconds = 30", "drain_seconds = 300"));
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let path = format!("ControlPath={}", gateway.path("s").display());
    let ssh = format!("{} -o ControlMaster=auto -o ControlPersist=600 -o {path}", gateway.ssh_line(&key));
    run(gateway.git_command(&key).env("GIT_SSH_COMMAND", &ssh).args(["ls-remote", &gateway.url("acme/app")])).ok();
    kill_process(gateway.process(), Signal::TERM).unwrap();
    // Who comes meanwhile does not wait for somebody who never comes.
    wait_until("the door is closed", || TcpStream::connect(("127.0.0.1", gateway.port())).is_err());
    assert!(!gateway.log().contains("stopped"), "too late to see it");
    assert_eq!(gateway.stop(), Some(0));
    assert!(!gateway.log().contains("what still runs is cut"), "{}", gateway.log());
}
