//! The start of a child in a cell: what is not started.

use std::path::PathBuf;

use pullgate::sandbox::{Allow, Mode, Profile, Settings, User};

use crate::support::{Ended, child, ended, me, mode, pool, profile};

/// A child that says who it is.
#[test]
#[ignore = "is the child of another test"]
fn who_am_i() {
    println!("\nuser|{}", rustix::process::geteuid().as_raw());
}

/// A child with this profile, in cells of these settings.
fn with(settings: Settings, profile: Profile) -> Ended {
    let mut job = child("start::who_am_i");
    job.profile = profile;
    ended(&pool(settings), &job)
}

#[test]
fn a_worker_starts_nothing_that_it_cannot_confine() {
    let missing = || profile().and([Allow::Execute("/nonexistent".into())]);
    for which in [Mode::Require, Mode::Prefer] {
        let ended = with(mode(which), missing());
        assert!(ended.not_run.is_some() && ended.err.contains("/nonexistent"), "{ended:?}");
    }
    // A folder that is reached by a link is not the folder that was vetted.
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
    let ended = with(mode(Mode::Require), profile().and([Allow::Beneath(dir.path().join("link"))]));
    assert!(ended.not_run.is_some() && ended.err.contains("link"), "{ended:?}");
    // And a program that the profile does not name is not executed.
    let ended = with(mode(Mode::Require), Profile::default());
    assert!(ended.not_run.is_some() && ended.err.contains("Permission denied"), "{ended:?}");
    let mut other = child("start::who_am_i");
    other.program = PathBuf::from("/bin/sh");
    let ended = crate::support::ended(&pool(mode(Mode::Require)), &other);
    assert!(ended.not_run.is_some() && ended.err.contains("Permission denied"), "{ended:?}");
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
    let ended = with(Settings { user, ..mode(Mode::Require) }, profile());
    if rustix::process::geteuid().is_root() && is_there(65534) && std::fs::metadata(me()).is_ok() {
        // It runs, or it may not enter the folder of this program; it never runs as root.
        assert!(ended.out.contains("\nuser|65534\n") || ended.err.contains("Permission denied"), "{ended:?}");
    } else if rustix::process::geteuid().as_raw() != 65534 {
        assert!(ended.not_run.is_some() && ended.err.contains("user 65534"), "{ended:?}");
    }
}
