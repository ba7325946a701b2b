//! Everything that a confined child must not be able to do, tried by one: this test program, run in a cell.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use pullgate::sandbox::{Allow, Job, Limits, Mode, Profile, Settings};

use crate::parent;
use crate::support::{ended, job, me, mode, pool, profile};

/// How the child is told where things are.
const PLACE: &str = "CELL_TEST_PLACE";
const PORT: &str = "CELL_TEST_PORT";
/// A descriptor that whoever starts the gateway left open, or one of the gateway's own that it does not close.
const STRAY: &str = "CELL_TEST_STRAY";

/// A process of the same user outside of the cell.
const VICTIM: &str = "CELL_TEST_VICTIM";

fn victim() -> Pid {
    Pid::from_raw(std::env::var(VICTIM).unwrap().parse().unwrap())
}

pub(crate) type Act = (&'static str, fn(&Path) -> std::io::Result<()>);

/// What a child may do: without these the rest would prove nothing.
const ALLOWED: &[Act] = &[
    ("read a file of its own folder", |here| fs::read(here.join("file")).map(drop)),
    ("list its own folder", |here| fs::read_dir(here).map(drop)),
    ("write to the null device", |_| fs::OpenOptions::new().write(true).open("/dev/null")?.write_all(b"x")),
    ("start a thread", |_| std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap())),
    ("run itself again", |_| Command::new(me()).arg("--help").stdout(Stdio::null()).status().map(drop)),
    ("run the program that it is given", |_| parent::tool(&["nothing"])),
];

/// What it must not.
const FORBIDDEN: &[Act] = &[
    ("make a file", |here| fs::write(here.join("new"), "x")),
    ("write to a file", |here| fs::OpenOptions::new().append(true).open(here.join("file"))?.write_all(b"x")),
    ("empty a file", |here| fs::File::create(here.join("file")).map(drop)),
    ("truncate a file by name", |here| Ok(nix::unistd::truncate(&here.join("file"), 1)?)),
    ("make a folder", |here| fs::create_dir(here.join("folder"))),
    ("change a mode", |here| fs::set_permissions(here.join("file"), fs::Permissions::from_mode(0o777))),
    ("make a symbolic link", |here| std::os::unix::fs::symlink("/etc", here.join("link"))),
    ("make a hard link", |here| fs::hard_link(here.join("file"), here.join("hard"))),
    ("rename a file", |here| fs::rename(here.join("file"), here.join("other"))),
    ("remove a file", |here| fs::remove_file(here.join(if here.join("other").exists() { "other" } else { "file" }))),
    ("make a FIFO", |here| Ok(nix::unistd::mkfifo(&here.join("fifo"), nix::sys::stat::Mode::S_IRWXU)?)),
    ("make a file in /tmp", |here| fs::write(here.join("../elsewhere"), "x")),
    ("make a memory file", |_| Ok(nix::sys::memfd::memfd_create(c"x", nix::sys::memfd::MFdFlags::empty()).map(drop)?)),
    ("read a foreign repository", |here| fs::read(here.join("../foreign/file")).map(drop)),
    ("list a foreign repository", |here| fs::read_dir(here.join("../foreign")).map(drop)),
    ("read by a link to a foreign repository", |here| fs::read(here.join("way-out")).map(drop)),
    ("read /etc/passwd", |_| fs::read("/etc/passwd").map(drop)),
    ("read the environment of a process", |_| fs::read("/proc/self/environ").map(drop)),
    ("list the processes", |_| fs::read_dir("/proc").map(drop)),
    ("read another's memory file", |_| {
        fs::File::open(format!("/proc/{}/mem", std::os::unix::process::parent_id())).map(drop)
    }),
    ("run a shell", |_| Command::new("/bin/sh").args(["-c", "exit 0"]).status().map(drop)),
    ("run a script of its folder (a hook)", |here| Command::new(here.join("hook")).status().map(drop)),
    ("connect by TCP", |_| {
        TcpStream::connect(("127.0.0.1", std::env::var(PORT).unwrap().parse::<u16>().unwrap())).map(drop)
    }),
    ("listen by TCP", |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("send by UDP", |_| UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", "127.0.0.1:9").map(drop)),
    ("connect to a Unix socket (the control socket)", |here| UnixStream::connect(here.join("../socket")).map(drop)),
    ("make a pair of sockets", |_| UnixStream::pair().map(drop)),
    ("signal a process", |_| Ok(kill(victim(), None)?)),
    ("signal everybody", |_| Ok(kill(Pid::from_raw(-1), None)?)),
    ("trace a process", |_| Ok(nix::sys::ptrace::seize(victim(), nix::sys::ptrace::Options::empty())?)),
    ("mount", |here| {
        // One that no kernel has: a mount that came to be would stay.
        let none: Option<&str> = None;
        Ok(nix::mount::mount(Some("none"), here, Some("no-such-file-system"), nix::mount::MsFlags::empty(), none)?)
    }),
    ("leave its namespaces: users", |_| Ok(unshare(CloneFlags::CLONE_NEWUSER)?)),
    ("leave its namespaces: mounts", |_| Ok(unshare(CloneFlags::CLONE_NEWNS)?)),
    ("leave its namespaces: network", |_| Ok(unshare(CloneFlags::CLONE_NEWNET)?)),
    ("leave its process group", |_| Ok(nix::unistd::setpgid(Pid::this(), Pid::this())?)),
    ("become root", |_| Ok(nix::unistd::setuid(nix::unistd::Uid::from_raw(0))?)),
    ("set its limits", |_| {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?)
    }),
    ("name the machine", |_| Ok(nix::unistd::sethostname(nix::unistd::gethostname()?)?)),
    ("take a gigabyte of memory", |_| {
        Vec::<u8>::new().try_reserve_exact(1 << 30).map_err(|_| std::io::ErrorKind::OutOfMemory.into())
    }),
    ("use a descriptor that was left open", |_| {
        Ok(nix::unistd::close(std::env::var(STRAY).unwrap().parse::<i32>().unwrap())?)
    }),
    // Last: after it no path means what it meant.
    ("change the root", |here| Ok(nix::unistd::chroot(here)?)),
];

/// All of them, in the order in which they are tried.
fn every() -> impl Iterator<Item = &'static Act> {
    ALLOWED.iter().chain(forbidden())
}

fn forbidden() -> impl Iterator<Item = &'static Act> {
    parent::FORBIDDEN.iter().chain(FORBIDDEN)
}

/// One line for each act.
#[test]
#[ignore = "is the child of another test"]
fn the_child() {
    // Where only the limits deny to write, the act shall fail and the rest be tried too.
    nix::sys::signal::SigSet::from_iter([nix::sys::signal::Signal::SIGXFSZ]).thread_block().unwrap();
    let here = std::path::PathBuf::from(std::env::var_os(PLACE).unwrap()).join("here");
    for (name, act) in every() {
        match act(&here) {
            Ok(()) => println!("act|{name}|done"),
            Err(error) => println!("act|{name}|{error}"),
        }
    }
}

/// A folder to be confined to, what is beside it, and a process that is nobody's business.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    tcp: TcpListener,
    _unix: UnixListener,
    victim: std::process::Child,
    tool: PathBuf,
    bytes: Box<[u8; 8]>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path();
        for folder in ["here", "foreign"] {
            fs::create_dir(place.join(folder)).unwrap();
            fs::write(place.join(folder).join("file"), "text").unwrap();
        }
        let here = place.join("here");
        fs::write(here.join("hook"), "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(here.join("hook"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("../foreign/file", here.join("way-out")).unwrap();
        Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            _unix: UnixListener::bind(place.join("socket")).unwrap(),
            victim: Command::new("sleep").arg("600").spawn().unwrap(),
            tool: parent::tool_in(place),
            bytes: Box::default(),
            dir,
        }
    }

    fn here(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("here")
    }

    /// What the child has to know.
    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            (PLACE, self.dir.path().canonicalize().unwrap().display().to_string()),
            (VICTIM, self.victim.id().to_string()),
            (PORT, self.tcp.local_addr().unwrap().port().to_string()),
            (parent::TOOL, self.tool.display().to_string()),
            (parent::BYTES, (std::ptr::from_ref(&*self.bytes).addr()).to_string()),
            (STRAY, "77".to_owned()),
        ]
    }

    fn profile(&self) -> Profile {
        profile().and([Allow::Execute(self.tool.clone())])
    }

    /// The child that tries everything, for a worker.
    pub(crate) fn job(&self, more: &[(&'static str, String)]) -> Job {
        let mut environment = self.environment();
        environment.extend_from_slice(more);
        Job { profile: self.profile(), ..job(ARGS, &self.here(), &environment) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.victim.kill().unwrap();
        self.victim.wait().unwrap();
    }
}

const ARGS: &[&str] = &["--exact", "acts::the_child", "--ignored", "--nocapture", "--test-threads=1"];

/// What each act came to for a child with these settings.
pub(crate) fn acts(settings: Settings) -> BTreeMap<String, String> {
    let place = Place::new();
    let null = fs::File::open("/dev/null").unwrap();
    let stray = rustix::io::fcntl_dupfd_cloexec(&null, 77).unwrap();
    rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&stray).to_string();
    let text = ended(&pool(settings), &place.job(&[(STRAY, number)])).out;
    let found: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once("act|")?.1.split_once('|'))
        .map(|(name, result)| (name.to_owned(), result.to_owned()))
        .collect();
    assert_eq!(found.len(), every().count(), "{text}");
    found
}

#[test]
fn every_forbidden_act_is_denied_in_a_cell() {
    let limits = Limits { memory: 512 << 20, cpu: 60 };
    let settings = Settings { limits, ..mode(Mode::Require) };
    let free = acts(mode(Mode::Off));
    let confined = acts(settings);
    eprintln!("\nas user {}\n{:46} {:44} in a cell", nix::unistd::geteuid(), "act", "without");
    for (name, _) in every() {
        eprintln!("{name:46} {:44} {}", free[*name], confined[*name]);
    }
    for (name, _) in ALLOWED {
        assert_eq!(confined[*name], "done", "{name}");
    }
    let escaped: Vec<_> = forbidden().filter(|(name, _)| confined[*name] == "done").map(|(name, _)| name).collect();
    assert!(escaped.is_empty(), "{escaped:?}");
    // The acts are real ones: most of them succeed without a cell, as whatever user.
    let real = forbidden().filter(|(name, _)| free[*name] == "done").count();
    assert!(real >= 50, "only {real} of {} can be done without a cell", forbidden().count());
}

/// docs/cell.md says of each act what was seen of it.
#[test]
fn every_act_has_its_row() {
    let rows = include_str!("../../docs/cell.md").lines().filter(|line| line.starts_with("| ")).collect::<Vec<_>>();
    let missing: Vec<_> =
        every().filter(|(name, _)| !rows.iter().any(|row| row.starts_with(&format!("| {name} | ")))).collect();
    assert!(missing.is_empty(), "{:?}", missing.iter().map(|(name, _)| name).collect::<Vec<_>>());
}
