//! Repositories of every kind: what a client sees through the gateway is what git says about the folder, byte for byte.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Gateway, Said, can_init, plain_git, run};

const VERSIONS: [&str; 3] = ["0", "1", "2"];

/// A gateway, and a key that may fetch all of `acme`.
fn site() -> (Gateway, PathBuf) {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &["acme/**"]);
    (gateway, key)
}

#[track_caller]
fn git(dir: &Path, args: &[&str]) -> String {
    run(plain_git(dir).args(args)).ok()
}

/// `ls-remote` of the folder and of the gateway, the same way.
fn both(gateway: &Gateway, key: &Path, name: &str, version: &str, more: &[&str]) -> (Said, Said) {
    let config = format!("protocol.version={version}");
    let args = [&["-c", config.as_str(), "ls-remote"], more].concat();
    let folder = gateway.path(&format!("repositories/{name}.git"));
    let direct = run(plain_git(&gateway.path("")).args(&args).arg(folder));
    let through = run(gateway.git_command(key).args(&args).arg(gateway.url(name)));
    (direct, through)
}

/// In every version and with each option: the same bytes.
#[track_caller]
fn lists_alike(gateway: &Gateway, key: &Path, name: &str) {
    for version in VERSIONS {
        for more in [&[][..], &["--symref"], &["--heads"], &["--tags", "--refs"]] {
            let (direct, through) = both(gateway, key, name, version, more);
            assert!(direct.out == through.out, "{name} v{version} {more:?}:\n{direct:?}\n{through:?}");
            assert_eq!(direct.code, through.code, "{name} v{version} {more:?}: {through:?}");
        }
    }
}

/// A mirror by each version has the same refs, and every object is in order.
#[track_caller]
fn clones_alike(gateway: &Gateway, key: &Path, name: &str) {
    let folder = gateway.path(&format!("repositories/{name}.git"));
    let wanted = git(&folder, &["for-each-ref", "--format=%(objectname) %(refname)"]);
    for version in VERSIONS {
        let (config, copy) = (format!("protocol.version={version}"), format!("{}-{version}", name.replace('/', "-")));
        gateway.git(key, &["-c", &config, "clone", "-q", "--mirror", &gateway.url(name), &copy]).ok();
        let copy = gateway.path(&copy);
        git(&copy, &["fsck", "--strict"]);
        assert_eq!(git(&copy, &["for-each-ref", "--format=%(objectname) %(refname)"]), wanted, "{name} v{version}");
    }
}

#[test]
fn sha256_and_reftable() {
    let (gateway, key) = site();
    for (name, init) in [("acme/sha256", "--object-format=sha256"), ("acme/reftable", "--ref-format=reftable")] {
        if !can_init(&[init]) {
            continue;
        }
        gateway.repo_with(name, &[init]);
        lists_alike(&gateway, &key, name);
        clones_alike(&gateway, &key, name);
    }
}

#[test]
fn shallow_in_the_store() {
    let (gateway, key) = site();
    let full = gateway.repo("acme/full");
    let folder = gateway.path("repositories/acme/shallow.git");
    let url = format!("file://{}", full.display());
    git(&gateway.path(""), &["clone", "-q", "--bare", "--depth=2", &url, folder.to_str().unwrap()]);
    assert!(folder.join("shallow").exists());
    lists_alike(&gateway, &key, "acme/shallow");
    clones_alike(&gateway, &key, "acme/shallow");
}

#[test]
fn borrowed_objects_of_the_same_account() {
    let (gateway, key) = site();
    let lender = gateway.repo("acme/lender");
    let folder = gateway.path("repositories/acme/borrower.git");
    git(&gateway.path(""), &["clone", "-q", "--bare", "--shared", lender.to_str().unwrap(), folder.to_str().unwrap()]);
    assert!(folder.join("objects/info/alternates").exists());
    gateway.commit(&folder, "own", "of the borrower\n");
    lists_alike(&gateway, &key, "acme/borrower");
    clones_alike(&gateway, &key, "acme/borrower");
    let narrow = gateway.key("narrow", &["acme/borrower"]);
    let said = gateway.git(&narrow, &["ls-remote", &gateway.url("acme/borrower")]).failed();
    assert!(said.contains("[shared-objects]"), "{said}");
}

#[test]
fn empty_unborn_and_detached() {
    let (gateway, key) = site();
    let empty = gateway.path("repositories/acme/empty.git");
    git(&gateway.path(""), &["init", "-q", "--bare", "-b", "trunk", empty.to_str().unwrap()]);
    lists_alike(&gateway, &key, "acme/empty");
    clones_alike(&gateway, &key, "acme/empty");

    let unborn = gateway.repo("acme/unborn");
    git(&unborn, &["symbolic-ref", "HEAD", "refs/heads/not-yet"]);
    lists_alike(&gateway, &key, "acme/unborn");
    clones_alike(&gateway, &key, "acme/unborn");

    let detached = gateway.repo("acme/detached");
    git(&detached, &["update-ref", "--no-deref", "HEAD", "main~1"]);
    assert!(!std::fs::read_to_string(detached.join("HEAD")).unwrap().starts_with("ref:"));
    lists_alike(&gateway, &key, "acme/detached");
    clones_alike(&gateway, &key, "acme/detached");
}

#[test]
fn a_hundred_thousand_refs() {
    let (gateway, key) = site();
    let folder = gateway.repo("acme/many");
    let tip = git(&folder, &["rev-parse", "main"]);
    let tip = tip.trim();
    let mut packed = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    git(&folder, &["pack-refs", "--all"]);
    packed.extend((0..100_000).map(|n| format!("{tip} refs/changes/{:02}/{n:06}\n", n % 100)).collect::<Vec<_>>());
    // Its own lines come after ours in the order of names; git sorts a file that says so itself.
    let own = std::fs::read_to_string(folder.join("packed-refs")).unwrap();
    let mut lines: Vec<&str> = packed.lines().skip(1).collect();
    lines.sort_by_key(|line| line.split_once(' ').unwrap().1);
    let own: Vec<&str> = own.lines().skip(1).collect();
    let text = format!("{}\n{}\n{}\n", packed.lines().next().unwrap(), lines.join("\n"), own.join("\n"));
    std::fs::write(folder.join("packed-refs"), text).unwrap();
    for version in VERSIONS {
        let (direct, through) = both(&gateway, &key, "acme/many", version, &[]);
        assert!(direct.out.lines().count() > 100_000, "{}", direct.out.lines().count());
        assert!(direct.out == through.out, "v{version}: {} lines", through.out.lines().count());
    }
    // What a build does with such a repository: one branch of it, and nothing else.
    gateway.git(&key, &["clone", "-q", "--single-branch", "--no-tags", &gateway.url("acme/many"), "many"]).ok();
    git(&gateway.path("many"), &["fsck", "--strict"]);
}

#[test]
fn a_broken_ref() {
    let (gateway, key) = site();
    let folder = gateway.repo("acme/broken-ref");
    std::fs::write(folder.join("refs/heads/garbage"), "not a hash\n").unwrap();
    std::fs::write(folder.join("refs/heads/dangling"), format!("{}\n", "1".repeat(40))).unwrap();
    for version in VERSIONS {
        let (direct, through) = both(&gateway, &key, "acme/broken-ref", version, &[]);
        assert!(direct.out == through.out, "v{version}:\n{direct:?}\n{through:?}");
        assert_eq!(direct.code == Some(0), through.code == Some(0), "v{version}: {through:?}");
    }
}

#[test]
fn a_corrupt_pack() {
    let (gateway, key) = site();
    let folder = gateway.repo("acme/corrupt");
    git(&folder, &["repack", "-adq"]);
    let packs = std::fs::read_dir(folder.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let pack = packs.into_iter().find(|path| path.extension().is_some_and(|end| end == "pack")).unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    // Behind the header: in the middle of the objects.
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle - 40..middle + 40] {
        *byte ^= 0xff;
    }
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, bytes).unwrap();
    for version in VERSIONS {
        let (direct, through) = both(&gateway, &key, "acme/corrupt", version, &[]);
        assert_eq!((direct.code, direct.out), (through.code, through.out), "v{version}: {}", through.err);
        let config = format!("protocol.version={version}");
        let args = ["-c", &config, "clone", "-q", &gateway.url("acme/corrupt"), "corrupt"];
        let said = gateway.git(&key, &args).failed();
        assert!(!gateway.path("corrupt").exists(), "something was left behind");
        assert!(!said.contains(gateway.path("").to_str().unwrap()), "{said}");
    }
}

#[test]
fn names_with_every_legal_character_and_nested_paths() {
    let (gateway, key) = site();
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    let deepest = "acme/1/2/3/4/5/6/7";
    let longest = format!("acme/{}", "x".repeat(100));
    for name in [&format!("acme/{letters}"), "acme/a.b_c-d", "acme/9", "acme/x.git.y", deepest, &longest] {
        gateway.repo(name);
        lists_alike(&gateway, &key, name);
        // A clone's own folder may not be as long as a repository's name.
        gateway.git(&key, &["clone", "-q", &gateway.url(name), "copy"]).ok();
        git(&gateway.path("copy"), &["fsck", "--strict"]);
        std::fs::remove_dir_all(gateway.path("copy")).unwrap();
    }
}

/// Repacked and pushed to, over and over, while clones run: each clone is whole, and its tip is one that was there.
#[test]
fn repacked_and_pushed_to_during_clones() {
    let (gateway, key) = site();
    let folder = gateway.repo("acme/busy");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Acquire) {
                gateway.commit(&folder, &format!("more{rounds}"), &format!("{rounds}\n").repeat(1000));
                git(&folder, &["repack", "-adq"]);
                git(&folder, &["pack-refs", "--all"]);
                git(&folder, &["prune", "--expire=now"]);
                rounds += 1;
            }
            rounds
        });
        for n in 0..12 {
            let (config, copy) = (format!("protocol.version={}", n % 3), format!("busy{n}"));
            let depth: &[&str] = if n % 2 == 0 { &[] } else { &["--depth=1"] };
            let url = gateway.url("acme/busy");
            let args = [&["-c", &config, "clone", "-q"], depth, &[&url, &copy]].concat();
            gateway.git(&key, &args).ok();
            git(&gateway.path(&copy), &["fsck", "--strict"]);
            let tip = git(&gateway.path(&copy), &["rev-parse", "HEAD"]);
            git(&folder, &["merge-base", "--is-ancestor", tip.trim(), "main"]);
        }
        done.store(true, Ordering::Release);
        assert!(busy.join().unwrap() > 1, "nothing happened while it was cloned");
    });
    lists_alike(&gateway, &key, "acme/busy");
}
