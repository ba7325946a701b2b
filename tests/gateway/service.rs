//! What a service manager hands to the daemon and hears of it, played by these tests.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Signal, kill_process};

use crate::harness::{Gateway, PATIENCE, plain_git, program, run};

/// The program as a service manager starts it: with a socket as its descriptor 3.
fn started_with(socket: impl AsFd) -> (Command, OwnedFd) {
    // One that a program which is started from here keeps; it is not 3 itself, which the script would close again.
    let kept = rustix::io::fcntl_dupfd_cloexec(socket, 4).unwrap();
    rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::empty()).unwrap();
    let mut command = Command::new("bash");
    let script = format!("exec 3<&{0} {0}<&-; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"", kept.as_raw_fd());
    command.args(["-c", &script, "bash"]).arg(program());
    (command, kept)
}

#[test]
fn a_service_manager_hears_of_every_step() {
    let mut gateway = Gateway::start();
    assert_eq!(gateway.stop(), Some(0));
    let socket = UnixDatagram::bind(gateway.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Command::new(program());
    command.env("NOTIFY_SOCKET", gateway.path("notify")).env("WATCHDOG_USEC", "200000");
    gateway.resume_as(command);
    let next = || {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    // Whatever comes in between, until this comes.
    let hears = |what: &str| {
        let start = Instant::now();
        loop {
            let text = next();
            if text.lines().any(|line| line == what) {
                return text;
            }
            assert!(start.elapsed() < PATIENCE, "{what} was not heard; the last was {text}");
        }
    };
    hears("READY=1");
    for _ in 0..3 {
        hears("WATCHDOG=1");
    }
    kill_process(gateway.process(), Signal::HUP).unwrap();
    assert!(hears("RELOADING=1").contains("MONOTONIC_USEC="));
    hears("READY=1");
    // A config that cannot be taken over is no reason to look as if it were being read for ever.
    let good = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), "nonsense").unwrap();
    kill_process(gateway.process(), Signal::HUP).unwrap();
    hears("RELOADING=1");
    hears("READY=1");
    std::fs::write(gateway.config(), good).unwrap();
    // A new process is the daemon by the old one's word, and has the watchdog.
    let main = format!("MAINPID={}", gateway.upgrade().as_raw_nonzero());
    hears(&main);
    hears("READY=1");
    hears("WATCHDOG=1");
    gateway.first_ended();
}

#[test]
fn a_service_manager_hears_of_the_end() {
    let mut gateway = Gateway::start();
    gateway.stop();
    let socket = UnixDatagram::bind(gateway.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Command::new(program());
    command.env("NOTIFY_SOCKET", gateway.path("notify"));
    gateway.resume_as(command);
    kill_process(gateway.process(), Signal::TERM).unwrap();
    let (mut bytes, mut text) = ([0; 512], String::new());
    while !text.contains("STOPPING=1") {
        let length = socket.recv(&mut bytes).unwrap();
        text = String::from_utf8(bytes[..length].to_vec()).unwrap();
    }
    gateway.stop();
}

#[test]
fn who_connects_between_two_daemons_waits_for_the_next() {
    let mut gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    assert_eq!(gateway.stop(), Some(0));
    let door = TcpListener::bind(("127.0.0.1", gateway.port())).unwrap();
    let before_anybody_serves = || {
        let mut git = plain_git(&gateway.path(""));
        git.env("GIT_SSH_COMMAND", gateway.ssh_line(&key)).args(["clone", "-q", &gateway.url("acme/app"), "early"]);
        git.spawn().unwrap()
    };
    let mut early = before_anybody_serves();
    std::thread::sleep(Duration::from_millis(500));
    assert!(early.try_wait().unwrap().is_none(), "it was refused");
    for round in 1..=2 {
        let (command, _kept) = started_with(&door);
        gateway.resume_as(command);
        if round == 1 {
            assert!(early.wait().unwrap().success() && gateway.path("early/file3").is_file());
        }
        gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
        assert_eq!(gateway.stop(), Some(0));
    }
}

#[test]
fn a_socket_that_is_none_for_git_is_refused() {
    let mut gateway = Gateway::start();
    gateway.stop();
    let unix = UnixListener::bind(gateway.path("unix")).unwrap();
    let silent = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    for socket in [unix.as_fd(), silent.as_fd()] {
        let (mut command, _kept) = started_with(socket);
        let said = run(command.args(["serve", "--config"]).arg(gateway.config())).failed();
        assert!(said.contains("a socket that the service manager opened cannot be used"), "{said}");
        assert!(said.contains("hint: give it TCP sockets"), "{said}");
    }
}
