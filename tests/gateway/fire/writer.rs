//! The one who changes the repository: by pushes, by git's own upkeep, and by hand in the files.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;

use super::book::Book;
use super::refs::{Refs, refs_of_v2};
use crate::harness::plain_git;

/// Numbers that are the same again for the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // xorshift64*, by Vigna.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Runs git and gives its output; a failure is the test's.
pub(super) fn git(dir: &Path, args: &[&str]) -> Result<String, String> {
    said(plain_git(dir).args(args))
}

pub(super) fn said(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// What git itself answers for a repository on disk: everything that it says in version 2.
pub(super) fn truth(bare: &Path) -> Result<Refs, String> {
    const ASK: &[u8] = b"0014command=ls-refs\n00010009peel\n000csymrefs\n000bunborn\n0000";
    let mut git = plain_git(bare);
    git.args(["upload-pack", "--stateless-rpc", "."]).env("GIT_PROTOCOL", "version=2");
    let mut child = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    child.stdin.take().unwrap().write_all(ASK).map_err(|e| e.to_string())?;
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let (mut rest, mut lines) = (output.stdout.as_slice(), Vec::new());
    while let Some((digits, more)) = rest.split_at_checked(4) {
        let length = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        match length {
            Some(0) => return refs_of_v2(&lines),
            Some(length) if length >= 4 => {
                let (line, more) = more.split_at_checked(length - 4).ok_or("a short line")?;
                lines.push(Bytes::copy_from_slice(line));
                rest = more;
            }
            _ => break,
        }
    }
    Err(format!("git upload-pack ended early: {}", output.status))
}

/// The branches that come and go. Names of one length, so that what is written in place fits.
const BRANCHES: [&str; 8] = ["bra", "brb", "brc", "brd", "bre", "deep/x", "deep/y", "hid"];
const TAGS: [&str; 4] = ["t1", "t2", "t3", "t4"];

pub(super) struct Writer {
    bare: PathBuf,
    work: PathBuf,
    dice: Dice,
    commits: Vec<String>,
}

impl Writer {
    /// Fills a bare repository that is there and makes a work tree beside it.
    pub(super) fn new(bare: &Path, work: &Path, dice: Dice) -> Result<Self, String> {
        fs::create_dir_all(work).map_err(|e| e.to_string())?;
        git(work, &["init", "-q", "-b", "main"])?;
        git(work, &["remote", "add", "origin", bare.to_str().unwrap()])?;
        let mut writer = Self { bare: bare.to_owned(), work: work.to_owned(), dice, commits: Vec::new() };
        for _ in 0..8 {
            writer.commit()?;
        }
        let tip = writer.commits.last().unwrap().clone();
        let older = writer.commits[2].clone();
        git(work, &["push", "-q", "origin", &format!("{tip}:refs/heads/main"), &format!("{older}:refs/heads/next")])?;
        git(work, &["push", "-q", "origin", &format!("{older}:refs/heads/bra"), &format!("{tip}:refs/tags/t1")])?;
        git(bare, &["symbolic-ref", "HEAD", "refs/heads/main"])?;
        git(bare, &["symbolic-ref", "refs/heads/alias", "refs/heads/main"])?;
        // git's upkeep may come by itself after a push; here it comes when the dice say so, within an operation.
        git(bare, &["config", "receive.autogc", "false"])?;
        git(bare, &["config", "gc.auto", "0"])?;
        // HEAD may name a branch that goes.
        git(bare, &["config", "receive.denyDeleteCurrent", "ignore"])?;
        Ok(writer)
    }

    fn commit(&mut self) -> Result<String, String> {
        let n = self.commits.len();
        let file = self.work.join(format!("file{}", n % 7));
        fs::write(&file, format!("line of {n}\n").repeat(40 + self.dice.below(200))).map_err(|e| e.to_string())?;
        git(&self.work, &["add", "."])?;
        git(&self.work, &["commit", "-q", "-m", &format!("Change {n}")])?;
        let oid = git(&self.work, &["rev-parse", "HEAD"])?.trim().to_owned();
        self.commits.push(oid.clone());
        Ok(oid)
    }

    /// A commit that the bare repository has.
    fn known(&mut self) -> Result<String, String> {
        let tips: Vec<String> = truth(&self.bare)?
            .into_iter()
            .filter(|(name, tip)| name.starts_with("refs/heads/") && tip.peeled.is_none())
            .map(|(_, tip)| tip.oid)
            .collect();
        let tip = self.dice.pick(&tips).clone();
        let all = git(&self.bare, &["rev-list", "-n", "6", &tip])?;
        let all: Vec<&str> = all.lines().collect();
        Ok((*self.dice.pick(&all)).to_owned())
    }

    /// Changes things until told to stop, and writes down what and when.
    pub(super) fn run(mut self, book: &Book, stop: &dyn Fn() -> bool) -> Result<(), String> {
        while !stop() {
            let pause = match self.dice.below(40) {
                // Long enough for a file system with whole seconds to be trusted again.
                0 => 2500,
                1..=3 => 300,
                4..=20 => self.dice.below(60),
                _ => self.dice.below(8),
            };
            std::thread::sleep(Duration::from_millis(u64::try_from(pause).unwrap()));
            // What has to be made ready is made ready before the clock of the operation starts.
            let planned = self.plan()?;
            let begin = book.begin();
            let what = planned.what.clone();
            (planned.act)().map_err(|why| format!("the writer: {what}: {why}"))?;
            book.write(&what, begin, &truth(&self.bare)?);
        }
        Ok(())
    }

    fn plan(&mut self) -> Result<Planned, String> {
        let branch = *self.dice.pick(&BRANCHES);
        let name = format!("refs/heads/{branch}");
        let bare = self.bare.clone();
        let run = |what: &'static str, dir: &Path, args: &[&str]| {
            let (dir, args) = (dir.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
            Ok(Planned {
                what: format!("{what}: git {}", args.join(" ")),
                act: Box::new(move || {
                    match git(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>()) {
                        // What is not there cannot go, says git.
                        Err(why) if !what.ends_with("goes") || !why.contains("remote ref does not exist") => Err(why),
                        Ok(_) | Err(_) => Ok(()),
                    }
                }),
            })
        };
        match self.dice.below(34) {
            0..=4 => {
                let oid = self.commit()?;
                let to = if self.dice.below(2) == 0 { "refs/heads/main" } else { &name };
                run("a push", &self.work, &["push", "-q", "--force", "origin", &format!("{oid}:{to}")])
            }
            5 => {
                let (oid, other) = (self.commit()?, self.dice.pick(&self.commits.clone()).clone());
                let one = format!("{oid}:refs/heads/next");
                let (two, three) = (format!("{other}:refs/heads/brd"), format!("{oid}:refs/heads/bre"));
                run("a push of three", &self.work, &["push", "-q", "--force", "origin", &one, &two, &three])
            }
            6..=7 => {
                let tag = *self.dice.pick(&TAGS);
                let oid = self.dice.pick(&self.commits.clone()).clone();
                git(&self.work, &["tag", "-f", "-m", "a tag", tag, &oid])?;
                run("a tag", &self.work, &["push", "-q", "--force", "origin", &format!("refs/tags/{tag}")])
            }
            8 => run(
                "a tag goes",
                &self.work,
                &["push", "-q", "origin", &format!(":refs/tags/{}", self.dice.pick(&TAGS))],
            ),
            9..=11 => run("a branch goes", &self.work, &["push", "-q", "origin", &format!(":{name}")]),
            12..=13 => run("update-ref", &bare, &["update-ref", &name, &self.known()?]),
            14..=15 => run("upkeep", &bare, &["pack-refs", "--all"]),
            16 => run("upkeep", &bare, &["repack", "-q", "-d", "-l"]),
            17 => run("upkeep", &bare, &["repack", "-q", "-A", "-d", "-b"]),
            18 => run("upkeep", &bare, &["gc", "-q"]),
            19 => run("upkeep", &bare, &["commit-graph", "write", "--reachable"]),
            20..=23 => self.in_place(&name),
            24..=25 => self.packed_in_place(),
            26..=27 => self.by_rename(&name),
            28 => Ok(Planned::hand(format!("rm {name}"), move || match fs::remove_file(bare.join(&name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })),
            29 => self.head_in_place(),
            30 => {
                {
                    // The last of them may not be there.
                    let to = format!("refs/heads/{}", self.dice.pick(&["main", "next", "brc"]));
                    run("HEAD", &bare, &["symbolic-ref", "HEAD", &to])
                }
            }
            31 => {
                let to = format!("refs/heads/{}", self.dice.pick(&["main", "next"]));
                run("a symbolic ref", &bare, &["symbolic-ref", "refs/heads/alias", &to])
            }
            32 => run(
                "config",
                &bare,
                &["config", "uploadpack.hideRefs", *self.dice.pick(&["refs/heads/hid", "refs/none/at"])],
            ),
            _ => self.config_in_place(),
        }
    }

    /// A loose ref is written where it is: the folder does not change, and neither do the size nor the inode.
    fn in_place(&mut self, name: &str) -> Result<Planned, String> {
        let (path, oid) = (self.bare.join(name), self.known()?);
        if !path.exists() {
            return self.by_rename(name);
        }
        Ok(Planned::hand(format!("{name} in place, {}", &oid[..8]), move || {
            File::options().write(true).open(&path)?.write_all_at(format!("{oid}\n").as_bytes(), 0)
        }))
    }

    /// A file is moved into place, with the times of the one before it, as a careful copying tool does.
    fn by_rename(&mut self, name: &str) -> Result<Planned, String> {
        let (path, oid, fresh) = (self.bare.join(name), self.known()?, self.bare.join("hand-written"));
        let keep_times = self.dice.below(2) == 0;
        Ok(Planned::hand(format!("{name} by rename, {}, old times: {keep_times}", &oid[..8]), move || {
            fs::create_dir_all(path.parent().unwrap())?;
            fs::write(&fresh, format!("{oid}\n"))?;
            if keep_times && let Ok(meta) = fs::metadata(&path) {
                File::options().write(true).open(&fresh)?.set_modified(meta.modified()?)?;
            }
            // A folder in the ref's place, empty or not, is left alone: git would say no as well.
            if path.is_dir() { fs::remove_file(&fresh) } else { fs::rename(&fresh, &path) }
        }))
    }

    /// One object name in `packed-refs` becomes another, with nothing else changed.
    fn packed_in_place(&mut self) -> Result<Planned, String> {
        let (path, oid) = (self.bare.join("packed-refs"), self.known()?);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> =
            text.lines().filter(|line| line.len() > 41 && line[40..].starts_with(" refs/heads/")).collect();
        if lines.is_empty() {
            return self.in_place("refs/heads/bra");
        }
        let line = (*self.dice.pick(&lines)).to_owned();
        let at = u64::try_from(text.find(&line).unwrap()).unwrap();
        Ok(Planned::hand(format!("packed-refs in place, {}, {}", &line[41..], &oid[..8]), move || {
            File::options().write(true).open(&path)?.write_all_at(oid.as_bytes(), at)
        }))
    }

    fn head_in_place(&mut self) -> Result<Planned, String> {
        let path = self.bare.join("HEAD");
        // In place means that the length stays: both names have four letters, others have three.
        let long = fs::read_to_string(&path).map_err(|e| e.to_string())?.len() == "ref: refs/heads/main\n".len();
        let to = *self.dice.pick(if long { &["main", "next"] } else { &["brc", "bra"] });
        Ok(Planned::hand(format!("HEAD in place, {to}"), move || {
            File::options().write(true).open(&path)?.write_all_at(format!("ref: refs/heads/{to}\n").as_bytes(), 0)
        }))
    }

    /// The name of a hidden branch changes within the file.
    fn config_in_place(&mut self) -> Result<Planned, String> {
        let path = self.bare.join("config");
        let text = fs::read_to_string(&path).map_err(|e| e.to_string())?;
        let (old, new) = ("hideRefs = refs/heads/hid", "hideRefs = refs/heads/bra");
        let (from, to) = if text.contains(new) { (new, old) } else { (old, new) };
        let Some(at) = text.find(from).and_then(|at| u64::try_from(at).ok()) else { return self.head_in_place() };
        Ok(Planned::hand(format!("config in place, {to}"), move || {
            File::options().write(true).open(&path)?.write_all_at(to.as_bytes(), at)
        }))
    }
}

struct Planned {
    what: String,
    act: Box<dyn FnOnce() -> Result<(), String>>,
}

impl Planned {
    fn hand(what: String, act: impl FnOnce() -> std::io::Result<()> + 'static) -> Self {
        Self { what: format!("by hand: {what}"), act: Box::new(|| act().map_err(|e| e.to_string())) }
    }
}
