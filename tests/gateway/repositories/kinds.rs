//! One repository of each kind that a store may hold, and what is to become of a clone of it.

use std::path::Path;

use super::{base, git};
use crate::harness::{Gateway, can_init};

/// What has to become of a clone. A list of refs is the same in every case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clones {
    /// As from the folder.
    Alike,
    /// git cannot serve it from the folder either; through the gateway a sentence with this code tells of it.
    Refused(&'static str),
    /// git itself says these words as its error line, from the folder and through the gateway.
    GitRefuses(String),
    /// git serves it as it is, damage and all, and the client finds it: these words, and not one more through the gateway.
    ClientRefuses(&'static str),
}

/// A kind of repository.
pub(super) struct Kind {
    /// As the table calls it.
    pub(super) name: &'static str,
    /// The repository.
    pub(super) repo: String,
    pub(super) clones: Clones,
    /// Protocol versions in which it is mirrored too; a repository with very many refs is not in each.
    pub(super) mirrored: &'static [&'static str],
}

const ALL: &[&str] = &["0", "1", "2"];

fn kind(name: &'static str, repo: impl Into<String>) -> Kind {
    Kind { name, repo: repo.into(), clones: Clones::Alike, mirrored: ALL }
}

/// Makes one of each in the store; leaves those out that this git cannot make, and says so.
pub(super) fn make(gateway: &Gateway) -> Vec<Kind> {
    let bare = |name: &str| gateway.path(&format!("repositories/{name}.git"));
    let mut kinds = vec![kind("SHA-1", "acme/sha1")];
    gateway.repo("acme/sha1");
    let formats: [(_, _, &[&str]); 3] = [
        ("SHA-256", "acme/sha256", &["--object-format=sha256"]),
        ("reftable", "acme/reftable", &["--ref-format=reftable"]),
        ("SHA-256 and reftable", "acme/both", &["--object-format=sha256", "--ref-format=reftable"]),
    ];
    for (name, repo, init) in formats {
        if can_init(init) {
            gateway.repo_with(repo, init);
            kinds.push(kind(name, repo));
        }
    }

    let url = format!("file://{}", bare("acme/sha1").display());
    git(&base(gateway), &["clone", "-q", "--bare", "--depth=2", &url, bare("acme/shallow").to_str().unwrap()]);
    assert!(bare("acme/shallow").join("shallow").exists());
    kinds.push(kind("shallow", "acme/shallow"));

    let (lender, borrower) = (bare("acme/sha1"), bare("acme/borrower"));
    let ends = [lender.to_str().unwrap(), borrower.to_str().unwrap()];
    git(&base(gateway), &[&["clone", "-q", "--bare", "--shared"][..], &ends].concat());
    assert!(borrower.join("objects/info/alternates").exists());
    gateway.commit(&borrower, "own", "of the borrower\n");
    kinds.push(kind("with alternates in one account", "acme/borrower"));

    git(&base(gateway), &["init", "-q", "--bare", "-b", "trunk", bare("acme/empty").to_str().unwrap()]);
    kinds.push(kind("empty", "acme/empty"));

    many_refs(&gateway.repo("acme/many"));
    // Two files of seven megabytes are written by each mirror; twice is enough.
    kinds.push(Kind { mirrored: &["0", "2"], ..kind("100,000 refs", "acme/many") });

    git(&gateway.repo("acme/unborn"), &["symbolic-ref", "HEAD", "refs/heads/not-yet"]);
    kinds.push(kind("unborn HEAD", "acme/unborn"));

    let detached = gateway.repo("acme/detached");
    git(&detached, &["update-ref", "--no-deref", "HEAD", "main~1"]);
    assert!(!std::fs::read_to_string(detached.join("HEAD")).unwrap().starts_with("ref:"));
    kinds.push(kind("detached HEAD", "acme/detached"));

    // Both are in the list of refs, where git puts zeros for the first; a clone asks for all of it.
    let broken =
        [("broken ref: no hash", "garbage", "not a hash", "0"), ("broken ref: no object", "dangling", "", "1")];
    for (name, broken, content, digit) in broken {
        let (repo, listed) = (format!("acme/{broken}"), digit.repeat(40));
        let content = if content.is_empty() { &listed } else { content };
        std::fs::write(gateway.repo(&repo).join("refs/heads").join(broken), format!("{content}\n")).unwrap();
        let clones = Clones::GitRefuses(format!("upload-pack: not our ref {listed}"));
        kinds.push(Kind { clones, ..kind(name, repo) });
    }

    // What is in a file, git sends without a look at it; a commit it has to read.
    corrupt(&gateway.repo("acme/corrupt-file"), "main:file3");
    let clones = Clones::ClientRefuses("fatal: pack has bad object at offset ");
    kinds.push(Kind { clones, ..kind("corrupt pack: a file", "acme/corrupt-file") });
    corrupt(&gateway.repo("acme/corrupt-commit"), "main~1");
    kinds.push(Kind { clones: Clones::Refused("repository"), ..kind("corrupt pack: a commit", "acme/corrupt-commit") });

    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    let names = [
        ("every legal character", letters.to_owned()),
        ("a name with a dot, a dash, a score", "a.b_c-d".to_owned()),
        ("a name that is a digit", "9".to_owned()),
        ("a name with .git inside", "x.git.y".to_owned()),
        ("the longest name", "x".repeat(100)),
        ("nested paths", "1/2/3/4/5/6/7".to_owned()),
    ];
    for (name, repo) in names {
        let repo = format!("acme/{repo}");
        gateway.repo(&repo);
        kinds.push(kind(name, repo));
    }
    kinds
}

/// Adds 100,000 refs beside the branches, all to one commit.
fn many_refs(folder: &Path) {
    let tip = git(folder, &["rev-parse", "main"]);
    git(folder, &["pack-refs", "--all"]);
    let own = std::fs::read_to_string(folder.join("packed-refs")).unwrap();
    let (first, own) = own.split_once('\n').unwrap();
    assert!(first.contains("sorted"), "{first}");
    // In the order of their names, which is what the first line promises; the branches come after.
    let lines: String = (0..100_000).map(|n| format!("{} refs/changes/{n:06}\n", tip.trim())).collect();
    std::fs::write(folder.join("packed-refs"), format!("{first}\n{lines}{own}")).unwrap();
}

/// Puts everything into one pack, and turns over the bytes of one object in it, behind their header.
fn corrupt(folder: &Path, object: &str) {
    git(folder, &["repack", "-adq"]);
    let mut files = std::fs::read_dir(folder.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let pack = files.find(|path| path.extension().is_some_and(|end| end == "pack")).unwrap();
    let name = git(folder, &["rev-parse", object]);
    let listed = git(folder, &["verify-pack", "-v", pack.to_str().unwrap()]);
    // NAME TYPE SIZE SIZE-IN-PACK OFFSET
    let words: Vec<&str> =
        listed.lines().find(|line| line.starts_with(name.trim())).unwrap().split_whitespace().collect();
    let (size, offset): (usize, usize) = (words[3].parse().unwrap(), words[4].parse().unwrap());
    let mut bytes = std::fs::read(&pack).unwrap();
    for byte in &mut bytes[offset + 4..offset + size] {
        *byte ^= 0xff;
    }
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, bytes).unwrap();
}
