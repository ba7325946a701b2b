//! The repositories: made once, always the same, and kept below `target`.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Grows when what is made changes, so that an older one is made again.
const RECIPE: &str = "recipe-1";

/// A repository and what the clients of the works ask of it.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    /// Its name below `acme/`.
    pub(crate) name: String,
    /// What HEAD is.
    pub(crate) tip: String,
    /// An ancestor of it, some commits back.
    pub(crate) older: String,
    /// Every object that a branch or a tag names.
    pub(crate) all: Vec<String>,
    pub(crate) refs: usize,
    pub(crate) pack_bytes: u64,
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("git: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("git {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Makes what is not there yet below `root/acme`, or takes a copy of the repository at `given` for the large one.
pub(crate) fn prepare(root: &Path, given: Option<&Path>, quick: bool) -> Result<Vec<Repo>, String> {
    let acme = root.join("acme");
    fs::create_dir_all(&acme).map_err(|e| e.to_string())?;
    let mut names = Vec::new();
    for refs in if quick { vec![10, 10_000] } else { vec![10, 10_000, 100_000] } {
        let name = format!("refs{refs}");
        make(&acme, &name, |dir| small(dir, refs))?;
        names.push(name);
    }
    let large = if given.is_some() { "given" } else { "large" };
    match given {
        Some(path) => {
            let (from, to) = (path.to_str().ok_or("no text")?, acme.join("given.git"));
            fs::remove_dir_all(&to).ok();
            // Objects become hard links where that is possible; nothing is written to the one that was given.
            git(&acme, &["clone", "-q", "--mirror", "--local", from, "given.git"])?;
        }
        None => make(&acme, large, synthetic)?,
    }
    names.push(large.to_owned());
    names.into_iter().map(|name| describe(&acme, name)).collect()
}

/// Makes the smallest one alone.
#[allow(dead_code, reason = "the benchmark of the transport uses it")]
pub(crate) fn few(root: &Path) -> Result<Repo, String> {
    let acme = root.join("acme");
    fs::create_dir_all(&acme).map_err(|e| e.to_string())?;
    make(&acme, "refs10", |dir| small(dir, 10))?;
    describe(&acme, "refs10".to_owned())
}

/// Makes a repository of 256 MB that no compression makes smaller: git does little more than copy it.
#[allow(dead_code, reason = "the benchmark of the transport uses it")]
pub(crate) fn bulk(root: &Path) -> Result<Repo, String> {
    let acme = root.join("acme");
    fs::create_dir_all(&acme).map_err(|e| e.to_string())?;
    make(&acme, "bulk", |dir| {
        import(dir, |to| {
            let mut dice = Dice(11);
            for n in 1..=16 {
                commit(to, n)?;
                file(to, &format!("noise{n}"), &dice.noise(16 << 20))?;
            }
            Ok(())
        })?;
        finish(dir)
    })?;
    describe(&acme, "bulk".to_owned())
}

fn make(acme: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    let dir = acme.join(format!("{name}.git"));
    if fs::read_to_string(dir.join("description")).is_ok_and(|text| text == RECIPE) {
        return Ok(());
    }
    eprintln!("making {name} …");
    fs::remove_dir_all(&dir).ok();
    git(acme, &["init", "-q", "--bare", "-b", "main", &format!("{name}.git")])?;
    fill(&dir)?;
    fs::write(dir.join("description"), RECIPE).map_err(|e| e.to_string())
}

fn describe(acme: &Path, name: String) -> Result<Repo, String> {
    let dir = acme.join(format!("{name}.git"));
    let tip = git(&dir, &["rev-parse", "HEAD"])?;
    let older = git(&dir, &["rev-parse", "HEAD~10"])?;
    let listed = git(&dir, &["for-each-ref", "--format=%(objectname)", "refs/heads", "refs/tags"])?;
    let refs = listed.lines().count();
    let mut all: Vec<String> = listed.lines().map(str::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    let packs = fs::read_dir(dir.join("objects/pack")).map_err(|e| e.to_string())?;
    let pack_bytes = packs
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "pack"))
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum();
    Ok(Repo { name, tip, older, all, refs, pack_bytes })
}

/// The dice of Vigna's xorshift64*: the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() >> 33) as usize % bound
    }

    /// Text as programs have it: few words, often repeated.
    fn text(&mut self, lines: usize) -> Vec<String> {
        const PARTS: [&str; 16] =
            ["ab", "con", "de", "ex", "fi", "ing", "la", "ment", "no", "per", "re", "set", "tion", "un", "val", "wor"];
        let mut line = |_| {
            let words = 4 + self.below(7);
            let mut text = String::new();
            for _ in 0..words {
                // A word is one of some thousands.
                let mut number = self.below(64) * self.below(64);
                text.push(' ');
                for _ in 0..3 {
                    text.push_str(PARTS[number % 16]);
                    number /= 16;
                }
            }
            text.push('\n');
            text
        };
        (0..lines).map(&mut line).collect()
    }

    fn noise(&mut self, bytes: usize) -> Vec<u8> {
        (0..bytes / 8).flat_map(|_| self.roll().to_le_bytes()).collect()
    }
}

/// Feeds `git fast-import`.
fn import(dir: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), String> {
    let mut child = Command::new("git")
        .current_dir(dir)
        .args(["fast-import", "--quiet", "--done"])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut stdin = BufWriter::new(child.stdin.take().expect("piped"));
    write(&mut stdin)
        .and_then(|()| stdin.write_all(b"done\n"))
        .and_then(|()| stdin.flush())
        .map_err(|e| e.to_string())?;
    drop(stdin);
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("git fast-import: {other:?}")),
    }
}

fn commit(to: &mut dyn Write, n: usize) -> std::io::Result<()> {
    let message = format!("Change {n}\n");
    let time = 1_600_000_000 + n * 3600;
    writeln!(to, "commit refs/heads/main\nmark :{n}\ncommitter Tester <tester@localhost> {time} +0000")?;
    write!(to, "data {}\n{message}", message.len())
}

fn file(to: &mut dyn Write, path: &str, bytes: &[u8]) -> std::io::Result<()> {
    writeln!(to, "M 100644 inline {path}\ndata {}", bytes.len())?;
    to.write_all(bytes)?;
    writeln!(to)
}

fn finish(dir: &Path) -> Result<(), String> {
    git(dir, &["pack-refs", "--all"])?;
    git(dir, &["-c", "pack.threads=2", "repack", "-q", "-adbF"])?;
    git(dir, &["commit-graph", "write", "--reachable"]).map(|_| ())
}

/// Some hundred commits, and this many refs on them: half branches, half tags.
fn small(dir: &Path, refs: usize) -> Result<(), String> {
    import(dir, |to| {
        let mut dice = Dice(7);
        for n in 1..=300 {
            commit(to, n)?;
            file(to, &format!("file{}", n % 9), dice.text(60).concat().as_bytes())?;
        }
        for n in 0..refs - 1 {
            let kind = if n % 2 == 0 { "heads" } else { "tags" };
            writeln!(to, "reset refs/{kind}/team-{}/number-{n}\nfrom :{}\n", n % 50, 1 + n % 300)?;
        }
        Ok(())
    })?;
    finish(dir)
}

/// About 100 MB: text in files that change by lines, and pictures that change as a whole; 10,000 refs along the way.
fn synthetic(dir: &Path) -> Result<(), String> {
    const COMMITS: usize = 4000;
    const TEXTS: usize = 3000;
    const PICTURES: usize = 90;
    import(dir, |to| {
        let mut dice = Dice(42);
        let mut texts: Vec<Vec<String>> = (0..TEXTS)
            .map(|_| {
                let lines = 60 + dice.below(500);
                dice.text(lines)
            })
            .collect();
        for n in 1..=COMMITS {
            commit(to, n)?;
            let changed: Vec<usize> =
                if n == 1 { (0..TEXTS).collect() } else { (0..4).map(|_| dice.below(TEXTS)).collect() };
            for which in changed {
                let lines = &mut texts[which];
                if n > 1 {
                    let (at, many) = (dice.below(lines.len()), 1 + dice.below(6));
                    let fresh = dice.text(many);
                    let end = (at + dice.below(4)).min(lines.len());
                    drop(lines.splice(at..end, fresh));
                }
                file(
                    to,
                    &format!("src/room{}/part{}/file{which}.txt", which % 20, which % 7),
                    lines.concat().as_bytes(),
                )?;
            }
            let pictures: Vec<usize> = match n {
                1 => (0..PICTURES).collect(),
                _ if n % 8 == 0 => vec![dice.below(PICTURES)],
                _ => Vec::new(),
            };
            for which in pictures {
                let bytes = 20_000 + dice.below(160_000);
                file(to, &format!("pictures/{which}.bin"), &dice.noise(bytes))?;
            }
            writeln!(to)?;
        }
        for n in 0..500 {
            writeln!(to, "reset refs/heads/topic/{n}\nfrom :{}\n", 1 + dice.below(COMMITS))?;
        }
        for n in 0..9000 {
            writeln!(to, "reset refs/tags/build-{n}\nfrom :{}\n", 1 + dice.below(COMMITS))?;
        }
        for n in 0..499 {
            let at = 1 + dice.below(COMMITS);
            writeln!(to, "tag v{n}\nfrom :{at}\ntagger Tester <tester@localhost> 1700000000 +0000\ndata 8\nRelease\n")?;
        }
        Ok(())
    })?;
    finish(dir)
}

/// Copies of all of them for a server that writes into its repositories.
pub(crate) fn copies(from: &Path, to: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(to).map_err(|e| e.to_string())?;
    let entries = fs::read_dir(from.join("acme")).map_err(|e| e.to_string())?;
    fs::create_dir_all(to.join("acme")).map_err(|e| e.to_string())?;
    for entry in entries.flatten() {
        let (source, name) = (entry.path(), entry.file_name());
        let target = to.join("acme").join(&name);
        git(
            to,
            &[
                "clone",
                "-q",
                "--mirror",
                "--local",
                source.to_str().ok_or("no text")?,
                target.to_str().ok_or("no text")?,
            ],
        )?;
    }
    Ok(to.to_owned())
}
