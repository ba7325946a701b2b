//! Repositories whose owner wants more than to have them served: what they get without a cell, and with one.
//!
//! `just cell-test` prints the table, as root and as an ordinary user.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Gateway, plain_git, run};

/// In an object of a repository that is not granted.
const FOREIGN: &str = "TOP-SECRET-OBJECT";
/// In a file outside of the store.
const OUTSIDE: &str = "OUTSIDE-SECRET-LINE";
/// The deadline for silence, in seconds: for the FIFOs, and far more than git needs for anything else on a busy machine.
const DEADLINE: u64 = 8;
/// What a repository that is served may be slower than the good one, besides: in times, and in seconds.
const SLOWER: u32 = 20;
const MARGIN: Duration = Duration::from_secs(10);

/// What there is to steal.
struct Prey {
    /// The repository that is not granted.
    secret: PathBuf,
    /// The name of its secret object.
    object: String,
    /// A file outside of the store.
    outside: PathBuf,
    /// Made by a command that must not run.
    pwned: PathBuf,
}

/// What came of one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Served,
    Refused,
    TimedOut,
    Leaked,
    RanACommand,
    /// The file system or the user cannot make such a repository here.
    NotMade,
}

/// Makes a good repository hostile; `false` when that cannot be done here.
type Make = fn(&Path, &Prey) -> bool;

const CASES: &[(&str, Make)] = &[
    ("nothing (the control)", |_, _| true),
    ("hooks, all executable", hooks),
    ("config: packObjectsHook", |bare, prey| {
        config(bare, &format!("[uploadpack]\npackObjectsHook = {}", script(bare, prey)))
    }),
    ("config: fsmonitor, sshCommand, pager, editor", |bare, prey| {
        let script = script(bare, prey);
        config(
            bare,
            &format!(
                "[core]\nfsmonitor = {script}\nsshCommand = {script}\npager = {script}\neditor = {script}\ngitProxy = {script}"
            ),
        )
    }),
    ("config: alternateRefsCommand", |bare, prey| {
        config(bare, &format!("[core]\nalternateRefsCommand = {}", script(bare, prey)))
    }),
    ("config: hooksPath, filters, textconv", |bare, prey| {
        let script = script(bare, prey);
        let text = format!(
            "[core]\nhooksPath = {}\n[filter \"x\"]\nsmudge = {script}\nclean = {script}\nprocess = {script}\n[diff \"x\"]\ntextconv = {script}",
            bare.display()
        );
        std::fs::create_dir_all(bare.join("info")).unwrap();
        std::fs::write(bare.join("info/attributes"), "* filter=x diff=x\n").unwrap();
        config(bare, &text)
    }),
    ("config: promisor remote by ext::", |bare, prey| {
        let url = format!("ext::{}", script(bare, prey));
        remove_objects(bare);
        config(
            bare,
            &format!(
                "[remote \"origin\"]\nurl = {url}\npromisor = true\n[extensions]\npartialClone = origin\n[protocol]\nallow = always"
            ),
        )
    }),
    ("config: include.path outside, a config", |bare, prey| {
        let file = prey.outside.with_extension("conf");
        std::fs::write(&file, format!("[uploadpack]\nhideRefs = refs/{OUTSIDE}\n[user]\nname = {OUTSIDE}\n")).unwrap();
        config(bare, &format!("[include]\npath = {}", file.display()))
    }),
    ("config: include.path outside, no config", |bare, prey| {
        config(bare, &format!("[include]\npath = {}", prey.outside.display()))
    }),
    ("config: worktree elsewhere", |bare, prey| {
        config(bare, &format!("[core]\nbare = false\nworktree = {}", prey.secret.display()))
    }),
    ("config is a link outside", |bare, prey| link(&prey.outside, &bare.join("config"))),
    ("alternates: outside of the store", |bare, prey| alternates(bare, prey.outside.parent().unwrap())),
    ("alternates: a repository without a grant", |bare, prey| alternates(bare, &prey.secret.join("objects"))),
    ("alternates file is a link", |bare, prey| {
        let file = prey.outside.with_extension("alternates");
        std::fs::write(&file, format!("{}\n", prey.secret.join("objects").display())).unwrap();
        std::fs::create_dir_all(bare.join("objects/info")).unwrap();
        link(&file, &bare.join("objects/info/alternates"))
    }),
    ("commondir names another repository", |bare, prey| {
        write(&bare.join("commondir"), &format!("{}\n", prey.secret.display()))
    }),
    (".git file names another repository", |bare, prey| {
        write(&bare.join(".git"), &format!("gitdir: {}\n", prey.secret.display()))
    }),
    ("gitdir file and a worktree", |bare, prey| {
        std::fs::create_dir_all(bare.join("worktrees/x")).unwrap();
        write(&bare.join("gitdir"), &format!("{}\n", prey.secret.display()))
            && write(&bare.join("worktrees/x/gitdir"), &format!("{}\n", prey.secret.display()))
            && link(&prey.outside, &bare.join("worktrees/x/HEAD"))
    }),
    ("an object is a link into another repository", |bare, prey| {
        let (folder, file) = prey.object.split_at(2);
        std::fs::create_dir_all(bare.join("objects").join(folder)).unwrap();
        link(&prey.secret.join("objects").join(folder).join(file), &bare.join("objects").join(folder).join(file))
    }),
    ("an object folder is a link", |bare, prey| {
        let folder = &prey.object[..2];
        link(&prey.secret.join("objects").join(folder), &bare.join("objects").join(folder))
    }),
    ("objects is a link", |bare, prey| link(&prey.secret.join("objects"), &bare.join("objects"))),
    ("refs/heads is a link into another repository", |bare, prey| {
        link(&prey.secret.join("refs/heads"), &bare.join("refs/heads"))
    }),
    ("a ref is a link outside", |bare, prey| link(&prey.outside, &bare.join("refs/heads/leak"))),
    ("packed-refs is a link outside", |bare, prey| link(&prey.outside, &bare.join("packed-refs"))),
    ("HEAD is a link outside", |bare, prey| link(&prey.outside, &bare.join("HEAD"))),
    ("shallow is a link outside", |bare, prey| link(&prey.outside, &bare.join("shallow"))),
    ("a ref's name climbs out", |bare, _| write(&bare.join("HEAD"), "ref: refs/heads/../../../../outside/secret\n")),
    ("packed-refs is a FIFO", |bare, _| fifo(&bare.join("packed-refs"))),
    ("config is a FIFO", |bare, _| fifo(&bare.join("config"))),
    ("alternates is a FIFO", |bare, _| fifo(&bare.join("objects/info/alternates"))),
    ("a ref is a FIFO", |bare, _| fifo(&bare.join("refs/heads/wait"))),
    ("packed-refs is a device (endless zeros)", |bare, _| device(&bare.join("packed-refs"))),
    ("a ref is a device (endless zeros)", |bare, _| device(&bare.join("refs/heads/zeros"))),
    ("a ref is a socket", |bare, _| socket(&bare.join("refs/heads/socket"))),
    ("an object is a FIFO", |bare, _| {
        let tip = run(plain_git(bare).args(["rev-parse", "main"])).ok();
        let (folder, file) = tip.trim().split_at(2);
        fifo(&bare.join("objects").join(folder).join(file))
    }),
    ("the index of a pack is a FIFO", |bare, _| {
        let pack = bare.join(format!("objects/pack/pack-{}", "1".repeat(40)));
        write(&pack.with_extension("pack"), "PACK") && fifo(&pack.with_extension("idx"))
    }),
    ("config.worktree is a link outside", |bare, prey| {
        let file = prey.outside.with_extension("worktree");
        std::fs::write(&file, format!("[core]\nworktree = {}\n", prey.secret.display())).unwrap();
        config(bare, "[core]\nrepositoryformatversion = 1\n[extensions]\nworktreeConfig = true")
            && link(&file, &bare.join("config.worktree"))
    }),
    ("20,000 refs", many_refs),
];

fn write(path: &Path, text: &str) -> bool {
    std::fs::write(path, text).is_ok()
}

fn config(bare: &Path, text: &str) -> bool {
    let old = std::fs::read_to_string(bare.join("config")).unwrap();
    write(&bare.join("config"), &format!("{old}{text}\n"))
}

/// A command that tells of itself.
fn script(bare: &Path, prey: &Prey) -> String {
    let path = bare.join("run-me");
    std::fs::write(&path, format!("#!/bin/sh\ntouch {}\nexec \"$@\"\n", prey.pwned.display())).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn hooks(bare: &Path, prey: &Prey) -> bool {
    let script = script(bare, prey);
    std::fs::create_dir_all(bare.join("hooks")).unwrap();
    [
        "post-update",
        "pre-receive",
        "update",
        "pre-upload-pack",
        "post-upload-pack",
        "reference-transaction",
        "post-checkout",
        "pre-auto-gc",
        "fsmonitor-watchman",
    ]
    .iter()
    .all(|hook| std::fs::copy(&script, bare.join("hooks").join(hook)).is_ok())
}

fn alternates(bare: &Path, objects: &Path) -> bool {
    std::fs::create_dir_all(bare.join("objects/info")).unwrap();
    write(&bare.join("objects/info/alternates"), &format!("{}\n", objects.display()))
}

fn link(target: &Path, at: &Path) -> bool {
    if at.is_dir() {
        std::fs::remove_dir_all(at).unwrap();
    } else if at.exists() {
        std::fs::remove_file(at).unwrap();
    }
    symlink(target, at).is_ok()
}

fn fifo(at: &Path) -> bool {
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::remove_file(at).ok();
    Command::new("mkfifo").arg(at).status().unwrap().success() && at.metadata().unwrap().file_type().is_fifo()
}

fn socket(at: &Path) -> bool {
    std::os::unix::net::UnixListener::bind(at).is_ok()
}

fn device(at: &Path) -> bool {
    std::fs::remove_file(at).ok();
    Command::new("mknod").arg(at).args(["c", "1", "5"]).output().unwrap().status.success()
        && std::fs::File::open(at).is_ok()
}

/// A partial clone's state: what it lacks it would ask its remote for.
fn remove_objects(bare: &Path) {
    run(plain_git(bare).args(["repack", "-adq"])).ok();
    let blob = run(plain_git(bare).args(["rev-parse", "main:file1"])).ok();
    run(plain_git(bare).args(["unpack-objects", "-q"])).code.unwrap();
    let packs = bare.join("objects/pack");
    let unpack = |pack: &Path| {
        let moved = bare.join("moved.pack");
        std::fs::rename(pack, &moved).unwrap();
        let mut git = plain_git(bare);
        let status = git.args(["unpack-objects", "-q"]).stdin(std::fs::File::open(&moved).unwrap()).status().unwrap();
        assert!(status.success());
    };
    for entry in std::fs::read_dir(&packs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "pack") {
            unpack(&path);
        }
    }
    let (folder, file) = blob.trim().split_at(2);
    std::fs::remove_file(bare.join("objects").join(folder).join(file)).unwrap();
}

fn many_refs(bare: &Path, _: &Prey) -> bool {
    let tip = run(plain_git(bare).args(["rev-parse", "main"])).ok();
    let lines: String = (0..20_000).map(|n| format!("{} refs/tags/t{n:07}\n", tip.trim())).collect();
    write(&bare.join("packed-refs"), &format!("# pack-refs with: peeled fully-peeled sorted \n{lines}"))
}

/// A gateway with prey in it, and every case as a repository of its own.
fn table(mode: &str) -> Vec<(&'static str, Outcome)> {
    let mut gateway = Gateway::start_with(|config| {
        let config = config.replace("mode = \"require\"", &format!("mode = \"{mode}\""));
        assert!(config.contains(&format!("mode = \"{mode}\"")));
        config.replace("negotiation_seconds = 300", &format!("negotiation_seconds = {DEADLINE}"))
    });
    let secret = gateway.repo("other/secret");
    gateway.commit(&secret, "secret", FOREIGN);
    let object = run(plain_git(&secret).args(["rev-parse", "main:secret"])).ok().trim().to_owned();
    let outside = gateway.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let outside = outside.join("secret");
    std::fs::write(&outside, format!("{OUTSIDE}\n")).unwrap();
    let prey = Prey { secret, object, outside, pwned: gateway.path("PWNED") };
    let key = gateway.key("thief", &["acme/*"]);
    let model = gateway.repo("acme/model");
    // How fast this machine is just now; the first time is for what is done once.
    let mut pace = Duration::ZERO;
    for _ in 0..2 {
        let start = Instant::now();
        gateway.git(&key, &["ls-remote", &gateway.url("acme/model")]).ok();
        pace = start.elapsed();
    }
    let attack = |(n, (name, make)): (usize, &(&'static str, Make))| {
        let repo = format!("acme/h{n}");
        let bare = gateway.path(&format!("repositories/{repo}.git"));
        run(Command::new("cp").arg("-r").args([&model, &bare])).ok();
        (*name, if make(&bare, &prey) { outcome(&gateway, &key, &repo, &prey, pace) } else { Outcome::NotMade })
    };
    let outcomes = CASES.iter().enumerate().map(attack).collect();
    // Operators see all of them at once, and nothing of that keeps the daemon from its end.
    let listed = gateway.pullgate(["repo", "list"]).ok();
    assert!(CASES.len() > 10 && !listed.contains(FOREIGN) && !listed.contains(OUTSIDE), "{listed}");
    assert_eq!(gateway.stop(), Some(0));
    // The trap closes when it is stepped on.
    let trap = script(gateway.path("").as_path(), &prey);
    run(&mut Command::new(trap)).ok();
    assert!(prey.pwned.exists());
    outcomes
}

/// Asks as a thief would: everything that is advertised, and the secret by its name; then looks at all that was said.
fn outcome(gateway: &Gateway, key: &Path, repo: &str, prey: &Prey, pace: Duration) -> Outcome {
    let (log, url) = (gateway.log().len(), gateway.url(repo));
    let work = tempfile::tempdir_in(gateway.path("")).unwrap();
    let at = |name: &str| work.path().join(name).display().to_string();
    let start = Instant::now();
    let listed = gateway.git(key, &["ls-remote", &url]);
    let took = start.elapsed();
    // Not for ever, nor until the command is given up: in its own time, or by the gateway's clock. A slow machine makes both longer.
    let most = Duration::from_secs(DEADLINE) + SLOWER * pace + MARGIN;
    assert!(took < most, "{repo}: {took:?}, where a good one takes {pace:?}");
    let late = listed.err.contains("nothing moved for too long");
    // An operator's look at it happens in the daemon itself.
    let shown = gateway.pullgate(["repo", "show", repo]);
    let granted = gateway.pullgate(["key", "grant", "acme/thief", repo]);
    let mut all = vec![listed, shown, granted];
    let mut whole = false;
    if late {
        assert!(took >= Duration::from_secs(DEADLINE), "{repo}: {took:?}");
    } else {
        let cloned = gateway.git(key, &["clone", "-q", "--mirror", &url, &at("all")]);
        whole = cloned.code == Some(0);
        run(plain_git(work.path()).args(["init", "-q", "--bare", "one"])).ok();
        let one = gateway.git(key, &["-C", &at("one"), "fetch", "-q", &url, &prey.object]);
        all.extend([cloned, one, run(plain_git(work.path()).args(["-C", "one", "cat-file", "-p", &prey.object]))]);
    }
    let said: String = all.iter().map(|said| format!("{}{}", said.out, said.err)).collect();
    let logged = gateway.log().split_off(log);
    if prey.pwned.exists() {
        std::fs::remove_file(&prey.pwned).unwrap();
        Outcome::RanACommand
    } else if [&said, &logged].iter().any(|text| text.contains(FOREIGN) || text.contains(OUTSIDE)) {
        Outcome::Leaked
    } else if late {
        Outcome::TimedOut
    } else if whole {
        Outcome::Served
    } else {
        Outcome::Refused
    }
}

#[test]
fn hostile_repositories_get_nothing_in_a_cell() {
    let (off, require) = std::thread::scope(|scope| {
        let off = scope.spawn(|| table("off"));
        let require = scope.spawn(|| table("require"));
        (off.join().unwrap(), require.join().unwrap())
    });
    eprintln!("\nas user {}\n{:46} {:12} require", rustix::process::geteuid().as_raw(), "repository", "off");
    for ((name, off), (_, require)) in off.iter().zip(&require) {
        eprintln!("{name:46} {:12} {require:?}", format!("{off:?}"));
    }
    let bad = |outcome: &Outcome| matches!(outcome, Outcome::Leaked | Outcome::RanACommand);
    let lost: Vec<_> = require.iter().filter(|(_, outcome)| bad(outcome)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(require[0].1, Outcome::Served);
    // The test can see a theft: without a cell there are some.
    assert!(off.iter().filter(|(_, outcome)| bad(outcome)).count() >= 2, "{off:?}");
}
