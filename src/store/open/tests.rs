use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::{Settings, sample};
use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for name in ["acme/app.git", "acme/base.git", "acme/backend/app.git", "other/app.git"] {
        sample::create(&root.join(name)).unwrap();
    }
    let store = Store::new(&Settings { root, owners: Vec::new() }).unwrap();
    (dir, store)
}

fn open(store: &Store, name: &str) -> Result<BareRepo, StoreError> {
    store.open(&RepoPath::parse(name).unwrap())
}

fn refused(store: &Store, name: &str) -> String {
    match open(store, name) {
        Err(StoreError::Unsafe(why)) => why,
        other => panic!("{name}: {other:?}"),
    }
}

fn borrow(root: &Path, name: &str, line: &str) {
    std::fs::create_dir_all(root.join(name).join("objects/info")).unwrap();
    std::fs::write(root.join(name).join("objects/info/alternates"), line).unwrap();
}

#[test]
fn what_is_there_is_opened_and_listed() {
    let (_dir, store) = store();
    let repo = open(&store, "acme/backend/app").unwrap();
    assert_eq!(repo.path(), store.root().join("acme/backend/app.git"));
    assert!(repo.borrows().is_empty());
    let summary = repo.summary().unwrap();
    assert_eq!((summary.head.as_deref(), summary.branches, summary.tags), (Some("main"), Some(2), Some(1)));
    let names = |account: Option<&str>| {
        let account = account.map(|a| crate::model::name::AccountName::parse(a).unwrap());
        store.list(account.as_ref()).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["acme/app", "acme/backend/app", "acme/base", "other/app"]);
    assert_eq!(names(Some("other")), ["other/app"]);
    assert!(names(Some("nobody")).is_empty());
}

#[test]
fn what_is_not_there_is_missing() {
    let (_dir, store) = store();
    std::fs::write(store.root().join("acme/file.git"), "").unwrap();
    for name in ["acme/nothing", "nobody/app", "acme/file", "acme/app/deeper"] {
        assert!(matches!(open(&store, name), Err(StoreError::Missing)), "{name}");
    }
    std::fs::create_dir(store.root().join("acme/empty.git")).unwrap();
    assert!(matches!(open(&store, "acme/empty"), Err(StoreError::NotBare(_))));
}

#[test]
fn a_store_without_its_root_cannot_say() {
    let (dir, store) = store();
    std::fs::rename(store.root(), dir.path().join("unmounted")).unwrap();
    assert!(matches!(open(&store, "acme/app"), Err(StoreError::Gone(_))));
}

#[test]
fn symbolic_links_are_never_followed() {
    let (dir, store) = store();
    let root = store.root().to_owned();
    symlink(root.join("other/app.git"), root.join("acme/link.git")).unwrap();
    symlink(root.join("other"), root.join("third")).unwrap();
    assert!(refused(&store, "acme/link").contains("symbolic link"));
    assert!(refused(&store, "third/app").contains("symbolic link"));
    for part in ["HEAD", "objects", "refs"] {
        let name = format!("acme/{}", part.to_lowercase());
        let made = root.join(format!("{name}.git"));
        sample::create(&made).unwrap();
        std::fs::rename(made.join(part), dir.path().join(part)).unwrap();
        symlink(dir.path().join(part), made.join(part)).unwrap();
        assert!(refused(&store, &name).contains("symbolic link"), "{part}");
    }
    assert!(!store.list(None).unwrap().iter().any(|r| r.as_str().contains("link") || r.account_str() == "third"));
}

#[test]
fn the_directory_stays_the_one_that_was_checked() {
    let (_dir, store) = store();
    let repo = open(&store, "acme/app").unwrap();
    std::fs::rename(repo.path(), store.root().join("acme/moved.git")).unwrap();
    symlink(store.root().join("other/app.git"), repo.path()).unwrap();
    let moved = std::fs::metadata(store.root().join("acme/moved.git")).unwrap();
    assert_eq!(fstat(repo.dir()).unwrap().st_ino, std::os::unix::fs::MetadataExt::ino(&moved));
}

#[test]
fn another_repository_by_commondir_is_refused() {
    let (_dir, store) = store();
    std::fs::write(store.root().join("acme/app.git/commondir"), "../base.git").unwrap();
    assert!(refused(&store, "acme/app").contains("commondir"));
}

#[test]
fn alternates_stay_in_the_account() {
    let (_dir, store) = store();
    let root = store.root().to_owned();
    let inside =
        ["../../base.git/objects\n".to_owned(), format!("# x\n{}\n", root.join("acme/base.git/objects").display())];
    for line in inside {
        borrow(&root, "acme/app.git", &line);
        let repo = open(&store, "acme/app").unwrap();
        assert_eq!(repo.borrows(), [RepoPath::parse("acme/base").unwrap()], "{line}");
    }
    let outside = [
        "../../../other/app.git/objects",
        "/etc",
        "../../../../elsewhere.git/objects",
        "../../nothing.git/objects",
        "../../base.git",
        "../../base/objects",
        "../../../../../../../../../../../../etc/objects",
        "\"../../base.git/objects\"",
    ];
    // One repository to who takes the line as it is, and another to git, which takes it apart behind the quote.
    let other = root.join("other/app.git/objects").display().to_string();
    let up = "../".repeat(other.split('/').count());
    let two = format!("\"{other}\"/{up}../../base.git/objects");
    let white = "../../base.git/objects\r\n".to_owned();
    for line in outside.map(str::to_owned).into_iter().chain([two, white]) {
        borrow(&root, "acme/app.git", &line);
        assert!(refused(&store, "acme/app").contains("borrows objects"), "{line}");
    }
}

#[test]
fn alternates_are_followed_to_their_end() {
    let (_dir, store) = store();
    let root = store.root().to_owned();
    borrow(&root, "acme/app.git", "../../base.git/objects");
    borrow(&root, "acme/base.git", "../../backend/app.git/objects");
    let names: Vec<_> = open(&store, "acme/app").unwrap().borrows().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["acme/backend/app", "acme/base"]);
    borrow(&root, "acme/backend/app.git", "../../../app.git/objects");
    assert!(open(&store, "acme/app").is_ok(), "a ring ends");
    borrow(&root, "acme/backend/app.git", "../../../../other/app.git/objects");
    assert!(refused(&store, "acme/app").contains("borrows objects"));
}

#[test]
fn few_repositories_may_be_borrowed_from() {
    let (_dir, store) = store();
    let root = store.root().to_owned();
    let mut lines = String::new();
    for n in 0..64 {
        sample::create(&root.join(format!("acme/pool{n}.git"))).unwrap();
        lines.push_str(&format!("../../pool{n}.git/objects\n"));
    }
    borrow(&root, "acme/app.git", &lines);
    assert_eq!(open(&store, "acme/app").unwrap().borrows().len(), 64);
    borrow(&root, "acme/app.git", &(lines + "../../base.git/objects\n"));
    assert!(refused(&store, "acme/app").contains("more than 64 repositories"));
}

#[test]
fn an_alternates_file_that_is_no_file_is_refused() {
    let (dir, store) = store();
    let info = store.root().join("acme/app.git/objects/info");
    std::fs::create_dir_all(&info).unwrap();
    symlink(dir.path().join("x"), info.join("alternates")).unwrap();
    assert!(refused(&store, "acme/app").contains("alternates is neither"));
    std::fs::remove_file(info.join("alternates")).unwrap();
    rustix::fs::mknodat(CWD, info.join("alternates"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert!(refused(&store, "acme/app").contains("alternates is neither"));
}

/// What a crash left of a repository is listed, with why it is not served.
#[test]
fn a_repository_that_lost_a_part_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    for part in ["HEAD", "objects", "refs"] {
        let name = format!("acme/without-{}", part.to_lowercase());
        let repo = dir.path().join(format!("{name}.git"));
        sample::create(&repo).unwrap();
        std::fs::rename(repo.join(part), dir.path().join(part)).unwrap();
        let store = Store::new(&Settings { root: dir.path().to_owned(), owners: Vec::new() }).unwrap();
        let name = RepoPath::parse(&name).unwrap();
        assert!(store.list(None).unwrap().contains(&name));
        assert!(matches!(store.open(&name), Err(StoreError::NotBare(_))));
    }
    std::fs::create_dir(dir.path().join("acme/empty.git")).unwrap();
    let store = Store::new(&Settings { root: dir.path().to_owned(), owners: Vec::new() }).unwrap();
    assert_eq!(store.list(None).unwrap().len(), 3, "a folder of nothing is none");
}
