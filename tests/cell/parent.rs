//! What a child tries at its parent, which is the worker that made its cell, and runs as the same user without one.

use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{sched_getaffinity, sched_setaffinity};
use nix::sys::signal::kill;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::{Pid, getppid};
use pullgate::sandbox::{Allow, Mode};
use rustix::process::PidfdFlags;

use crate::acts::{Act, Place};
use crate::support::{child, ended, ended_in, job, mode, pool, profile, runtime};

/// Eight bytes in the memory of the test itself, which is the parent where there is no worker: where they are.
pub(crate) const BYTES: &str = "CELL_TEST_BYTES";
/// The program of `raw.c`.
pub(crate) const TOOL: &str = "CELL_TEST_TOOL";

/// Compiles `raw.c`, which has to be possible wherever this crate is built: so is libgit2.
pub(crate) fn tool_in(folder: &Path) -> PathBuf {
    let (source, tool) = (folder.join("raw.c"), folder.join("raw"));
    fs::write(&source, include_str!("raw.c")).unwrap();
    assert!(Command::new("cc").args(["-Wall", "-Werror", "-o"]).args([&tool, &source]).status().unwrap().success());
    tool
}

/// Has the tool do something, and takes its word for it.
pub(crate) fn tool(words: &[&str]) -> std::io::Result<()> {
    match Command::new(std::env::var_os(TOOL).unwrap()).args(words).status()?.code() {
        Some(0) => Ok(()),
        Some(errno) => Err(std::io::Error::from_raw_os_error(errno)),
        None => Err(std::io::Error::other("it was killed")),
    }
}

fn parents(name: &str) -> PathBuf {
    format!("/proc/{}/{name}", getppid()).into()
}

fn parent() -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(getppid().as_raw())
}

fn there() -> [RemoteIoVec; 1] {
    [RemoteIoVec { base: std::env::var(BYTES).unwrap().parse().unwrap(), len: 8 }]
}

/// None of them does harm where it is done, since the parent may be the test.
pub(crate) const FORBIDDEN: &[Act] = &[
    ("signal its parent", |_| Ok(kill(getppid(), None)?)),
    ("signal its process group", |_| Ok(kill(Pid::from_raw(0), None)?)),
    ("trace its parent", |_| Ok(nix::sys::ptrace::seize(getppid(), nix::sys::ptrace::Options::empty())?)),
    ("read its parent's memory", |_| {
        Ok(process_vm_readv(getppid(), &mut [IoSliceMut::new(&mut [0; 8])], &there()).map(drop)?)
    }),
    ("write to its parent's memory", |_| {
        Ok(process_vm_writev(getppid(), &[IoSlice::new(&[0; 8])], &there()).map(drop)?)
    }),
    ("open its parent's memory file to write", |_| fs::OpenOptions::new().write(true).open(parents("mem")).map(drop)),
    ("read its parent's environment", |_| fs::read(parents("environ")).map(drop)),
    ("list its parent's descriptors", |_| fs::read_dir(parents("fd")).map(drop)),
    ("open what its parent has open", |_| fs::File::open(parents("fd/0")).map(drop)),
    ("see what its parent has open", |_| fs::read_link(parents("fd/0")).map(drop)),
    ("see which program its parent is", |_| fs::read_link(parents("exe")).map(drop)),
    ("list its parent's folder", |_| fs::read_dir(parents("cwd/.")).map(drop)),
    ("hold its parent (pidfd_open)", |_| {
        Ok(rustix::process::pidfd_open(parent().unwrap(), PidfdFlags::empty()).map(drop)?)
    }),
    ("take a descriptor from its parent (pidfd_getfd)", |_| {
        let held = rustix::process::pidfd_open(parent().unwrap(), PidfdFlags::empty())?;
        Ok(rustix::process::pidfd_getfd(held, 0, rustix::process::PidfdGetfdFlags::empty()).map(drop)?)
    }),
    ("find its parent's locks (get_robust_list)", |_| tool(&["locks", &getppid().to_string()])),
    ("start a child of its parent (CLONE_PARENT)", |_| tool(&["sibling"])),
    ("leave its session", |_| tool(&["session"])),
    ("move its parent to another process group", |_| Ok(nix::unistd::setpgid(getppid(), Pid::this())?)),
    ("be told of its parent's end (PDEATHSIG)", |_| Ok(rustix::process::set_parent_process_death_signal(None)?)),
    ("keep orphans from its parent (SUBREAPER)", |_| {
        Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
    }),
    ("raise its limits", |_| {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(Resource::RLIMIT_MSGQUEUE)?;
        Ok(setrlimit(Resource::RLIMIT_MSGQUEUE, soft, hard.saturating_add(1))?)
    }),
    ("set its parent's limits", |_| {
        let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Ok(rustix::process::prlimit(parent(), rustix::process::Resource::Nofile, own).map(drop)?)
    }),
    ("set its parent's priority", |_| {
        let is = rustix::process::getpriority_process(parent())?;
        Ok(rustix::process::setpriority_process(parent(), is)?)
    }),
    ("choose its parent's processors", |_| Ok(sched_setaffinity(getppid(), &sched_getaffinity(getppid())?)?)),
];

/// From the worker's own child, and not from a child of that: nobody becomes a child of the worker but by its order.
#[test]
fn a_worker_has_the_children_alone_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let tool = tool_in(dir.path());
    let said = |which, word: &str| {
        let mut order = job(&[word], dir.path(), &[]);
        order.profile = profile().and([Allow::Execute(tool.clone())]);
        order.program.clone_from(&tool);
        ended(&pool(mode(which)), &order).code
    };
    assert_eq!([said(Mode::Require, "nothing"), said(Mode::Off, "nothing")], [Some(0), Some(0)]);
    assert_eq!([said(Mode::Require, "sibling"), said(Mode::Off, "sibling")], [Some(libc::ENOSYS), Some(0)]);
}

#[test]
fn a_worker_goes_on_whatever_its_child_tries() {
    let (place, pool) = (Place::new(), pool(mode(Mode::Require)));
    runtime().block_on(async {
        let who = child("workers::who_started_me");
        let first = ended_in(&pool, &who).await.out;
        let tried = ended_in(&pool, &place.job(&[])).await;
        assert!(tried.code == Some(0) && tried.out.contains("act|signal its parent|"), "{tried:?}");
        let starter = |out: &str| out.split("starter|").nth(1).unwrap().lines().next().unwrap().to_owned();
        assert_eq!(starter(&ended_in(&pool, &who).await.out), starter(&first));
    });
}
