//! The same question asked of the gateway and of git on the folder, and the answers held against each other.

use std::path::{Path, PathBuf};

use super::kinds::{Clones, Kind};
use super::{base, git};
use crate::harness::{Gateway, Said, plain_git, run};
use crate::scene::same_id_in_the_audit;

/// `git ARGS… FOLDER MORE…`, and the same with the gateway's URL in the folder's place. Both clones have their own name.
fn both(gateway: &Gateway, key: &Path, repo: &str, args: &[&str], copies: Option<&[PathBuf; 2]>) -> [Said; 2] {
    // As a URL, so that git speaks its protocol and does not copy files.
    let folder = format!("file://{}", gateway.path(&format!("repositories/{repo}.git")).display());
    let (mut direct, mut through) = (plain_git(&base(gateway)), gateway.git_command(key));
    direct.args(args).arg(folder);
    through.args(args).arg(gateway.url(repo));
    if let Some([one, other]) = copies {
        direct.arg(one);
        through.arg(other);
    }
    [run(&mut direct), run(&mut through)]
}

/// `ls-remote` with each option: the same bytes, the same status.
#[track_caller]
pub(super) fn lists_alike(gateway: &Gateway, key: &Path, repo: &str, version: &str) {
    let config = format!("protocol.version={version}");
    for more in [&[][..], &["--symref"], &["--heads"], &["--tags", "--refs"]] {
        let args = [&["-c", config.as_str(), "ls-remote"], more].concat();
        let [direct, through] = both(gateway, key, repo, &args, None);
        assert!(direct.out == through.out, "{repo} v{version} {more:?}: {}", first_difference(&direct, &through));
        assert_eq!(direct.code, through.code, "{repo} v{version} {more:?}: {through:?}");
    }
}

/// Lists of 100,000 refs are not for a person to read.
fn first_difference(direct: &Said, through: &Said) -> String {
    let pairs = direct
        .out
        .lines()
        .map(Some)
        .chain(std::iter::repeat(None))
        .zip(through.out.lines().map(Some).chain(std::iter::repeat(None)));
    let at = pairs.take(direct.out.lines().count().max(through.out.lines().count())).find(|(a, b)| a != b);
    format!("{at:?}; {} and {}", direct.err, through.err)
}

/// A clone from the folder and one through the gateway, with these options: alike in all that a build could see, or refused as
/// the kind says. Gives the word for the table.
#[track_caller]
pub(super) fn clones_alike(gateway: &Gateway, key: &Path, kind: &Kind, version: &str, options: &[&str]) -> String {
    let what = format!("{} v{version} {options:?}", kind.repo);
    let config = format!("protocol.version={version}");
    let scratch = tempfile::tempdir_in(gateway.path("")).unwrap();
    let copies = [scratch.path().join("direct"), scratch.path().join("through")];
    let args = [&["-c", config.as_str(), "clone", "-q"], options].concat();
    let [direct, through] = both(gateway, key, &kind.repo, &args, Some(&copies));
    if kind.clones == Clones::Alike {
        assert_eq!((direct.code, through.code), (Some(0), Some(0)), "{what}: {direct:?}\n{through:?}");
        let [direct, through] = copies.map(|copy| seen(&copy));
        assert_eq!(direct, through, "{what}");
        return "same".to_owned();
    }
    // Where git itself cannot, it dies of a closed pipe at times; what matters is that it does not succeed.
    assert!(direct.code != Some(0) && through.code == Some(128), "{what}: {direct:?}\n{through:?}");
    assert!(!copies[1].exists(), "{what}: something was left behind");
    // The client names its own copy; nothing names the repository's place.
    assert!(!through.err.contains(base(gateway).join("repositories").to_str().unwrap()), "{what}: {through:?}");
    let ours = [
        "the repository cannot be served as it is; an operator of this gateway can see why [",
        // A ref whose object is gone cannot be told from an object that went while it was asked for.
        "that is not in the repository, or no more, as after a forced push; fetch again, and if that does not help, ask an \
         operator of this gateway [",
    ]
    .map(|sentence| format!("{}: {sentence}", kind.repo));
    let ours: Vec<&str> =
        through.err.lines().filter(|line| ours.iter().any(|sentence| line.contains(sentence))).collect();
    for line in &ours {
        same_id_in_the_audit(gateway, line, "repository");
    }
    match &kind.clones {
        Clones::Alike => unreachable!(),
        Clones::Refused(code) => {
            assert!(ours.len() == 1 && ours[0].contains(&format!("[{code}] (id ")), "{what}: {through:?}");
            format!("refused with [{code}]")
        }
        Clones::ClientRefuses(words) => {
            assert!(through.err == direct.err && through.err.contains(words), "{what}: {direct:?}\n{through:?}");
            "as the client refuses".to_owned()
        }
        Clones::GitRefuses(words) => {
            // Ours comes behind it, and a client that left at once does not hear it.
            let gits = format!("fatal: remote error: {words}");
            let rest: Vec<&str> = through.err.lines().filter(|line| *line != gits).collect();
            assert!(through.err.contains(&gits) && rest == ours, "{what}: {through:?}");
            "as git refuses".to_owned()
        }
    }
}

/// What a build could see of a clone.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    refs: String,
    /// The branch that HEAD names, born or not; nothing when it is detached.
    branch: (Option<i32>, String),
    /// The commit of HEAD; nothing when it is unborn.
    commit: (Option<i32>, String),
    shallow: Option<String>,
    objects: String,
}

/// Looks at a clone, and has git look through its objects.
#[track_caller]
fn seen(copy: &Path) -> Seen {
    let fsck = run(plain_git(copy).args(["fsck", "--strict", "--full"]));
    // An unborn HEAD and a repository without refs are noticed, and no faults.
    let notices = ["notice: HEAD points to an unborn branch", "notice: No default references"];
    let faults = fsck.err.lines().filter(|line| !notices.iter().any(|notice| line.starts_with(notice)));
    assert_eq!((fsck.code, faults.collect::<Vec<_>>()), (Some(0), vec![]), "{}", copy.display());
    let git_dir = git(copy, &["rev-parse", "--absolute-git-dir"]);
    let mut objects: Vec<_> =
        git(copy, &["rev-list", "--objects", "--no-object-names", "--all"]).lines().map(str::to_owned).collect();
    objects.sort();
    let said = |args: &[&str]| {
        let said = run(plain_git(copy).args(args));
        (said.code, said.out)
    };
    Seen {
        refs: git(copy, &["for-each-ref", "--format=%(objectname) %(refname) %(symref)"]),
        branch: said(&["symbolic-ref", "-q", "HEAD"]),
        commit: said(&["rev-parse", "-q", "--verify", "HEAD"]),
        shallow: std::fs::read_to_string(Path::new(git_dir.trim()).join("shallow")).ok(),
        objects: objects.join("\n"),
    }
}
