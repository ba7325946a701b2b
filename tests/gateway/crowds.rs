//! What one key asks for at a time, without end or reading, is its own to wait for, and nobody else's.

use crate::faults::{site, slow_packs};
use crate::harness::{Gateway, plain_git, run, wait_until};
use crate::storms::holds_a_slot;
use crate::tree::gits;
use crate::withdrawn::{LIST, Open, fetch, slots};

/// A question about refs that is not kept: it is left to a git, which stays for as long as its client.
const ODD_LIST: &str = "0014command=ls-refs\n0014server-option=x\n00010000";

#[test]
fn gits_that_have_no_slot_are_bounded_for_each_key() {
    for cache in [true, false] {
        let mut gateway = Gateway::start_with(|config| {
            let config = config.replace("\nenabled = true\n", &format!("\nenabled = {cache}\n"));
            assert!(config.contains("gits_without_slot = 0"), "{config}");
            config.replace("gits_without_slot = 0", "gits_without_slot = 4")
        });
        gateway.repo("acme/app");
        let (greedy, other) = (gateway.key("greedy", &["acme/app"]), gateway.key("other", &["acme/app"]));
        // With the cache off, a git says what comes first, and has a slot when it is asked something.
        let asks = |open: &mut Open| {
            if cache {
                open.says(ODD_LIST);
                assert!(open.hears().contains("refs/heads/main"));
            }
        };
        let wait = |gateway: &Gateway| {
            std::thread::sleep(std::time::Duration::from_millis(500));
            assert_eq!(gits(gateway).len(), 2, "half of the four");
        };
        let mut two = [(); 2].map(|()| Open::new(&gateway, &greedy, 2).0);
        two.iter_mut().for_each(asks);
        std::thread::scope(|scope| {
            let third = scope.spawn(|| {
                let (mut open, _) = Open::new(&gateway, &greedy, 2);
                asks(&mut open);
                open.ends()
            });
            wait(&gateway);
            assert!(!third.is_finished(), "cache {cache}");
            // A key has half of them, and not all.
            let (mut open, _) = Open::new(&gateway, &other, 2);
            asks(&mut open);
            assert_eq!(open.ends(), Some(0), "cache {cache}");
            for open in two {
                assert_eq!(open.ends(), Some(0));
            }
            assert_eq!(third.join().unwrap(), Some(0), "cache {cache}");
        });
        gateway.stop();
    }
}

/// A git that waits for what its client asks next holds no slot; where there is no room for it without one, it is ended, and another
/// one answers.
#[test]
fn nobody_who_asks_nothing_holds_a_slot() {
    // What cannot be watched has a git from the beginning, which has to have room.
    for (repository, room) in [("watched", 1), ("not-watched", 2)] {
        let gateway = Gateway::start_with(|config| {
            let config = config.replace("gits_without_slot = 0", &format!("gits_without_slot = {room}"));
            config.replace("slots = 0", "slots = 1").replace("negotiation_seconds = 300", "negotiation_seconds = 30")
        });
        let bare = gateway.repo("acme/app");
        if repository == "not-watched" {
            // What an included file says may change unseen: what git says first is not kept either.
            run(plain_git(&bare).args(["config", "include.path", "more"])).ok();
            std::fs::write(bare.join("more"), "").unwrap();
        }
        let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
        let keys = ["one", "other"].map(|name| gateway.key(name, &["acme/app"]));
        // Nobody else has the same, as far as we know.
        let have = format!("0012command=fetch\n00010032want {}\n0032have {:040}\n0000", tip.trim(), 7);
        let mut opens = keys.each_ref().map(|key| {
            let (mut open, _) = Open::new(&gateway, key, 2);
            open.says(&have);
            assert!(open.hears().contains("NAK"), "{repository}");
            open
        });
        wait_until("no slot is held", || slots(&gateway, "running") == 0);
        assert_eq!(gits(&gateway).len(), room, "{repository}: who has room");
        for open in &mut opens {
            open.says(&fetch(tip.trim()));
            assert!(open.hears().contains("PACK"), "{repository}");
        }
        wait_until("nobody asks for more behind a pack", || gits(&gateway).is_empty());
        for mut open in opens {
            open.says(&have);
            assert!(open.hears().contains("NAK"), "{repository}: and may all the same");
            assert_eq!(open.ends(), Some(0), "{repository}");
        }
    }
}

/// The popular clone is the last of many that a key has asked for, and another key wants it too.
#[test]
fn who_wants_what_another_key_has_asked_for_waits_for_its_own_turn() {
    let gateway = Gateway::start_with(|config| config.replace("slots = 0", "slots = 1"));
    let bare = gateway.repo("acme/app");
    let [holding, greedy, key] = ["holding", "greedy", "ci"].map(|name| gateway.key(name, &["acme/app"]));
    std::thread::sleep(std::time::Duration::from_millis(60));
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let url = gateway.url("acme/app");
    let mut holder = holds_a_slot(&gateway, &holding, tip.trim());
    wait_until("its git runs", || !gits(&gateway).is_empty());
    let clone = |key: &std::path::Path, depth: &str, copy: &str| {
        let mut git = gateway.git_command(key);
        git.args(["clone", "--progress", &format!("--depth={depth}"), &url, copy]);
        std::thread::spawn(move || run(&mut git))
    };
    let mut greedily = Vec::new();
    for (n, depth) in ["5", "4", "3", "2", "1"].into_iter().enumerate() {
        greedily.push(clone(&greedy, depth, &format!("greedy{depth}")));
        wait_until("it waits", || slots(&gateway, "waiting") == n as u64 + 1);
    }
    let joined = clone(&key, "1", "joined");
    // News come every ten seconds, and first after two.
    std::thread::sleep(std::time::Duration::from_secs(4));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let said = joined.join().unwrap().err;
    assert!(said.contains("waiting for a free slot, 1 ahead"), "{said}");
    for clone in greedily {
        clone.join().unwrap().ok();
    }
}

/// Whatever its fetch waits for: here it does not read the pack that it sends too much to.
#[test]
fn who_sends_too_much_and_does_not_read_is_cut_at_once() {
    let (gateway, bare, key) = site(None, slow_packs);
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let (mut open, _) = Open::new(&gateway, &key, 2);
    open.says(&fetch(tip.trim()));
    // The rest of it, 12 MiB, is on its way and not read.
    while !open.line().unwrap().contains("PACK") {}
    // It may be closed before it has said all of it.
    let _said = open.tries(&LIST.repeat((34 << 20) / LIST.len()));
    wait_until("it is cut", || gateway.audit().contains(r#""outcome":"flooded""#));
    drop(open);
}
