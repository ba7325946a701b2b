use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::model::repo_path::RepoPath;
use crate::store::{Settings, Store};

fn git(dir: &Path, args: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
        .args(args)
        .current_dir(dir)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{args:?}");
}

fn repository(init: &[&str]) -> (tempfile::TempDir, PathBuf, Store) {
    let dir = tempfile::tempdir().unwrap();
    let bare = dir.path().join("acme/app.git");
    std::fs::create_dir_all(&bare).unwrap();
    git(&bare, &[&["init", "-q", "--bare", "-b", "main", "."], init].concat());
    // The empty tree and a commit of it.
    git(&bare, &["hash-object", "-t", "tree", "-w", "/dev/null"]);
    let store = Store::new(&Settings { root: dir.path().to_owned(), owners: Vec::new() }).unwrap();
    (dir, bare, store)
}

fn commit(bare: &Path, text: &str) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost", "commit-tree", "-m", text])
        .arg("4b825dc642cb6eb9a060e54bf8d69288fbee4904")
        .current_dir(bare)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn look(store: &Store) -> Stamps {
    store.open(&RepoPath::parse("acme/app").unwrap()).unwrap().stamps().unwrap()
}

/// Waits until what was done is old enough for the next look to tell.
fn settle() {
    std::thread::sleep(2 * SLACK);
}

#[test]
fn every_way_to_change_refs_shows() {
    let (_dir, bare, store) = repository(&[]);
    let (one, two) = (commit(&bare, "one"), commit(&bare, "two"));
    git(&bare, &["update-ref", "refs/heads/main", &one]);
    git(&bare, &["update-ref", "refs/heads/other", &one]);
    settle();
    let mut last = look(&store);
    let in_place = bare.join("refs/heads/main");
    let steps: [(&str, &dyn Fn()); 7] = [
        ("by git", &|| git(&bare, &["update-ref", "refs/heads/main", &two])),
        // No directory changes, and the length is the same.
        ("in place", &|| std::fs::write(&in_place, format!("{one}\n")).unwrap()),
        ("a new folder", &|| git(&bare, &["update-ref", "refs/heads/a/b/c", &two])),
        ("a tag", &|| git(&bare, &["tag", "v1", &one])),
        ("deleted", &|| git(&bare, &["update-ref", "-d", "refs/heads/other"])),
        ("HEAD", &|| git(&bare, &["symbolic-ref", "HEAD", "refs/heads/a/b/c"])),
        ("packed", &|| git(&bare, &["pack-refs", "--all"])),
    ];
    for (what, step) in steps {
        assert_eq!(look(&store), last, "before: {what}");
        step();
        let now = look(&store);
        assert_ne!(now.refs, last.refs, "{what}");
        assert_eq!(now.repository, last.repository, "{what}");
        settle();
        last = look(&store);
    }
}

#[test]
fn with_reftable_too() {
    let probe = tempfile::tempdir().unwrap();
    let made = Command::new("git").args(["init", "-q", "--bare", "--ref-format=reftable"]).arg(probe.path()).output();
    // Before 2.45 there is none. Where every client has to be there, it has to.
    if !made.unwrap().status.success() {
        assert!(std::env::var_os("PULLGATE_INTEROP").is_none_or(|value| value != "require"), "this git is too old");
        return;
    }
    let (_dir, bare, store) = repository(&["--ref-format=reftable"]);
    let (one, two) = (commit(&bare, "one"), commit(&bare, "two"));
    git(&bare, &["update-ref", "refs/heads/main", &one]);
    let before = look(&store);
    git(&bare, &["update-ref", "refs/heads/main", &two]);
    assert_ne!(look(&store).refs, before.refs);
}

#[test]
fn what_changed_just_now_is_not_settled() {
    let (_dir, bare, store) = repository(&[]);
    git(&bare, &["update-ref", "refs/heads/main", &commit(&bare, "one")]);
    let now = SystemTime::now();
    let stamps = look(&store);
    assert!(!stamps.is_settled(now));
    assert!(stamps.is_settled(now + 2 * SLACK));
    // Stamps of whole seconds have to be older.
    let coarse = Stamps { whole_seconds: true, ..stamps };
    assert!(!coarse.is_settled(now + 2 * SLACK) && coarse.is_settled(now + Duration::from_secs(3)));
    // A clock that was set back, or a file from the future, is never trusted.
    assert!(!stamps.is_settled(now - Duration::from_secs(60)));
}

#[test]
fn configuration_and_packs_are_the_repository() {
    let (_dir, bare, store) = repository(&[]);
    git(&bare, &["update-ref", "refs/heads/main", &commit(&bare, "one")]);
    let mut last = look(&store).repository;
    for step in [&["config", "uploadpack.allowFilter", "false"][..], &["repack", "-qad"]] {
        git(&bare, step);
        let now = look(&store).repository;
        assert_ne!(now, last, "{step:?}");
        last = now;
    }
    let shallow = commit(&bare, "two");
    std::fs::write(bare.join("shallow"), format!("{shallow}\n")).unwrap();
    assert_ne!(look(&store).repository, last);
}

#[test]
fn what_cannot_be_watched_is_said_to_be_so() {
    let (_dir, bare, store) = repository(&[]);
    let why = || store.open(&RepoPath::parse("acme/app").unwrap()).unwrap().stamps().unwrap_err().0;
    std::os::unix::fs::symlink("main", bare.join("refs/heads/alias")).unwrap();
    assert_eq!(why(), "symlink");
    std::fs::remove_file(bare.join("refs/heads/alias")).unwrap();
    std::fs::write(bare.join("refs/heads/alias"), "ref: ORIG_HEAD\n").unwrap();
    assert_eq!(why(), "odd-ref");
    std::fs::remove_file(bare.join("refs/heads/alias")).unwrap();
    std::fs::create_dir_all(bare.join("refs/many")).unwrap();
    std::fs::write(bare.join("refs/many/0"), [b'0'; 41]).unwrap();
    for n in 1..=MOST {
        // A link is one entry of a folder and no work for the file system.
        std::fs::hard_link(bare.join("refs/many/0"), bare.join(format!("refs/many/{n}"))).unwrap();
    }
    assert_eq!(why(), "many-loose-refs");
    git(&bare, &["config", "include.path", "/etc/gitconfig"]);
    assert_eq!(why(), "config-includes");
}
