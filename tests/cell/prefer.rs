//! Mode `prefer` where one part of a cell cannot be had: it goes on, with all of the other parts, and says which is missing.

use std::path::Path;

use pullgate::sandbox::{CellError, Limits, Mode, Report, Settings};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp};

use crate::acts::acts;
use crate::kernels::{LANDLOCK, Missing, lacking};
use crate::support::{cells, ended, job, mode, pool};

/// Limits that can be seen: `acts` has an act for the memory.
const LIMITS: Limits = Limits { memory: 512 << 20, cpu: 60 };

fn landlock() -> Vec<Missing> {
    LANDLOCK.iter().map(|call| Missing::call(*call)).collect()
}

fn seccomp() -> Vec<Missing> {
    vec![Missing::call(libc::SYS_seccomp)]
}

/// Limits can be read, and not set.
fn limits() -> Vec<Missing> {
    let sets = Missing::call(libc::SYS_prlimit64).when(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0);
    vec![sets, Missing::call(libc::SYS_setrlimit)]
}

/// As where nothing is mounted on /proc: what is open cannot be listed.
fn descriptors() -> Vec<Missing> {
    vec![Missing::call(libc::SYS_getdents64)]
}

/// What a trial says with these parts missing; `require` refuses.
fn reported(missing: &[Missing]) -> Result<Report, CellError> {
    let help = job(&["--help"], Path::new("/"), &[]);
    let trial = |which| lacking(missing, || cells(mode(which)).trial(&help));
    let error = trial(Mode::Require);
    assert!(matches!(error, Err(CellError::Refused(_))), "{error:?}");
    let required = lacking(missing, || ended(&pool(mode(Mode::Require)), &help));
    assert!(required.not_run.is_some(), "{required:?}");
    trial(Mode::Prefer).map(|report| report.unwrap())
}

#[test]
fn one_part_that_is_missing_is_told_and_the_others_hold() {
    let whole = cells(mode(Mode::Require)).trial(&job(&["--help"], Path::new("/"), &[])).unwrap().unwrap();
    for errno in [libc::ENOSYS, libc::EPERM] {
        let with =
            |missing: Vec<Missing>| reported(&missing.into_iter().map(|one| one.says(errno)).collect::<Vec<_>>());
        assert_eq!(with(landlock()).unwrap(), Report { landlock: None, ..whole });
        assert_eq!(with(seccomp()).unwrap(), Report { calls: false, ..whole });
        assert_eq!(with(limits()).unwrap(), Report { limits: false, ..whole });
        assert_eq!(with(descriptors()).unwrap(), Report { limits: false, ..whole });
    }
}

/// Which acts are done without one part, that are not with all of them.
fn more_is_done(what: &str, missing: &[Missing]) -> Vec<String> {
    let settings = |which| Settings { limits: LIMITS, ..mode(which) };
    let whole = acts(settings(Mode::Require));
    let partial = lacking(missing, || acts(settings(Mode::Prefer)));
    let more = |(name, result): &(&String, &String)| *result == "done" && whole.get(*name).unwrap() != "done";
    let found: Vec<_> = partial.iter().filter(more).map(|(name, _)| name.clone()).collect();
    eprintln!("as user {}, without {what}: {}", nix::unistd::geteuid(), found.join("; "));
    found
}

/// What another part denies is denied still. The first of each are the control: that the part was really missing.
#[test]
fn without_one_part_nothing_is_done_that_another_denies() {
    let limited = ["take a gigabyte of memory", "use a descriptor that was left open"];
    assert_eq!(more_is_done("limits", &limits()), limited[..1]);
    assert_eq!(more_is_done("a list of descriptors", &descriptors()), limited[1..]);
    let listed = ["signal its parent", "trace its parent", "connect by TCP", "rename a file", "change a mode", "mount"];
    let files = ["read a foreign repository", "write to a file", "run a shell", "read its parent's environment"];
    for (what, missing, control, denied) in
        [("Landlock", landlock(), files[0], &listed[..]), ("seccomp", seccomp(), listed[4], &files[..])]
    {
        let found = more_is_done(what, &missing);
        assert!(found.iter().any(|name| name == control), "without {what}: {found:?}");
        let lost: Vec<_> = found.iter().filter(|name| denied.iter().chain(&limited).any(|one| one == name)).collect();
        assert!(lost.is_empty(), "without {what}: {lost:?}");
        // Root may look into any process; nobody else into a worker, with Landlock or without.
        let memory = found.iter().any(|name| name == "open its parent's memory file to write");
        assert!(!memory || rustix::process::geteuid().is_root(), "without {what}: {found:?}");
    }
}
