//! Repositories of every kind: what a client sees through the gateway is what git says about the folder, byte for byte, or a
//! clear refusal where git cannot serve the folder either.

mod compare;
mod kinds;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use self::compare::{clones_alike, lists_alike};
use crate::harness::{Gateway, plain_git, run};

const VERSIONS: [&str; 3] = ["0", "1", "2"];

/// A gateway, and a key that may fetch all of `acme`.
fn site() -> (Gateway, PathBuf) {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &["acme/**"]);
    (gateway, key)
}

/// The gateway's folder, spelled as git spells it.
fn base(gateway: &Gateway) -> PathBuf {
    gateway.path("").components().collect()
}

#[track_caller]
fn git(dir: &Path, args: &[&str]) -> String {
    run(plain_git(dir).args(args)).ok()
}

/// Lists, clones and mirrors in every version, as a table.
#[test]
fn every_kind_in_every_version() {
    let (gateway, key) = site();
    let kinds = kinds::make(&gateway);
    let column = |version: &str| -> Vec<[String; 3]> {
        let row = |kind: &kinds::Kind| {
            lists_alike(&gateway, &key, &kind.repo, version);
            let plain = clones_alike(&gateway, &key, kind, version, &[]);
            let mirror = if kind.mirrored.contains(&version) {
                clones_alike(&gateway, &key, kind, version, &["--mirror"])
            } else {
                "not tried".to_owned()
            };
            ["same".to_owned(), plain, mirror]
        };
        kinds.iter().map(row).collect()
    };
    // The versions side by side, as different clients would ask.
    let columns: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = VERSIONS.map(|version| scope.spawn(move || column(version))).into_iter().collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    eprintln!("{:35} {:7} {:9} {:27} mirror", "repository", "version", "ls-remote", "clone");
    for (n, kind) in kinds.iter().enumerate() {
        for (version, column) in VERSIONS.iter().zip(&columns) {
            let [list, plain, mirror] = &column[n];
            eprintln!("{:35} v{version:6} {list:9} {plain:27} {mirror}", kind.name);
        }
    }
}

/// A key that may not fetch what is borrowed from may not fetch what borrows.
#[test]
fn borrowed_objects_need_both_grants() {
    let (gateway, _) = site();
    let lender = gateway.repo("acme/lender");
    let folder = gateway.path("repositories/acme/borrower.git");
    git(&base(&gateway), &["clone", "-q", "--bare", "--shared", lender.to_str().unwrap(), folder.to_str().unwrap()]);
    let narrow = gateway.key("narrow", &["acme/borrower"]);
    for version in VERSIONS {
        let config = format!("protocol.version={version}");
        let said = gateway.git(&narrow, &["-c", &config, "ls-remote", &gateway.url("acme/borrower")]).failed();
        assert!(said.contains("[shared-objects]"), "{said}");
    }
}

/// Repacked and pushed to, over and over, while clones run: each clone is whole, and its tip is one that was there. Each is
/// held up between its list of refs and its question for a pack until the repository has moved on twice.
#[test]
fn repacked_and_pushed_to_during_clones() {
    let (gateway, key) = site();
    let folder = gateway.repo("acme/busy");
    let (counter, slow) = (gateway.path("rounds"), gateway.path("slow-ssh"));
    std::fs::write(&counter, "0").unwrap();
    std::fs::write(&slow, SLOW_SSH).unwrap();
    let (rounds, done) = (AtomicU32::new(0), AtomicBool::new(false));
    let mut moved = Vec::new();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let round = rounds.load(Ordering::Acquire);
                gateway.commit(&folder, &format!("more{round}"), &format!("{round}\n").repeat(1000));
                git(&folder, &["repack", "-adq"]);
                git(&folder, &["pack-refs", "--all"]);
                git(&folder, &["prune", "--expire=now"]);
                let next = gateway.path("rounds.next");
                std::fs::write(&next, (round + 1).to_string()).unwrap();
                std::fs::rename(&next, &counter).unwrap();
                rounds.store(round + 1, Ordering::Release);
            }
        });
        let ended = Ended(&done);
        for n in 0..12 {
            let (config, copy) = (format!("protocol.version={}", n % 3), gateway.path(&format!("busy{n}")));
            let depth: &[&str] = if n % 2 == 0 { &[] } else { &["--depth=1"] };
            let args = [&["-c", &config, "clone", "-q"], depth, &[&gateway.url("acme/busy"), copy.to_str().unwrap()]];
            let line = gateway.ssh_line(&key);
            let ssh = format!("sh {} {} {}", slow.display(), counter.display(), line);
            let (before, tip_before) = (rounds.load(Ordering::Acquire), git(&folder, &["rev-parse", "main"]));
            run(plain_git(&base(&gateway))
                .env("GIT_SSH_COMMAND", ssh)
                .env("GIT_SSH_VARIANT", "ssh")
                .args(args.concat()))
            .ok();
            let meanwhile = rounds.load(Ordering::Acquire) - before;
            assert!(meanwhile >= 2, "clone {n}: nothing happened while it ran");
            moved.push(meanwhile);
            git(&copy, &["fsck", "--strict"]);
            let tip = git(&copy, &["rev-parse", "HEAD"]);
            // Not older than the clone, and part of what there is.
            git(&folder, &["merge-base", "--is-ancestor", tip_before.trim(), tip.trim()]);
            git(&folder, &["merge-base", "--is-ancestor", tip.trim(), "main"]);
        }
        drop(ended);
        busy.join().unwrap();
    });
    eprintln!("rounds of push, repack, pack-refs and prune during each of twelve clones: {moved:?}");
    for version in VERSIONS {
        lists_alike(&gateway, &key, "acme/busy", version);
    }
}

/// `sh slow-ssh COUNTER SSH…`: says to ssh what git says, but holds it up before the question for a pack: the first that git
/// says in versions 0 and 1, what comes after the question for refs in version 2. Not for more than half a minute or so.
const SLOW_SSH: &str = r#"
counter=$1; shift
hold() {
    goal=$(($(cat "$counter") + 2)) patience=700
    while [ "$(cat "$counter")" -lt $goal ] && [ $patience -gt 0 ]; do sleep 0.05; patience=$((patience - 1)); done
}
{
    if [ "$GIT_PROTOCOL" = version=2 ]; then
        while len=$(head -c 4) && [ -n "$len" ]; do
            printf %s "$len"
            [ "$len" != 0000 ] || break
            [ $((0x$len)) -le 4 ] || head -c $((0x$len - 4))
        done
    fi
    hold
    cat
} | "$@"
"#;

/// Says so when it goes, also by a panic, so that nobody waits for ever.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
