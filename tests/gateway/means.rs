//! A machine that starts no more threads or processes, or opens no more files: a container with few `pids`, a user with few
//! processes.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::Duration;

use crate::harness::{Gateway, program, run};

/// A user of whom nobody has processes but the test. The kernel bounds none of root's, so these tests are root's alone.
const NOBODY: u32 = 61_234;
/// Longer than the runtime keeps a thread that has nothing to do.
const FORGOTTEN: Duration = Duration::from_secs(12);

/// A gateway that was stopped, in a folder that is this user's now.
fn given_to(user: u32) -> Gateway {
    let mut gateway = Gateway::start();
    assert_eq!(gateway.stop(), Some(0));
    // Where it may be executed by anybody.
    std::fs::copy(program(), gateway.path("pullgate")).unwrap();
    run(Command::new("chown").args(["-R", &user.to_string()]).arg(gateway.path(""))).ok();
    gateway
}

/// A command of this user, who may have so many processes and threads.
fn bounded(user: u32, most: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("bash");
    let script = format!("ulimit -u {most} && exec \"$@\"");
    command.args(["-c", &script, "bash"]).arg(program).uid(user);
    command
}

#[test]
fn too_few_threads_are_told_at_the_start() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let gateway = given_to(NOBODY);
    for most in [2, 5, 8, 12, 16] {
        let mut command = bounded(NOBODY, most, gateway.path("pullgate"));
        let said = run(command.args(["serve", "--config"]).arg(gateway.config()));
        assert_eq!(said.code, Some(6), "{most}: {}", said.err);
        let said = said.failed();
        assert!(said.contains("threads that the daemon needs cannot be started"), "{most}: {said}");
        assert!(said.contains("hint: ") && said.contains("TasksMax=") && !said.contains("panicked"), "{most}: {said}");
    }
}

#[test]
fn too_few_descriptors_are_told_at_the_start() {
    let mut gateway = Gateway::start();
    assert_eq!(gateway.stop(), Some(0));
    let serve = |most: u32| {
        let script = format!("ulimit -n {most} && exec \"$@\"");
        run(Command::new("bash").args(["-c", &script, "bash", program(), "serve", "--config"]).arg(gateway.config()))
    };
    for most in [12, 20, 63] {
        let said = serve(most).failed();
        assert!(said.contains(&format!("may open {most} files at a time")) && said.contains("LimitNOFILE="), "{said}");
    }
}

#[test]
fn a_daemon_that_can_start_no_thread_obeys_and_stops() {
    const ANOTHER: u32 = NOBODY + 1;
    const MOST: u32 = 100;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut gateway = given_to(ANOTHER);
    gateway.resume_as(bounded(ANOTHER, MOST, gateway.path("pullgate")));
    std::thread::sleep(FORGOTTEN);
    // Their number counts for the daemon's bound, and not for one of their own.
    let other = || Command::new("sleep").arg("100").uid(ANOTHER).spawn().unwrap();
    let others: Vec<Child> = (0..MOST).map(|_| other()).collect();
    let listed = gateway.pullgate(["account", "list"]).ok();
    let added = gateway.pullgate(["account", "add", "other"]);
    let stopped = gateway.stop();
    for mut other in others {
        other.kill().unwrap();
        other.wait().unwrap();
    }
    assert!(listed.contains("acme"), "{listed}");
    added.ok();
    assert_eq!((stopped, gateway.log().contains("panicked")), (Some(0), false), "{}", gateway.log());
}
