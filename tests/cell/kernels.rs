//! Kernels that cannot confine, played by a filter that answers as they do.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pullgate::sandbox::{CellError, Mode, Pool};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};

use crate::support::{cells, ended, job, me, mode, profile, program};

/// Runs something in a thread, and so in children of it, for which the kernel lacks some system calls.
fn without<T: Send>(calls: &[i64], run: impl FnOnce() -> T + Send) -> T {
    let arch = if cfg!(target_arch = "aarch64") { TargetArch::aarch64 } else { TargetArch::x86_64 };
    let missing: BTreeMap<i64, Vec<_>> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let answer = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(missing, SeccompAction::Allow, answer, arch).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            seccompiler::apply_filter(&program).unwrap();
            run()
        });
        thread.join().unwrap()
    })
}

const LANDLOCK: &[i64] =
    &[libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];

#[test]
fn a_kernel_without_landlock_is_refused_or_told() {
    let trial = |which| without(LANDLOCK, || cells(mode(which)).trial(&profile(), &me(), &["--help"], &[]));
    let error = trial(Mode::Require).unwrap_err();
    assert!(matches!(&error, CellError::Refused(why) if why.contains("Landlock")), "{error}");
    let report = trial(Mode::Prefer).unwrap().unwrap();
    assert!(!report.whole() && report.landlock.is_none() && report.calls && report.limits, "{report}");
    assert_eq!(trial(Mode::Off).unwrap(), None);
    // Here, nothing is missing.
    assert!(cells(mode(Mode::Require)).trial(&profile(), &me(), &["--help"], &[]).unwrap().unwrap().whole());
}

#[test]
fn a_worker_confines_as_far_as_it_must() {
    let run =
        |which| without(LANDLOCK, || ended(&Pool::new(cells(mode(which))), &job(&["--help"], Path::new("/"), &[])));
    let required = run(Mode::Require);
    assert!(required.code == Some(125) && required.err.contains("Landlock"), "{required:?}");
    let preferred = run(Mode::Prefer);
    assert!(preferred.code == Some(0) && preferred.out.contains("Usage"), "{preferred:?}");
}

#[test]
fn the_gateway_does_not_start_on_such_a_kernel_unless_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let run = |verb: &'static [&'static str]| -> Output {
        let mut command = Command::new(program());
        command.args(verb).env("PULLGATE_CONFIG", dir.path().join("config.toml")).current_dir(dir.path());
        without(LANDLOCK, || command.stdin(Stdio::null()).output().unwrap())
    };
    assert!(run(&["init", "."]).status.success());
    let refused = run(&["serve"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("cannot be confined") && text.contains("prefer"), "{text}");
    let checked = run(&["check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(!checked.status.success() && text.contains("error    sandbox.mode"), "{text}");
    let config = std::fs::read_to_string(dir.path().join("config.toml")).unwrap();
    std::fs::write(dir.path().join("config.toml"), config.replace("\"require\"", "\"prefer\"")).unwrap();
    let checked = run(&["check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && text.contains("warning  sandbox.mode: git is not wholly confined"), "{text}");
    // It serves there, and says at every start what is not enforced, and to who watches.
    let [ssh, watch] = [0, 1].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [ssh, watch] = [ssh, watch].map(|held| held.local_addr().unwrap().to_string());
    let config = std::fs::read_to_string(dir.path().join("config.toml")).unwrap();
    let config = config.replace("127.0.0.1:2222", &ssh).replace("listen = \"\"", &format!("listen = \"{watch}\""));
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    for start in 1..=2 {
        let mut command = Command::new(program());
        command.arg("serve").env("PULLGATE_CONFIG", dir.path().join("config.toml")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut daemon = without(LANDLOCK, || command.spawn().unwrap());
        let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines().map(Result::unwrap);
        let said: Vec<String> = lines.by_ref().take_while(|line| !line.contains("serving SSH")).collect();
        let mut asks = std::net::TcpStream::connect(&watch).unwrap();
        asks.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let numbers = std::io::read_to_string(asks).unwrap();
        for line in
            ["pullgate_cell_whole 0", "pullgate_cell_mode{mode=\"prefer\"} 1", "pullgate_cell_mode{mode=\"require\"} 0"]
        {
            assert!(numbers.lines().any(|told| told == line), "{line}: {numbers}");
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let warned = said.iter().filter(|line| line.contains("WARN") && line.contains("NOT wholly confined")).count();
        assert_eq!(warned, 1, "start {start}: {said:#?}");
    }
}
