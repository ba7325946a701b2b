//! Those who read meanwhile: polls in every version, clones and fetches that are looked through.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::book::{Answer, Book, Memory};
use super::refs::{Refs, Tip, refs_of_v0, refs_of_v2};
use super::writer::{Dice, git, said};
use crate::harness::Gateway;
use crate::raw::{Client, Door, Wish};

/// What was done, for whoever reads the test's output.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) polls: AtomicU64,
    pub(super) packs: AtomicU64,
    pub(super) clones: AtomicU64,
    pub(super) fetches: AtomicU64,
}

/// One reader: what it was told last, and what cannot be judged yet, since the writer is in the middle of something.
struct Reader<'a> {
    book: &'a Book,
    memory: Memory,
    waiting: VecDeque<Answer<'a>>,
}

impl<'a> Reader<'a> {
    fn new(book: &'a Book) -> Self {
        Self { book, memory: Memory::default(), waiting: VecDeque::new() }
    }

    fn heard(&mut self, answer: Answer<'a>) -> Result<(), String> {
        self.waiting.push_back(answer);
        while let Some(first) = self.waiting.front() {
            if !self.book.knows_until(first.end) {
                break;
            }
            self.book.judge(first, &mut self.memory)?;
            self.waiting.pop_front();
        }
        Ok(())
    }
}

/// What version 2 shows: everything.
fn all(_: &str, tip: &Tip) -> Option<Tip> {
    Some(tip.clone())
}

/// Of symbolic refs version 0 knows only HEAD as one, and nothing of a HEAD whose branch is not there.
fn v0(name: &str, tip: &Tip) -> Option<Tip> {
    let target = tip.target.clone().filter(|_| name == "HEAD");
    (tip.oid != "unborn").then(|| Tip { target, ..tip.clone() })
}

/// What a clone keeps.
fn object(_: &str, tip: &Tip) -> Option<Tip> {
    Some(Tip { oid: tip.oid.clone(), peeled: None, target: None })
}

/// What a poll asks for; none: for everything.
const PREFIXES: [&[&str]; 5] =
    [&[], &["HEAD", "refs/heads/", "refs/tags/"], &["refs/heads/br"], &["refs/tags/"], &["refs/heads/deep/x", "HEAD"]];

fn covered(name: &str, prefixes: &[&str]) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Polls in turn with every version and many prefixes, and now and then fetches what it saw.
pub(super) async fn poll(
    door: &Door,
    book: &Book,
    counts: &Counts,
    mut dice: Dice,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<(), String> {
    let mut reader = Reader::new(book);
    while !stop() {
        let client = Client::connect(door).await?;
        for _ in 0..30 {
            let version = u8::try_from(*dice.pick(&[2, 2, 2, 0, 1])).unwrap();
            let prefixes = if version == 2 { *dice.pick(&PREFIXES) } else { &[] };
            let kind = format!("a poll in version {version} of {prefixes:?}");
            let begin = Instant::now();
            let mut talk = client.upload_pack("acme/app.git", version).await?;
            let refs = if version == 2 {
                talk.capabilities().await?;
                refs_of_v2(&talk.ls_refs(prefixes).await?)
            } else {
                let lines = talk.advertisement().await?;
                refs_of_v0(&lines[usize::from(version == 1)..])
            }
            .map_err(|why| format!("{kind}: {why}"))?;
            let end = Instant::now();
            counts.polls.fetch_add(1, Ordering::Relaxed);
            let wants: Vec<String> = refs
                .values()
                .map(|tip| tip.oid.clone())
                .filter(|oid| oid != "unborn")
                .take(1 + dice.below(3))
                .collect();
            if dice.below(6) == 0 && !wants.is_empty() {
                let depth = if dice.below(2) == 0 { Some(1) } else { None };
                let wish = Wish { wants, haves: Vec::new(), depth, include_tag: dice.below(2) == 0 };
                let pack = match version {
                    2 => talk.fetch(wish.v2()).await,
                    _ => talk.fetch_v0(wish.v0(), depth.is_some()).await,
                }
                .map_err(|why| format!("{kind}, then {wish:?}: {why}"))?;
                if pack.objects < 3 {
                    return Err(format!("{kind}, then {wish:?}: {pack:?} cannot be all"));
                }
                counts.packs.fetch_add(1, Ordering::Relaxed);
                talk.end().await?;
            } else {
                talk.flush_and_end().await.map_err(|why| format!("{kind}: {why}"))?;
            }
            let shows = if version == 2 { all } else { v0 };
            let covers = Box::new(move |name: &str| covered(name, prefixes));
            reader.heard(Answer { kind, begin, end, refs, covers, shows })?;
            tokio::time::sleep(Duration::from_millis(u64::try_from(dice.below(12)).unwrap())).await;
        }
        client.close().await;
    }
    Ok(())
}

/// The refs of a clone, as far as clones have them.
fn kept(dir: &Path) -> Result<Refs, String> {
    let text = git(dir, &["for-each-ref", "--format=%(objectname) %(refname)"])?;
    let tip = |oid: &str| Tip { oid: oid.to_owned(), peeled: None, target: None };
    Ok(text.lines().filter_map(|line| line.split_once(' ')).map(|(oid, name)| (name.to_owned(), tip(oid))).collect())
}

fn whole(dir: &Path) -> Result<(), String> {
    let said = said(Command::new("git").current_dir(dir).args(["fsck", "--strict", "--no-dangling", "--no-progress"]))?;
    if said.trim().is_empty() { Ok(()) } else { Err(format!("git fsck: {said}")) }
}

/// Clones and fetches with the real git. Every clone has to be whole.
pub(super) fn clone_and_fetch(
    gateway: &Gateway,
    key: &Path,
    book: &Book,
    counts: &Counts,
    mut dice: Dice,
    stop: &dyn Fn() -> bool,
) -> Result<(), String> {
    let url = gateway.url("acme/app.git");
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mirror = home.path().join("mirror");
    let mut reader = Reader::new(book);
    for n in 0.. {
        if stop() {
            break;
        }
        let version = format!("protocol.version={}", dice.pick(&["0", "1", "2", "2", "2"]));
        let fresh = home.path().join(format!("clone{n}"));
        let kind = if n == 0 { 3 } else { dice.below(4) };
        let (to, args): (&Path, Vec<&str>) = match kind {
            0 => (&fresh, vec!["clone", "-q", "--mirror"]),
            1 => (&fresh, vec!["clone", "-q", "--bare", "--depth=1", "--no-single-branch"]),
            2 => (&fresh, vec!["clone", "-q", "--bare", "--single-branch"]),
            _ if n == 0 => (&mirror, vec!["clone", "-q", "--mirror"]),
            _ => (&mirror, vec!["-C", mirror.to_str().unwrap(), "fetch", "-q", "--prune", "origin"]),
        };
        let name = format!("git -c {version} {}", args.join(" "));
        let mut command = gateway.git_command(key);
        command.args(["-c", version.as_str()]).args(&args);
        if args[0] == "clone" {
            command.arg(&url).arg(to);
        }
        let begin = Instant::now();
        said(&mut command).map_err(|why| format!("{name}: {why}"))?;
        let end = Instant::now();
        whole(to).map_err(|why| format!("{name}: {why}"))?;
        let refs = kept(to)?;
        let covers: Box<dyn Fn(&str) -> bool + Send> = match kind {
            // Symbolic refs of the other side are plain refs here.
            0 | 3 => Box::new(|name| name.starts_with("refs/")),
            1 => Box::new(|name| name.starts_with("refs/heads/") || name.starts_with("refs/tags/")),
            _ => {
                // One branch, and the tags on its way.
                let here: Vec<String> = refs.keys().filter(|name| name.starts_with("refs/heads/")).cloned().collect();
                Box::new(move |name| here.iter().any(|one| one == name))
            }
        };
        let refs = refs.into_iter().filter(|(name, _)| covers(name)).collect();
        let counter = if kind == 3 && n > 0 { &counts.fetches } else { &counts.clones };
        counter.fetch_add(1, Ordering::Relaxed);
        reader.heard(Answer { kind: name, begin, end, refs, covers, shows: object })?;
        if kind != 3 {
            std::fs::remove_dir_all(&fresh).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
