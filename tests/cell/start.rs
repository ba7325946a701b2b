//! The start of a cell: what it refuses to start in, and how the gateway starts one.

use std::process::{Command, Stdio};

use pullgate::sandbox::{Allow, Mode, Profile, Settings, User};

use crate::support::{cells, me, mode, profile, program};

fn said(launch: pullgate::sandbox::Launch) -> (Option<i32>, String) {
    let output = Command::new(launch.program).args(launch.args).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_helper_that_does_not_understand_runs_nothing() {
    for words in [&["__cell"][..], &["__cell", "off", "--", "/bin/true"], &["__cell", "require", "--", "/bin/true"]] {
        let output = Command::new(program()).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{words:?}");
    }
}

#[test]
fn what_is_not_there_is_not_started() {
    let missing = profile().and([Allow::Execute("/nonexistent".into())]);
    for which in [Mode::Require, Mode::Prefer] {
        let (code, err) = said(cells(mode(which)).launch(&missing, &me(), &["--help"]));
        assert_eq!(code, Some(125));
        assert!(err.contains("/nonexistent"), "{err}");
    }
    // A folder that is reached by a link is not the folder that was vetted.
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
    let linked = profile().and([Allow::Beneath(dir.path().join("link"))]);
    let (code, err) = said(cells(mode(Mode::Require)).launch(&linked, &me(), &["--help"]));
    assert!(code == Some(125) && err.contains("link"), "{code:?}: {err}");
    // And a program that the profile does not name is not executed.
    let (code, err) = said(cells(mode(Mode::Require)).launch(&Profile::default(), &me(), &["--help"]));
    assert!(code == Some(125) && err.contains("Permission denied"), "{code:?}: {err}");
}

/// Whether the user namespace of this process has this user (user_namespaces(7)): one of a container may not.
fn is_there(uid: u64) -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        let (first, count) = (numbers.next().unwrap(), numbers.nth(1).unwrap());
        (first..first.saturating_add(count)).contains(&uid)
    })
}

#[test]
fn root_becomes_the_user_that_is_configured() {
    let user = Some(User { uid: 65534, gid: 65534 });
    let settings = Settings { user, ..mode(Mode::Require) };
    let (code, err) = said(cells(settings).launch(&profile(), &me(), &["--help"]));
    if rustix::process::geteuid().is_root() && is_there(65534) && std::fs::metadata(me()).is_ok() {
        // It runs, or it may not enter the folder of this program; it never runs as root.
        assert!(code == Some(0) || err.contains("Permission denied"), "{code:?}: {err}");
    } else if rustix::process::geteuid().as_raw() != 65534 {
        assert!(code == Some(125) && err.contains("user 65534"), "{code:?}: {err}");
    }
}
