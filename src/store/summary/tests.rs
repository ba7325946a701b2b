use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::model::repo_path::RepoPath;
use crate::store::{Settings, Store, sample};

fn scene() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("acme/app.git");
    sample::create(&repo).unwrap();
    (dir, repo)
}

fn summary(root: &Path) -> Summary {
    let store = Store::new(&Settings { root: root.to_owned(), owners: Vec::new() }).unwrap();
    store.open(&RepoPath::parse("acme/app").unwrap()).unwrap().summary().unwrap()
}

#[test]
fn refs_are_counted_once_wherever_they_are() {
    let (dir, repo) = scene();
    let before = summary(dir.path());
    assert_eq!((before.head.as_deref(), before.unread.as_deref()), (Some("main"), None), "{before:?}");
    let (branches, tags) = (before.branches.unwrap(), before.tags.unwrap());
    let object = "0123456789012345678901234567890123456789";
    // One of them is in a file of its own as well; other refs and peeled objects are neither.
    let packed = format!(
        "# pack-refs with: peeled fully-peeled sorted \n{object} refs/heads/main\n{object} refs/heads/packed\n\
         {object} refs/tags/v9\n^{object}\n{object} refs/pull/1/head\n"
    );
    fs::write(repo.join("packed-refs"), packed).unwrap();
    fs::create_dir_all(repo.join("refs/heads/deep/er")).unwrap();
    fs::write(repo.join("refs/heads/deep/er/one"), format!("{object}\n")).unwrap();
    let after = summary(dir.path());
    assert_eq!((after.branches, after.tags), (Some(branches + 2), Some(tags + 1)), "{after:?}");
    fs::write(repo.join("HEAD"), format!("{object}\n")).unwrap();
    assert_eq!(summary(dir.path()).head, None);
}

#[test]
fn a_head_is_broken_where_git_says_so() {
    let (dir, repo) = scene();
    let object = "0123456789012345678901234567890123456789";
    let half = "012345678901234567890123";
    for head in [
        "ref: refs/heads/main\n",
        "ref:refs/heads/main",
        "ref: \t refs/heads/none\n",
        "ref: heads/main\n",
        "ref: ",
        "",
        "nonsense\n",
        "REF: refs/heads/main\n",
        object,
        &format!("{object}\n"),
        &format!("{object}{half}\n"),
        half,
    ] {
        fs::write(repo.join("HEAD"), head).unwrap();
        let git =
            std::process::Command::new("git").arg("--git-dir").arg(&repo).args(["rev-parse", "--git-dir"]).output();
        assert_eq!(summary(dir.path()).broken.is_none(), git.unwrap().status.success(), "{head:?}");
    }
}

#[test]
fn what_cannot_be_read_is_said_and_nothing_is_waited_for_or_followed() {
    let (dir, repo) = scene();
    let outside = dir.path().join("outside");
    fs::write(&outside, "0123456789012345678901234567890123456789 refs/heads/secret\n").unwrap();
    // Its configuration is nobody's business here: this one would be waited for for ever.
    fs::remove_file(repo.join("config")).unwrap();
    fifo(&repo.join("config"));
    assert_eq!(summary(dir.path()).unread, None);
    let packed = repo.join("packed-refs");
    fifo(&packed);
    assert_eq!(summary(dir.path()).unread.as_deref(), Some("its packed-refs is no file that can be read"));
    fs::remove_file(&packed).unwrap();
    symlink(&outside, &packed).unwrap();
    let found = summary(dir.path());
    assert!(found.branches.is_none() && found.unread.is_some(), "{found:?}");
    fs::remove_file(&packed).unwrap();
    symlink(dir.path(), repo.join("refs/heads/elsewhere")).unwrap();
    assert_eq!(summary(dir.path()).unread, None);
    fs::create_dir(repo.join("reftable")).unwrap();
    assert!(summary(dir.path()).unread.unwrap().contains("reftable"));
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
}
