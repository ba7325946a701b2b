//! `backup` and `restore`.

use std::os::unix::fs::PermissionsExt as _;

use crate::daemon::Daemon;
use crate::support::Site;

fn with_a_key() -> Site {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app"]);
    site
}

#[test]
fn a_backup_is_taken_under_a_daemon_and_restored_without_one() {
    let site = with_a_key();
    let daemon = Daemon::start(&site);
    let said = site.ok(&["backup", "one"]).out;
    assert!(said.starts_with("backed up 2 changes to one, "), "{said}");
    let mode = std::fs::metadata(site.path("one")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!site.path("one.part").exists());
    let piped = site.command(&["backup", "-"]).output().unwrap();
    assert_eq!(piped.stdout, std::fs::read(site.path("one")).unwrap());

    // What is there already is not written over.
    let again = site.run(&["backup", "one"]);
    assert_eq!(again.code, 4, "{again}");
    assert_eq!(std::fs::read(site.path("one")).unwrap(), piped.stdout);

    site.ok(&["key", "remove", "acme/ci"]);
    let running = site.run(&["restore", "--force", "one"]);
    assert_eq!(running.code, 4, "{running}");
    assert!(running.err.contains("a daemon is running") && running.err.contains("stop it first"), "{running}");
    daemon.stop();

    let full = site.run(&["restore", "one"]);
    assert_eq!(full.code, 4, "{full}");
    assert!(full.err.contains("a registry with 3 changes") && full.err.contains("--force"), "{full}");
    assert!(!site.ok(&["key", "list"]).out.contains("acme/ci"));
    let restored = site.ok(&["restore", "--force", "one"]).out;
    assert_eq!(restored, "restored 2 changes from one; start the daemon\n");
    assert!(site.ok(&["key", "list"]).out.contains("acme/ci"));
    assert!(site.path("state/registry/journal.replaced-1").exists(), "the other journal is kept");
    let told = site.ok(&["restore", "--force", "one", "--json"]).out;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, serde_json::json!({ "file": "one", "changes": 2 }));
    let audit = std::fs::read_to_string(site.path("state/audit.jsonl")).unwrap();
    let restored = audit.lines().rfind(|line| line.contains("\"event\":\"restored\"")).unwrap();
    assert!(restored.contains("restore: the registry is that of one"), "{audit}");
    // The record goes on over it: what follows is counted from the backup's last change.
    site.ok(&["audit", "verify"]);
}

#[test]
fn a_broken_backup_is_refused_and_says_where() {
    let site = with_a_key();
    site.ok(&["key", "note", "acme/ci", "last"]);
    site.ok(&["backup", "good"]);
    let good = std::fs::read(site.path("good")).unwrap();
    let frame = [0xf5, 0xc0, 0x9e, 0xff];
    let frames: Vec<usize> = (0..good.len()).filter(|at| good[*at..].starts_with(&frame)).collect();
    assert_eq!(frames.len(), 3);
    let journal = std::fs::read(site.path("state/registry/journal")).unwrap();
    let mut flipped = good.clone();
    flipped[frames[1] + 20] ^= 1;
    let without = [&good[..frames[1]], &good[frames[2]..]].concat();
    for (what, bytes, says) in [
        ("flipped", flipped, format!("damaged at byte {}, after entry 1", frames[1])),
        ("cut", good[..good.len() - 5].to_vec(), format!("damaged at byte {}, after entry 2", frames[2])),
        ("a frame less", without, format!("damaged at byte {}, after entry 1", frames[1])),
        ("no journal", b"something else".to_vec(), "damaged at byte 0".to_owned()),
    ] {
        std::fs::write(site.path("bad"), bytes).unwrap();
        let ran = site.run(&["restore", "--force", "bad"]);
        assert_eq!(ran.code, 2, "{what}: {ran}");
        assert!(ran.err.contains(&says) && ran.err.contains("nothing was changed"), "{what}: {ran}");
        assert_eq!(std::fs::read(site.path("state/registry/journal")).unwrap(), journal, "{what}");
    }
    // Whoever says so gets what stands before the damage.
    std::fs::write(site.path("bad"), &good[..good.len() - 5]).unwrap();
    assert!(site.ok(&["restore", "--force", "--accept-loss", "bad"]).out.contains("restored 2 changes"));
    assert!(site.ok(&["key", "list"]).out.contains("acme/ci"));
}

#[test]
fn check_finds_a_journal_that_is_broken_or_lost_its_end() {
    let site = with_a_key();
    let path = site.path("state/registry/journal");
    let good = std::fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    std::fs::write(&path, flipped).unwrap();
    let ran = site.run(&["check"]);
    assert!(ran.code == 2 && ran.out.contains("error    journal: the journal is damaged at byte 16"), "{ran}");
    std::fs::write(&path, &good[..good.len() - 1]).unwrap();
    let ran = site.run(&["check"]);
    assert!(ran.code == 2 && ran.out.contains("entry 2 was acknowledged: its end is lost"), "{ran}");
    assert_eq!(site.run(&["key", "list"]).code, 6);
    std::fs::write(&path, good).unwrap();
    assert!(site.ok(&["key", "list"]).out.contains("acme/ci"));
}

#[test]
fn a_backup_that_cannot_be_read_is_no_damaged_one() {
    let site = with_a_key();
    for (file, code) in [("none", 3), ("state", 6)] {
        let ran = site.run(&["restore", "--force", file]);
        assert_eq!(ran.code, code, "{ran}");
        assert!(ran.err.contains(&format!("{file} cannot be read")) && ran.err.contains("`pullgate backup`"), "{ran}");
        assert!(!ran.err.contains("--accept-loss"), "{ran}");
        // Also when it is the first thing that is wrong.
        assert_eq!(site.run(&["restore", "none"]).code, 3);
    }
    std::fs::write(site.path("text"), "no journal at all").unwrap();
    let ran = site.run(&["restore", "--force", "text"]);
    assert!(ran.code == 2 && ran.err.contains("none of this one can be taken"), "{ran}");
    assert!(site.ok(&["key", "list"]).out.contains("acme/ci"));
}
