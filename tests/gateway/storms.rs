//! Many clients ask the same: one git answers, everybody gets the right pack, and nobody gets what they may not have.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::harness::{Gateway, can_init, plain_git, run, wait_until};
use crate::faults::in_memory;
use crate::tree::gits;

/// How many fetches had their pack from there, by the audit.
fn sources(gateway: &Gateway) -> [usize; 4] {
    let audit = gateway.audit();
    ["hit", "joined", "miss", "bypass"].map(|word| audit.matches(&format!(r#""cache":"{word}""#)).count())
}

/// Waits for the records, which are written after the client has everything.
fn wait_for_sources(gateway: &Gateway, number: usize) -> [usize; 4] {
    wait_until("every fetch is recorded", || sources(gateway).iter().sum::<usize>() >= number);
    sources(gateway)
}

/// Refs that were fetched a moment ago may be trusted from then on.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(60));
}

fn is_sound(dir: &Path, partial: bool) {
    let check: &[&str] = if partial { &["fsck", "--connectivity-only"] } else { &["fsck", "--strict"] };
    run(plain_git(dir).args(check)).ok();
}

#[test]
fn a_storm_costs_one_clone() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    let url = gateway.url("acme/app");
    let clients: Vec<_> = (0..12)
        .map(|n| {
            let mut git = gateway.git_command(&key);
            git.args(["clone", "-q", "--depth=1", &url, &format!("copy{n}")]);
            std::thread::spawn(move || run(&mut git))
        })
        .collect();
    for client in clients {
        client.join().unwrap().ok();
    }
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    for n in 0..12 {
        let copy = gateway.path(&format!("copy{n}"));
        assert_eq!(run(plain_git(&copy).args(["rev-parse", "HEAD"])).ok(), tip);
        is_sound(&copy, false);
    }
    let [hit, joined, miss, bypass] = wait_for_sources(&gateway, 12);
    assert_eq!((hit + joined, miss, bypass), (11, 1, 0), "{}", gateway.audit());
}

/// What is made and what is kept are the same for every kind of clone, and the same as without a cache.
#[test]
fn every_kind_of_clone_is_sound_made_and_kept() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &["acme/*"]);
    let mut names = vec![("acme/app", vec![])];
    for (name, init) in [("acme/sha256", "--object-format=sha256"), ("acme/reftable", "--ref-format=reftable")] {
        if can_init(&[init]) {
            names.push((name, vec![init]));
        }
    }
    let kinds: [&[&str]; 6] = [
        &[],
        &["--depth=1"],
        &["--depth=2", "--no-single-branch"],
        &["--filter=blob:none"],
        &["--no-tags", "--branch=stable"],
        &["--mirror"],
    ];
    let mut clones = 0;
    for (name, init) in &names {
        let bare = gateway.repo_with(name, init);
        settle();
        for kind in kinds {
            let mut seen = Vec::new();
            for _ in 0..2 {
                clones += 1;
                let copy = format!("copy{clones}");
                gateway.git(&key, &[&["clone", "-q"], kind, &[&gateway.url(name), &copy]].concat()).ok();
                is_sound(&gateway.path(&copy), kind.iter().any(|word| word.starts_with("--filter")));
                let git = |args: &[&str]| run(plain_git(&gateway.path(&copy)).args(args)).ok();
                seen.push((
                    git(&["rev-parse", "HEAD"]),
                    git(&["for-each-ref"]),
                    git(&["rev-list", "--count", "--all"]),
                ));
            }
            assert_eq!(seen[0], seen[1], "{name} {kind:?}");
            if kind.contains(&"--mirror") {
                let local = run(plain_git(&bare).args(["for-each-ref"])).ok();
                assert_eq!(seen[0].1, local);
            }
        }
    }
    let [hit, joined, miss, bypass] = wait_for_sources(&gateway, clones);
    // A partial clone fetches the blobs of its checkout as well; what is asked for twice is answered from what is kept.
    assert!(hit >= clones / 2 && miss <= hit && joined == 0 && bypass == 0, "{:?}", [hit, joined, miss, bypass]);
}

/// Old clients ask the same in other words.
#[test]
fn every_version_of_the_protocol_shares() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &["acme/*"]);
    let bare = gateway.repo("acme/app");
    settle();
    let url = gateway.url("acme/app");
    let mut clones = 0;
    for kind in [
        &[][..],
        &["--depth=1"],
        &["--depth=2", "--no-single-branch"],
        &["--filter=blob:none", "--bare"],
        &["--mirror"],
    ] {
        let mut seen = Vec::new();
        for version in ["0", "2", "1", "0"] {
            clones += 1;
            let (copy, version) = (format!("copy{clones}"), format!("protocol.version={version}"));
            let arguments = [&["-c", &version, "clone", "-q"], kind, &[&url, &copy]].concat();
            gateway.git(&key, &arguments).ok();
            is_sound(&gateway.path(&copy), kind.iter().any(|word| word.starts_with("--filter")));
            let git = |args: &[&str]| run(plain_git(&gateway.path(&copy)).args(args)).ok();
            let shallow = run(plain_git(&gateway.path(&copy)).args(["rev-parse", "--is-shallow-repository"])).ok();
            seen.push((git(&["rev-parse", "HEAD"]), git(&["for-each-ref"]), git(&["rev-list", "--all"]), shallow));
        }
        for other in &seen[1..] {
            assert_eq!(&seen[0], other, "{kind:?}");
        }
        let [hit, joined, miss, bypass] = wait_for_sources(&gateway, clones);
        // A mirror of this repository asks what a plain clone does.
        let once = miss <= clones / 4 && hit + miss == clones;
        assert!(once && (joined, bypass) == (0, 0), "{kind:?}: {}", gateway.audit());
    }
    assert_eq!(run(plain_git(&bare).args(["rev-parse", "main"])).ok(), {
        run(plain_git(&gateway.path("copy1")).args(["rev-parse", "HEAD"])).ok()
    });
}

/// It is told how shallow it will be before it says what it has: its git says that once more, and the client hears it once.
#[test]
fn an_old_client_that_makes_itself_shallow_has_a_git_of_its_own() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &["acme/*"]);
    let bare = gateway.repo("acme/app");
    settle();
    let url = gateway.url("acme/app");
    gateway.git(&key, &["-c", "protocol.version=0", "clone", "-q", &url, "copy"]).ok();
    gateway.commit(&bare, "more", "more");
    settle();
    let copy = gateway.path("copy");
    let fetch =
        ["-c", "protocol.version=0", "-C", copy.to_str().unwrap(), "fetch", "-q", "--depth=1", "origin", "main"];
    gateway.git(&key, &fetch).ok();
    is_sound(&copy, false);
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    assert_eq!(run(plain_git(&copy).args(["rev-parse", "FETCH_HEAD"])).ok(), tip);
    let shallow = std::fs::read_to_string(copy.join(".git/shallow")).unwrap();
    assert!(shallow.contains(tip.trim()), "{shallow}");
    let [_, _, miss, bypass] = wait_for_sources(&gateway, 2);
    assert_eq!((miss, bypass), (1, 1), "{}", gateway.audit());
    assert!(gateway.audit().contains(r#""why":"negotiation""#), "{}", gateway.audit());
}

#[test]
fn a_push_is_seen_by_the_next_fetch() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let url = gateway.url("acme/app");
    gateway.git(&key, &["clone", "-q", &url, "work"]).ok();
    for n in 0..5 {
        gateway.commit(&bare, &format!("new{n}"), "x\n");
        let tag = format!("t{n}");
        run(plain_git(&bare).args(["tag", "-m", "a tag", &tag, "main"])).ok();
        gateway.git(&key, &["-C", "work", "pull", "-q"]).ok();
        gateway.git(&key, &["clone", "-q", "--depth=1", &url, &format!("copy{n}")]).ok();
        for dir in ["work".to_owned(), format!("copy{n}")] {
            assert!(gateway.path(&dir).join(format!("new{n}")).exists());
            run(plain_git(&gateway.path(&dir)).args(["rev-parse", "--verify", "-q", &tag])).ok();
            is_sound(&gateway.path(&dir), false);
        }
    }
}

/// Authorisation is before the cache, and nobody's name is in it.
#[test]
fn what_is_kept_is_for_those_who_may_have_it() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let (key, other) = (gateway.key("ci", &["acme/app"]), gateway.key("other", &["acme/app"]));
    let stranger = gateway.key("stranger", &["acme/else"]);
    settle();
    let url = gateway.url("acme/app");
    gateway.git(&key, &["clone", "-q", &url, "one"]).ok();
    gateway.git(&other, &["clone", "-q", &url, "two"]).ok();
    assert_eq!(wait_for_sources(&gateway, 2), [1, 0, 1, 0]);
    let refused = gateway.git(&stranger, &["clone", "-q", &url, "three"]).failed();
    assert!(refused.contains("[not-granted]"), "{refused}");
    gateway.pullgate(["key", "suspend", "acme/other"]).ok();
    let refused = gateway.git(&other, &["clone", "-q", &url, "three"]).failed();
    assert!(refused.contains("[suspended]"), "{refused}");
    assert_eq!(sources(&gateway), [1, 0, 1, 0]);
}

#[test]
fn a_cache_that_cannot_keep_still_serves() {
    let gateway = Gateway::start_with(|config| in_memory(config, 0));
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    let url = gateway.url("acme/app");
    let folder = gateway.path("state/cache");
    gateway.git(&key, &["clone", "-q", &url, "one"]).ok();
    // What is kept has no name in it, so that nothing is left by whatever end.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    for (n, kind) in ["--depth=1", "--depth=2"].into_iter().enumerate() {
        for m in 0..2 {
            let copy = format!("copy{n}{m}");
            gateway.git(&key, &["clone", "-q", kind, &url, &copy]).ok();
            is_sound(&gateway.path(&copy), false);
        }
    }
    assert_eq!(wait_for_sources(&gateway, 5), [0, 0, 5, 0]);
}

#[test]
fn switched_off_it_is_not_there() {
    let gateway = Gateway::start_with(|config| config.replace("enabled = true", "enabled = false"));
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    for copy in ["one", "two"] {
        gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), copy]).ok();
    }
    assert_eq!(sources(&gateway), [0; 4]);
    assert!(!gateway.path("state/cache").exists());
}

/// The client is told by git itself what is wrong with its question, as without a cache.
#[test]
fn a_question_without_an_answer_is_gits_to_refuse() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    run(plain_git(&gateway.path("")).args(["init", "-q", "empty"])).ok();
    let absent = "0123456789012345678901234567890123456789";
    let said = gateway.git(&key, &["-C", "empty", "fetch", "-q", &gateway.url("acme/app"), absent]).failed();
    assert!(said.contains("remote error: upload-pack: not our ref"), "{said}");
}

/// The question is the same and its answer is not: an annotated tag comes with what it points to.
#[test]
fn a_new_tag_on_a_kept_commit_is_seen() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let url = gateway.url("acme/app");
    // The objects are there before, so that only the refs change.
    let git = |args: &[&str]| run(plain_git(&bare).args(args)).ok();
    let tags = ["one", "two", "three"].map(|tag| {
        git(&["tag", "-m", "a tag", tag, "main"]);
        let object = git(&["rev-parse", tag]);
        git(&["tag", "-d", tag]);
        (tag, object)
    });
    for (tag, object) in &tags {
        git(&["update-ref", &format!("refs/tags/{tag}"), object.trim()]);
        gateway.git(&key, &["clone", "-q", "--depth=1", &url, tag]).ok();
        run(plain_git(&gateway.path(tag)).args(["rev-parse", "--verify", "-q", tag])).ok();
    }
}

/// A fetch of version 0 that has asked for something and says no more: its git waits, and holds its slot.
pub(crate) fn holds_a_slot(gateway: &Gateway, key: &Path, want: &str) -> std::process::Child {
    let words = gateway.ssh_line(key);
    let mut words = words.split(' ');
    let mut ssh = Command::new(words.next().unwrap());
    ssh.args(words).args(["-p", &gateway.port().to_string(), "git@localhost", "git-upload-pack 'acme/app'"]);
    let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let line = format!("want {want} side-band-64k ofs-delta\n");
    // It has something already, and will not say `done`.
    let have = "0032have 0123456789012345678901234567890123456789\n";
    let said = format!("{:04x}{line}0000{have}", line.len() + 4);
    ssh.stdin.as_mut().unwrap().write_all(said.as_bytes()).unwrap();
    ssh
}

#[test]
fn fetches_wait_for_their_turn_and_what_is_kept_does_not() {
    let gateway = Gateway::start_with(|config| {
        config.replace("slots = 0", "slots = 1").replace("slot_wait_seconds = 600", "slot_wait_seconds = 5")
    });
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    let url = gateway.url("acme/app");
    gateway.git(&key, &["clone", "-q", &url, "kept"]).ok();
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    wait_until("no git runs", || gits(&gateway).is_empty());
    let mut holder = holds_a_slot(&gateway, &key, tip.trim());
    wait_until("its git runs", || !gits(&gateway).is_empty());
    // What is kept takes no slot, and polls do not.
    gateway.git(&key, &["clone", "-q", &url, "kept2"]).ok();
    assert_eq!(gateway.git(&key, &["ls-remote", &url]).ok(), gateway.refs(&bare));
    // What is not kept waits, is told so, and not for ever.
    for version in ["2", "0"] {
        let version = format!("protocol.version={version}");
        let busy = gateway.git(&key, &["-c", &version, "clone", "--progress", "--depth=1", &url, "busy"]).failed();
        assert!(busy.contains("waiting for a free slot, 0 ahead"), "{busy}");
        assert!(busy.contains("[busy]"), "{busy}");
    }
    let mut waiting = gateway.git_command(&key);
    waiting.args(["clone", "-q", "--depth=1", &url, "waits"]);
    let waiting = std::thread::spawn(move || run(&mut waiting));
    std::thread::sleep(std::time::Duration::from_secs(1));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let said = waiting.join().unwrap();
    assert!(!said.err.contains("waiting"), "nothing is said to who wants to hear nothing: {}", said.err);
    said.ok();
    is_sound(&gateway.path("waits"), false);
}

/// An operator sees what is kept and what it was good for, and can have it forgotten.
#[test]
fn an_operator_sees_the_cache_and_clears_it() {
    let gateway = Gateway::start();
    let empty = gateway.pullgate(["cache", "show"]).ok();
    assert!(empty.contains("0 answers, 0 B") && !empty.contains("BYPASS BECAUSE"), "{empty}");
    assert!(gateway.pullgate(["cache", "clear"]).ok().contains("nothing was kept"));
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    let url = gateway.url("acme/app");
    let clone = |copy: &str, version: &str| {
        gateway.git(&key, &["-c", version, "clone", "-q", &url, copy]).ok();
    };
    clone("one", "protocol.version=2");
    clone("two", "protocol.version=2");
    clone("old", "protocol.version=0");
    gateway.git(&key, &["ls-remote", &url]).ok();
    gateway.git(&key, &["clone", "-q", "--shallow-since=2000-01-01", &url, "shallow"]).ok();
    gateway.git(&key, &["-c", "protocol.version=0", "-C", "shallow", "fetch", "-q", "--deepen=1"]).ok();
    wait_for_sources(&gateway, 6);
    let shown =
        || -> serde_json::Value { serde_json::from_str(&gateway.pullgate(["cache", "show", "--json"]).ok()).unwrap() };
    // The record is written a moment after it is counted.
    let view = shown();
    let counts = |of: &str| ["hit", "joined", "miss", "bypass"].map(|word| view[of][word].as_u64().unwrap());
    assert_eq!((counts("packs"), counts("polls")), ([2, 0, 2, 1], [1, 0, 0, 0]), "{view}");
    assert_eq!(view["bypasses"]["capability"], 1, "{view}");
    assert_eq!((&view["entries"], &view["running"], &view["waiting"]), (&2.into(), &0.into(), &0.into()));
    assert!(view["bytes"].as_u64().unwrap() > 0 && view["poll_bytes"].as_u64().unwrap() > 0, "{view}");
    assert_eq!(view["memory_bytes"], view["bytes"], "so little is in memory: {view}");
    let text = gateway.pullgate(["cache", "show"]).ok();
    assert!(text.contains("capability") && text.contains("kept packs      2 answers"), "{text}");
    let cleared = gateway.pullgate(["cache", "clear"]).ok();
    assert!(cleared.contains("forgot 5 answers"), "{cleared}");
    assert_eq!((shown()["entries"].as_u64(), shown()["poll_entries"].as_u64()), (Some(0), Some(0)));
    clone("three", "protocol.version=2");
    wait_for_sources(&gateway, 7);
    assert_eq!(shown()["packs"]["miss"], 3);
}
