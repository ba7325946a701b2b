//! The program, and a profile in which this test program itself can run.

use std::path::{Path, PathBuf};

use pullgate::sandbox::{Allow, Cells, Job, Mode, Pool, Profile, Settings};
use tokio::io::AsyncReadExt as _;

pub(crate) fn program() -> PathBuf {
    // A copy in a place where another user may execute it: `just cell-test`.
    std::env::var_os("PULLGATE_TEST_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_pullgate").into(), PathBuf::from)
}

pub(crate) fn me() -> PathBuf {
    std::fs::read_link("/proc/self/exe").unwrap()
}

pub(crate) fn cells(settings: Settings) -> Cells {
    Cells::through(settings, program())
}

/// Workers for as many children at a time as a test has.
pub(crate) fn pool(settings: Settings) -> Pool {
    Pool::new(cells(settings), 8)
}

pub(crate) fn mode(mode: Mode) -> Settings {
    Settings { mode, ..Settings::default() }
}

/// This program as a child, in a folder, with what it needs to know.
pub(crate) fn job(args: &[&str], folder: &Path, environment: &[(&str, String)]) -> Job {
    Job {
        profile: profile(),
        program: me(),
        args: args.iter().map(Into::into).collect(),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        directory: std::fs::File::open(folder).unwrap().into(),
    }
}

/// A test of this program, as the child that it is.
pub(crate) fn child(test: &str) -> Job {
    job(&["--exact", test, "--ignored", "--nocapture", "--test-threads=1"], Path::new("/"), &[])
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What came of a child.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// That it was not run.
    pub(crate) not_run: Option<std::io::Error>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a child to its end, with nothing on its input.
pub(crate) fn ended(pool: &Pool, job: &Job) -> Ended {
    runtime().block_on(ended_in(pool, job))
}

pub(crate) async fn ended_in(pool: &Pool, job: &Job) -> Ended {
    let mut running = pool.start(job).unwrap();
    drop(running.stdin.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read = tokio::join!(running.stdout.read_to_end(&mut out), running.stderr.read_to_end(&mut err));
    read.0.unwrap();
    read.1.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (code, not_run) = match running.wait().await {
        Ok(code) => (code, None),
        Err(error) => (None, Some(error)),
    };
    Ended { code, not_run, out: text(out), err: text(err) }
}

/// As git's profile is made: itself, the loader, the libraries, the working directory and the null device.
pub(crate) fn profile() -> Profile {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut allowed = vec![Allow::Execute(me()), Allow::Here, Allow::Device("/dev/null".into())];
    for path in maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..]))) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains(".so") {
            allowed.push(if name.starts_with("ld-") { Allow::Execute(path) } else { Allow::Read(path) });
        }
    }
    allowed.push(Allow::Read("/etc/ld.so.cache".into()));
    // The names by which the loader asks, which are links to those.
    for folder in ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib", "/lib"] {
        let names = ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "libz.so.1"].map(|name| Path::new(folder).join(name));
        allowed.extend(names.into_iter().filter(|path| path.exists()).map(Allow::Read));
    }
    Profile::new(allowed)
}
