//! Every file of a registry's state, damaged in every way: it is healed or refused with a message, in bounded time.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pullgate::model::key_name::KeyRef;
use pullgate::model::name::{AccountName, GroupName};
use pullgate::model::repo_path::RepoPath;
use pullgate::registry::change::Change;
use pullgate::registry::{self, Lookup, OpenError, Settings};

use crate::names::{account, add, key};

/// How many keys the sample has, in how many commits; some of them behind a snapshot, some in it.
const KEYS: u32 = 900;
const PER_COMMIT: usize = 10;
/// How many repositories are public, two of them in each group.
const GROUPS: u32 = 40;
/// How long one opening may take; over the registry's own limit for its index.
const LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip(u64, u8),
    Zero(u64, usize),
    Cut(u64),
    Delete,
}

impl Harm {
    fn name(self) -> &'static str {
        match self {
            Self::Flip(..) => "flipped bit",
            Self::Zero(..) => "zeroed page",
            Self::Cut(_) => "truncated",
            Self::Delete => "deleted",
        }
    }

    fn apply(self, path: &Path) {
        let file = || std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        match self {
            Self::Flip(at, bit) => {
                let mut byte = [0];
                file().read_exact_at(&mut byte, at).unwrap();
                file().write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
            }
            Self::Zero(at, size) => file().write_all_at(&vec![0; size], at).unwrap(),
            Self::Cut(length) => file().set_len(length).unwrap(),
            Self::Delete => std::fs::remove_file(path).unwrap(),
        }
    }
}

/// What the sample holds, one line a key.
fn listing(lookup: &Lookup) -> String {
    let accounts = lookup.accounts().unwrap().into_iter().map(|record| record.name.to_string());
    let keys = lookup.keys(None, None, usize::MAX).unwrap().into_iter().map(|record| {
        assert_eq!(lookup.key(&record.fingerprint()).unwrap().as_ref(), Some(&record));
        format!("{record:?}")
    });
    let groups = lookup.groups(None).unwrap().into_iter().map(|record| format!("{record:?}"));
    let publics = lookup.publics(None).unwrap().into_iter().map(|record| format!("{record:?}"));
    // What is left of the keys that were removed.
    let left = (0..KEYS).step_by(3).map(|number| {
        let found = lookup.tombstone(&KeyRef::Fingerprint(key(number).fingerprint())).unwrap();
        format!("{number}: {{{found:?}}}")
    });
    accounts.chain(keys).chain(groups).chain(publics).chain(left).collect::<Vec<_>>().join("\n")
}

/// A registry with a snapshot and entries behind it. Stopped well or killed.
fn sample(dir: &Path, clean: bool) -> String {
    let settings = Settings { compact_after: 100 * 1024, compact_patience: std::time::Duration::ZERO };
    let (lookup, amend) = registry::open_with(dir, settings).unwrap();
    amend.commit("tester", &[account("acme"), account("beta")]).unwrap();
    let adds: Vec<_> =
        (0..KEYS).map(|n| add(n, &format!("acme/k{n}"), "a remark", &["acme/app", "beta/lib"])).collect();
    for some in adds.chunks(PER_COMMIT) {
        amend.commit("tester", some).unwrap();
    }
    for number in 0..GROUPS {
        let (account, repo) =
            (AccountName::parse("acme").unwrap(), RepoPath::parse(&format!("acme/r{number}")).unwrap());
        let group = GroupName::parse(&format!("g{}", number / 2)).unwrap();
        let add = Change::GroupAdd { account, group, repos: vec![repo.clone()] };
        amend.commit("tester", &[add, Change::RepoPublish { repo }]).unwrap();
    }
    for number in (0..KEYS).step_by(3) {
        let change = Change::KeyRemove { key: key(number).fingerprint() };
        amend.commit("tester", &[change]).unwrap();
    }
    let start = Instant::now();
    while !lookup.indexed() {
        assert!(start.elapsed() < LIMIT);
        std::thread::sleep(Duration::from_millis(5));
    }
    let listing = listing(&lookup);
    if clean {
        drop((lookup, amend));
    } else {
        // As a kill would leave it: nobody closes anything until this process ends, so copy what is there now.
        std::mem::forget((lookup, amend));
    }
    listing
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The harms for a file of this length, spread over it, and more of them the more often `factor` says.
fn harms(length: u64, factor: u64) -> Vec<Harm> {
    let mut harms = vec![Harm::Delete];
    if length == 0 {
        return harms;
    }
    let places = |count: u64| (0..count).map(move |n| (length - 1) * n / (count - 1).max(1));
    harms.extend(places(9 * factor).map(|at| Harm::Flip(at, u8::try_from(at % 8).unwrap())));
    let page = |at: u64| (at / 4096 * 4096, usize::try_from((length - at / 4096 * 4096).min(4096)).unwrap());
    harms.extend(places(4 * factor).map(page).map(|(at, size)| Harm::Zero(at, size)));
    harms.extend(places(5 * factor).map(Harm::Cut));
    harms
}

/// What became of one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Everything is there.
    Healed,
    /// It does not open, and says why.
    Refused,
    /// It works, and `check` says what is wrong with old entries that are kept for reading.
    Reported,
    /// Something that was acknowledged is not there, and nothing was said.
    Lost,
    /// It panicked, was killed, or said nothing of use.
    Broke,
    /// It did not end.
    Hung,
}

#[test]
#[ignore = "a child of damage_is_healed_or_refused"]
fn open_and_list() {
    match registry::open(&crate::given()) {
        Ok((lookup, amend)) => {
            let before = listing(&lookup);
            let start = Instant::now();
            while !lookup.indexed() && start.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(2));
            }
            assert_eq!(listing(&lookup), before, "the index answers otherwise than the journal");
            // It can be written to as well.
            amend.commit("tester", &[account("later")]).unwrap();
            drop((lookup, amend));
            let (lookup, _amend) = registry::open(&crate::given()).unwrap();
            assert_eq!(lookup.accounts().unwrap().len(), before.lines().filter(|line| !line.contains('{')).count() + 1);
            std::fs::write(crate::given().join("listing"), before).unwrap();
        }
        // The entries that are in an archive are not needed to serve: that it is damaged is for `pullgate check` to say.
        Err(error @ (OpenError::Damaged(_) | OpenError::NoJournal | OpenError::Newer(_))) => {
            std::fs::write(crate::given().join("refusal"), error.to_string()).unwrap();
        }
        Err(error @ (OpenError::Io(_) | OpenError::Locked)) => panic!("no message for an operator: {error}"),
    }
}

struct Case {
    file: String,
    harm: Harm,
    dir: tempfile::TempDir,
    child: Child,
    start: Instant,
}

fn is_archive(file: &str) -> bool {
    file.strip_prefix("journal.").is_some_and(|rest| rest != "new")
}

impl Case {
    /// A damaged archive is reported; that it is deleted is an operator's right.
    fn archive(&self) -> (Outcome, String) {
        let faults = registry::archives(self.dir.path()).unwrap().into_iter().filter_map(|(_, found)| found.err());
        let faults: Vec<String> = faults.map(|error| error.to_string()).collect();
        match (self.harm, faults.is_empty()) {
            (Harm::Delete, _) => (Outcome::Healed, String::new()),
            (_, false) => (Outcome::Reported, faults.concat()),
            // Unless nothing was changed: zeros in place of zeros.
            (_, true) => (Outcome::Lost, "a damaged archive is not noticed".to_owned()),
        }
    }

    fn outcome(&mut self, expected: &str) -> Option<(Outcome, String)> {
        let Some(status) = self.child.try_wait().unwrap() else {
            if self.start.elapsed() < LIMIT {
                return None;
            }
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            return Some((Outcome::Hung, String::new()));
        };
        let said = |name: &str| std::fs::read_to_string(self.dir.path().join(name)).ok();
        Some(match (status.success(), said("listing"), said("refusal")) {
            (true, Some(listing), None) if listing == expected && is_archive(&self.file) => self.archive(),
            (true, Some(listing), None) if listing == expected => (Outcome::Healed, String::new()),
            (true, Some(_), None) => (Outcome::Lost, String::new()),
            (true, None, Some(why)) if why.contains("backup") || why.contains("pullgate") => (Outcome::Refused, why),
            (_, _, why) => (Outcome::Broke, format!("{status} {why:?}")),
        })
    }
}

#[test]
fn damage_is_healed_or_refused() {
    let factor = crate::count("PULLGATE_DAMAGE", 0) as u64;
    let mut table: BTreeMap<(bool, String, &'static str), BTreeMap<Outcome, usize>> = BTreeMap::new();
    let (mut cases, mut bad, mut slowest) = (0, Vec::new(), Duration::ZERO);
    for clean in [true, false] {
        let original = tempfile::tempdir().unwrap();
        let place = original.path().join("registry");
        let expected = sample(&place, clean);
        let frozen = original.path().join("frozen");
        copy(&place, &frozen);
        let mut work = Vec::new();
        for file in files(&frozen) {
            let name = file.strip_prefix(&frozen).unwrap().to_string_lossy().into_owned();
            let mut all = harms(std::fs::metadata(&file).unwrap().len(), factor.max(1));
            if factor == 0 {
                // The short version: one of each kind.
                all = all.into_iter().step_by(6).collect();
            }
            work.extend(all.into_iter().map(|harm| (name.clone(), harm)));
        }
        let mut running: Vec<Case> = Vec::new();
        let mut work = work.into_iter();
        loop {
            while running.len() < 4
                && let Some((file, harm)) = work.next()
            {
                let dir = tempfile::tempdir().unwrap();
                copy(&frozen, dir.path());
                harm.apply(&dir.path().join(&file));
                let mut command = crate::child("damage::open_and_list", dir.path());
                let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                running.push(Case { file, harm, dir, child, start: Instant::now() });
            }
            if running.is_empty() {
                break;
            }
            running.retain_mut(|case| {
                let Some((outcome, why)) = case.outcome(&expected) else { return true };
                cases += 1;
                slowest = slowest.max(case.start.elapsed());
                *table.entry((clean, case.file.clone(), case.harm.name())).or_default().entry(outcome).or_default() +=
                    1;
                if !matches!(outcome, Outcome::Healed | Outcome::Refused | Outcome::Reported) {
                    bad.push(format!("clean stop: {clean}, {}, {:?}: {outcome:?} {why}", case.file, case.harm));
                }
                false
            });
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    println!("{:<12} {:<28} {:<12} outcomes", "stopped", "file", "harm");
    for ((clean, file, harm), outcomes) in &table {
        let stopped = if *clean { "well" } else { "by kill -9" };
        let outcomes: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome:?}")).collect();
        println!("{stopped:<12} {file:<28} {harm:<12} {}", outcomes.join(", ").to_lowercase());
    }
    println!("{cases} cases, the slowest took {slowest:?}; {} bad", bad.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(cases >= if factor == 0 { 40 } else { 200 }, "{cases}");
}
