//! Everything that a confined child must not be able to do, tried by one: this test program, run in a cell.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use pullgate::sandbox::{Limits, Mode, Settings};

use crate::support::{ended, job, me, mode, pool};

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

type Act = (&'static str, fn(&Path) -> std::io::Result<()>);

/// What a child may do: without these the rest would prove nothing.
const ALLOWED: &[Act] = &[
    ("read a file of its own folder", |here| fs::read(here.join("file")).map(drop)),
    ("list its own folder", |here| fs::read_dir(here).map(drop)),
    ("write to the null device", |_| fs::OpenOptions::new().write(true).open("/dev/null")?.write_all(b"x")),
    ("start a thread", |_| std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap())),
    ("run itself again", |_| Command::new(me()).arg("--help").stdout(Stdio::null()).status().map(drop)),
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

/// One line for each act.
#[test]
#[ignore = "is the child of another test"]
fn the_child() {
    let here = std::path::PathBuf::from(std::env::var_os(PLACE).unwrap()).join("here");
    for (name, act) in ALLOWED.iter().chain(FORBIDDEN) {
        match act(&here) {
            Ok(()) => println!("act|{name}|done"),
            Err(error) => println!("act|{name}|{error}"),
        }
    }
}

/// What each act came to for a child with these settings.
fn acts(settings: Settings) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().canonicalize().unwrap();
    for folder in ["here", "foreign"] {
        fs::create_dir(place.join(folder)).unwrap();
        fs::write(place.join(folder).join("file"), "text").unwrap();
    }
    let here = place.join("here");
    fs::write(here.join("hook"), "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(here.join("hook"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("../foreign/file", here.join("way-out")).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let _unix = UnixListener::bind(place.join("socket")).unwrap();
    let mut victim = Command::new("sleep").arg("60").spawn().unwrap();
    let args = ["--exact", "acts::the_child", "--ignored", "--nocapture", "--test-threads=1"];
    let mut environment = vec![
        (PLACE, place.display().to_string()),
        (VICTIM, victim.id().to_string()),
        (PORT, tcp.local_addr().unwrap().port().to_string()),
    ];
    let null = fs::File::open("/dev/null").unwrap();
    let stray = rustix::io::fcntl_dupfd_cloexec(&null, 77).unwrap();
    rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).unwrap();
    environment.push((STRAY, std::os::fd::AsRawFd::as_raw_fd(&stray).to_string()));
    let text = ended(&pool(settings), &job(&args, &here, &environment)).out;
    victim.kill().unwrap();
    victim.wait().unwrap();
    let found: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once("act|")?.1.split_once('|'))
        .map(|(name, result)| (name.to_owned(), result.to_owned()))
        .collect();
    let wanted = ALLOWED.len() + FORBIDDEN.len();
    assert_eq!(found.len(), wanted, "{text}");
    found
}

#[test]
fn every_forbidden_act_is_denied_in_a_cell() {
    let limits = Limits { memory: 512 << 20, cpu: 60 };
    let settings = Settings { limits, ..mode(Mode::Require) };
    let free = acts(mode(Mode::Off));
    let confined = acts(settings);
    eprintln!("\nas user {}\n{:46} {:44} in a cell", nix::unistd::geteuid(), "act", "without");
    for (name, _) in ALLOWED.iter().chain(FORBIDDEN) {
        eprintln!("{name:46} {:44} {}", free[*name], confined[*name]);
    }
    for (name, _) in ALLOWED {
        assert_eq!(confined[*name], "done", "{name}");
    }
    let escaped: Vec<_> =
        FORBIDDEN.iter().filter(|(name, _)| confined[*name] == "done").map(|(name, _)| name).collect();
    assert!(escaped.is_empty(), "{escaped:?}");
    // The acts are real ones: most of them succeed without a cell, as whatever user.
    let real = FORBIDDEN.iter().filter(|(name, _)| free[*name] == "done").count();
    assert!(real >= 27, "only {real} of {} can be done without a cell", FORBIDDEN.len());
}
