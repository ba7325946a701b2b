//! Which git serves, and where: the distribution's, one that was built here, one in a folder of its own, and one in a root
//! of its own, as a container has. Each fetch is a real one, in the cell.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{Gateway, program, run};

/// A clone and a fetch of old and new protocols, which need a pack and so git's own children.
fn serves(gateway: &Gateway, key: &Path, name: &str) {
    for version in ["0", "2"] {
        let (copy, protocol) = (format!("{name}{version}"), format!("protocol.version={version}"));
        gateway.git(key, &["-c", &protocol, "clone", "-q", "--bare", &gateway.url("acme/app"), &copy]).ok();
        assert!(gateway.path(&copy).join("HEAD").exists());
    }
}

/// Whether the daemon's log names this program, and a whole cell around it.
#[track_caller]
fn is_confined(gateway: &Gateway, git: &Path, since: usize) {
    let log = gateway.log().split_off(since);
    assert!(log.contains(&format!("program={}", git.display())), "{}: {log}", git.display());
    assert!(log.contains("git is confined") && !log.contains("NOT"), "{log}");
}

fn git_in(folder: &Path) -> Option<PathBuf> {
    folder.join("git").canonicalize().ok()
}

/// A gateway that finds this folder's git alone, and keeps nothing, so that git works for each fetch.
fn with_path(gateway: &mut Gateway, folder: &Path) -> usize {
    gateway.stop();
    let since = gateway.log().len();
    let mut command = Command::new(program());
    command.env("PATH", folder);
    gateway.resume_as(command);
    since
}

fn always_git(config: String) -> String {
    assert!(config.contains("enabled = true"), "{config}");
    config.replace("enabled = true", "enabled = false")
}

/// The different gits of this machine, with the folder in which each is found: of the PATH, and where distributions and builds
/// put them.
fn gits() -> BTreeMap<PathBuf, PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    let usual = ["/usr/bin", "/usr/local/bin", "/opt/git/bin"].map(PathBuf::from);
    let folders = usual.into_iter().chain(std::env::split_paths(&path).filter(|folder| folder.is_absolute()));
    let mut found = BTreeMap::new();
    for folder in folders {
        // A script that starts another git is that one again.
        if let Some(git) = git_in(&folder).filter(|git| is_a_program(git)) {
            found.entry(git).or_insert(folder);
        }
    }
    found
}

fn is_a_program(path: &Path) -> bool {
    let mut start = [0; 4];
    std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok()) && start == *b"\x7fELF"
}

#[test]
fn every_git_of_this_machine_serves_in_its_cell() {
    let gits = gits();
    // Where every client has to be there, as in CI, a second git is a part of that.
    let least = if std::env::var_os("PULLGATE_INTEROP").is_some_and(|value| value == "require") { 2 } else { 1 };
    let versions: BTreeSet<_> = gits.keys().map(|git| run(Command::new(git).arg("--version")).ok()).collect();
    assert!(versions.len() >= least, "not {least} different gits: {versions:?} in {gits:?}");
    let mut gateway = Gateway::start_with(always_git);
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    for (n, (git, folder)) in gits.iter().enumerate() {
        let since = with_path(&mut gateway, folder);
        serves(&gateway, &key, &format!("copy{n}-"));
        is_confined(&gateway, git, since);
    }
    eprintln!("served with {:?}", gits.keys());
}

#[test]
fn a_git_in_a_folder_of_its_own_serves_in_its_cell() {
    let mut gateway = Gateway::start_with(always_git);
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    // As a build with another prefix: the program, and beside it the folder of its commands, which it is told of by a
    // script, since a program cannot be given another prefix after it was built.
    let place = gateway.path("").canonicalize().unwrap().join("own git");
    let (bin, commands) = (place.join("bin"), place.join("libexec"));
    for folder in [&bin, &commands] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap()).find_map(|folder| git_in(&folder)).unwrap();
    let own = commands.join("git");
    std::fs::copy(&found, &own).unwrap();
    let script = format!("#!/bin/sh\nGIT_EXEC_PATH='{}' exec '{}' \"$@\"\n", commands.display(), own.display());
    std::fs::write(bin.join("git"), script).unwrap();
    std::fs::set_permissions(bin.join("git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let since = with_path(&mut gateway, &bin);
    serves(&gateway, &key, "copy");
    let log = gateway.log().split_off(since);
    assert!(log.contains("own git/libexec/git") && log.contains("git is confined"), "{log}");
}

/// Copies a program into another root, with what it is linked with and the loader.
fn install(program: &Path, at: &Path, root: &Path) {
    let target = root.join(at.strip_prefix("/").unwrap());
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::copy(program, target).unwrap();
    let linked = run(Command::new("ldd").arg(program)).ok();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
        let target = root.join(library.strip_prefix("/").unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(library, target).unwrap();
    }
}

/// What a container without a distribution in it is to the gateway: a root with its program, git and their libraries, its
/// own mounts, and nothing else. No shell, no loader's cache, no users.
/// As while its package is replaced: it is not the repository that is at fault.
#[test]
fn a_git_that_is_gone_is_no_fault_of_the_repository() {
    let mut gateway = Gateway::start_with(always_git);
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let folder = gateway.path("bin");
    std::fs::create_dir(&folder).unwrap();
    let (git, aside) = (folder.join("git"), folder.join("aside"));
    std::fs::copy(gits().into_keys().next().unwrap(), &git).unwrap();
    with_path(&mut gateway, &folder);
    let url = gateway.url("acme/app");
    gateway.git(&key, &["ls-remote", &url]).ok();
    std::fs::rename(&git, &aside).unwrap();
    for version in ["0", "2"] {
        let said = gateway.git(&key, &["-c", &format!("protocol.version={version}"), "ls-remote", &url]).failed();
        assert!(said.contains("[unavailable]") && !said.contains("git cannot"), "{said}");
        crate::scene::same_id_in_the_audit(&gateway, &said, "unavailable");
    }
    std::fs::rename(&aside, &git).unwrap();
    gateway.git(&key, &["ls-remote", &url]).ok();
}

#[test]
fn a_gateway_in_a_root_of_its_own_serves_in_its_cell() {
    let possible = run(Command::new("unshare").args(["--mount", "true"])).code == Some(0);
    if !rustix::process::geteuid().is_root() || !possible {
        eprintln!("not run: only root can make mounts and another root");
        return;
    }
    let mut gateway = Gateway::start_with(always_git);
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    gateway.stop();
    let since = gateway.log().len();
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let (git, commands) = (git_in(Path::new("/usr/bin")), run(Command::new("/usr/bin/git").arg("--exec-path")));
    let Some(git) = git.filter(|_| commands.code == Some(0)) else {
        eprintln!("not run: this machine has no git in /usr/bin");
        return;
    };
    install(Path::new(program()), Path::new("/pullgate"), &root);
    install(&git, &git, &root);
    install(&git, &Path::new(commands.out.trim()).join("git"), &root);
    // The gateway's folder has the same name there, so that its clients find everything where it says that it is.
    let here = gateway.path("").canonicalize().unwrap();
    for folder in ["dev".into(), "proc".into(), here.strip_prefix("/").unwrap().to_owned()] as [PathBuf; 3] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let mounts = "set -e; mount --make-rprivate /; mount -t proc proc \"$0/proc\"; mount --rbind /dev \"$0/dev\"; \
                  mount --bind \"$1\" \"$0$1\"; shift; exec chroot \"$0\" /pullgate \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", mounts]).args([&root, &here]);
    gateway.resume_as(command);
    serves(&gateway, &key, "copy");
    is_confined(&gateway, &git, since);
    assert_eq!(std::fs::read_link(format!("/proc/{}/root", gateway.pid())).unwrap(), root);
    gateway.stop();
}
