//! `pullgate audit verify` over what the program really wrote: by commands without a daemon and by daemons, over rotations,
//! kills, and what somebody did to the file.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Ran, Site};

/// The daemon itself.
struct Daemon(Child);

impl Daemon {
    fn start(site: &Site) -> Self {
        let child = site.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let daemon = Self(child);
        daemon.wait_for(site);
        daemon
    }

    fn wait_for(&self, site: &Site) {
        let begin = Instant::now();
        while std::os::unix::net::UnixStream::connect(site.path("state/control.sock")).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(60), "the daemon does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        assert!(self.0.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn add(site: &Site, names: std::ops::Range<u32>) {
    names.for_each(|n| drop(site.ok(&["account", "add", &format!("n{n}")])));
}

fn text(site: &Site) -> String {
    std::fs::read_to_string(site.path("state/audit.jsonl")).unwrap()
}

fn verdict(site: &Site) -> serde_json::Value {
    serde_json::from_str(&site.run(&["audit", "verify", "--json"]).out).unwrap()
}

/// Without what differs from run to run.
fn plain(ran: &Ran) -> String {
    let hidden = |word: &str| match word {
        fingerprint if fingerprint.starts_with("SHA256:") => "[KEY]".to_owned(),
        head if head.len() > 64 && head.contains(':') => format!("{}:[HASH]", head.split(':').next().unwrap()),
        key if key.starts_with("AAAA") => "[PUBLIC]".to_owned(),
        other => other.to_owned(),
    };
    let lines = ran.to_string();
    let lines = lines.lines().map(|line| line.split(' ').map(hidden).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn changes_of_daemons_and_commands_are_one_chain_over_rotations_and_kills() {
    let site = Site::new();
    add(&site, 0..2);
    let daemon = Daemon::start(&site);
    add(&site, 2..4);
    // While it runs, and while it changes something.
    assert_eq!(verdict(&site)["good"], true);
    std::fs::rename(site.path("state/audit.jsonl"), site.path("state/audit.jsonl.1")).unwrap();
    daemon.signal(rustix::process::Signal::HUP);
    let begin = Instant::now();
    while !site.path("state/audit.jsonl").exists() {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    add(&site, 4..6);
    daemon.kill();
    add(&site, 6..7);
    std::fs::rename(site.path("state/audit.jsonl.1"), site.path("state/audit.jsonl.2")).unwrap();
    std::fs::rename(site.path("state/audit.jsonl"), site.path("state/audit.jsonl.1")).unwrap();
    let daemon = Daemon::start(&site);
    add(&site, 7..9);
    daemon.stop();
    let verdict = verdict(&site);
    assert_eq!((&verdict["good"], &verdict["changes"], &verdict["registry"]), (&true.into(), &9.into(), &9.into()));
    assert_eq!((&verdict["links"], &verdict["signed_up_to"]), (&verdict["good_links"], &verdict["links"]));
    assert_eq!((&verdict["first_link"], &verdict["recovered"]), (&1.into(), &0.into()));
    let story = format!(
        "$ pullgate audit verify\n{}\n$ pullgate audit key\n{}",
        plain(&site.ok(&["audit", "verify"])),
        plain(&site.ok(&["audit", "key"]))
    );
    site.snapshot("audit_verify_good", &story);
    // Elsewhere, with the public half and the head that were kept.
    let key = site.ok(&["audit", "key"]).out;
    std::fs::write(site.path("audit.pub"), &key).unwrap();
    let all: String = ["state/audit.jsonl.2", "state/audit.jsonl.1", "state/audit.jsonl"]
        .iter()
        .map(|name| std::fs::read_to_string(site.path(name)).unwrap())
        .collect();
    let head = verdict["head"].as_str().unwrap();
    let elsewhere = ["audit", "verify", "--file", "-", "--public-key", "audit.pub", "--head", head];
    let ran = site.run_with(&elsewhere, &all);
    assert!(ran.code == 0 && ran.out.contains("not compared with the registry"), "{ran}");
    let cut = all.trim_end().rsplit_once('\n').unwrap().0;
    assert_eq!(site.run_with(&elsewhere, &format!("{cut}\n")).code, 4);
}

#[test]
fn what_somebody_did_to_the_file_is_told_with_its_line_and_exit_code() {
    let site = Site::new();
    add(&site, 0..6);
    let good = text(&site);
    let lines: Vec<&str> = good.lines().collect();
    let at = |name: &str| lines.iter().position(|line| line.contains(&format!("account {name}\""))).unwrap();
    let mut story = String::new();
    let mut tell = |what: &str, lines: &[String]| {
        std::fs::write(site.path("state/audit.jsonl"), lines.join("\n") + "\n").unwrap();
        let ran = site.run(&["audit", "verify"]);
        assert_eq!(ran.code, 4, "{what}: {ran}");
        story.push_str(&format!("# {what}\n{}\n", plain(&ran)));
    };
    let all = || lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut edited = all();
    edited[at("n2")] = edited[at("n2")].replace("account n2", "account x2");
    tell("edited", &edited);
    let mut removed = all();
    removed.remove(at("n2"));
    tell("removed", &removed);
    let mut inserted = all();
    let foreign = inserted[at("n2")].split(",\"n\":").next().unwrap().replace("account n2", "account x") + "}";
    inserted.insert(at("n3"), foreign);
    tell("inserted", &inserted);
    let mut moved = all();
    moved.swap(at("n2"), at("n3"));
    tell("moved", &moved);
    tell("cut off", &all()[..at("n4")]);
    // The same with a changed line that the gateway goes on behind.
    std::fs::write(site.path("state/audit.jsonl"), edited.join("\n") + "\n").unwrap();
    add(&site, 6..7);
    let ran = site.run(&["audit", "verify"]);
    assert!(ran.code == 4 && ran.out.contains("edited"), "{ran}");
    site.snapshot("audit_verify_broken", &story);
}

#[test]
fn what_cannot_be_verified_is_said() {
    let site = Site::new();
    let mut story = String::new();
    for args in [
        &["audit", "verify"] as &[&str],
        &["audit", "key"],
        &["audit", "verify", "--public-key", "none.pub"],
        &["audit", "verify", "--public-key", "config.toml"],
        &["audit", "verify", "--head", "7"],
        &["audit", "verify", "--file", "none.jsonl"],
    ] {
        story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args)));
    }
    site.snapshot("audit_verify_mistakes", &story);
}

/// A crash between the journal and the audit file: the record comes at the next start.
#[test]
fn a_change_that_lost_its_record_gets_it_back() {
    let site = Site::new();
    add(&site, 0..2);
    let config = pullgate::daemon::config::Config::load(&site.path("config.toml")).unwrap();
    let (lookup, amend) = pullgate::registry::open(&config.registry_dir()).unwrap();
    let account = pullgate::model::name::AccountName::parse("lost").unwrap();
    amend.commit("alice", &[pullgate::registry::change::Change::AccountAdd { account }]).unwrap();
    drop((amend, lookup));
    let ran = site.run(&["audit", "verify"]);
    assert!(ran.code == 4 && ran.out.contains("the end is missing: the registry is at change 3"), "{ran}");
    let daemon = Daemon::start(&site);
    let ran = site.ok(&["audit", "verify"]);
    assert!(ran.err.contains("1 records were made from the journal"), "{ran}");
    let shown = site.ok(&["audit", "--changes", "-n", "1"]).out;
    assert!(shown.contains("added account lost (change 3, from the journal)") && shown.contains("alice"), "{shown}");
    daemon.stop();
}

/// Changes are killed away in their middle again and again: what was answered has its record, and the chain holds.
#[test]
fn kill_9_in_the_middle_of_changes_leaves_a_chain_that_holds() {
    let site = Site::new();
    for round in 0..4u32 {
        let daemon = Daemon::start(&site);
        let busy: Vec<_> = (0..4)
            .map(|one| {
                let name = format!("r{round}-{one}-");
                let mut command = site.command(&["account", "add", &format!("{name}a")]);
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        std::thread::sleep(Duration::from_millis(15 * u64::from(round)));
        daemon.kill();
        // Who found no daemon any more works without one.
        for mut child in busy {
            child.wait().unwrap();
        }
    }
    let daemon = Daemon::start(&site);
    daemon.stop();
    let listed: serde_json::Value = serde_json::from_str(&site.ok(&["account", "list", "--json"]).out).unwrap();
    let verdict = verdict(&site);
    assert_eq!(verdict["good"], true, "{verdict}");
    assert_eq!(verdict["changes"], listed.as_array().unwrap().len(), "{verdict}");
    assert_eq!(verdict["gaps"], serde_json::json!([]));
}

/// As a service of systemd has it: the records on standard output, the log beside them on standard error.
#[test]
fn records_go_to_standard_output_when_that_is_asked_for() {
    let site = Site::new();
    let config = std::fs::read_to_string(site.path("config.toml")).unwrap();
    std::fs::write(site.path("config.toml"), config.replace("to = \"file\"", "to = \"stdout\"")).unwrap();
    let out = std::fs::File::create(site.path("out")).unwrap();
    let daemon = Daemon(site.command(&["serve"]).stdout(out).stderr(Stdio::null()).spawn().unwrap());
    daemon.wait_for(&site);
    add(&site, 0..2);
    daemon.stop();
    assert!(!site.path("state/audit.jsonl").exists());
    let text = std::fs::read_to_string(site.path("out")).unwrap();
    let key = site.ok(&["audit", "key"]).out;
    std::fs::write(site.path("audit.pub"), key).unwrap();
    let ran = site.run_with(&["audit", "verify", "--file", "-", "--public-key", "audit.pub"], &text);
    assert!(ran.code == 0 && ran.out.starts_with("good: all 4 links: 2 changes"), "{ran}");
    let shown = site.run_with(&["audit", "--file", "-", "--changes"], &format!("a line of the log\n{text}"));
    assert!(shown.out.lines().count() == 2 && shown.err.contains("1 line is no record"), "{shown}");
    let ran = site.run(&["audit"]);
    assert!(ran.code == 2 && ran.err.contains("journalctl -u pullgate -o cat | pullgate audit --file -"), "{ran}");
    // What a command does by itself is in the file, and goes on with the chain.
    add(&site, 2..3);
    let ran =
        site.run_with(&["audit", "verify", "--file", "-", "--public-key", "audit.pub"], &(text + &self::text(&site)));
    assert!(ran.code == 0 && ran.out.starts_with("good: all 6 links: 3 changes"), "{ran}");
}

#[test]
fn a_key_that_others_can_read_signs_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    add(&site, 0..1);
    std::fs::set_permissions(site.path("state/audit.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let ran = site.run(&["account", "add", "other"]);
    assert!(ran.code == 6 && ran.err.contains("is open to other users (mode 644)"), "{ran}");
    let ran = site.run(&["check"]);
    assert!(ran.code == 2 && ran.out.contains("audit.key: the audit key"), "{ran}");
    std::fs::remove_file(site.path("state/audit.key")).unwrap();
    add(&site, 1..2);
    // Another key signs from then on, and nobody but the operator can say that this was meant.
    let ran = site.run(&["audit", "verify"]);
    assert!(ran.code == 4 && ran.out.contains("is signed with another key"), "{ran}");
}

/// A folder that was not mounted, say: a gateway that serves without it knows nobody, and looks well.
#[test]
fn an_empty_registry_is_not_taken_for_the_one_that_was() {
    let site = Site::new();
    add(&site, 0..2);
    let (registry, aside) = (site.path("state/registry"), site.path("aside"));
    std::fs::rename(&registry, &aside).unwrap();
    for (verb, code) in [("serve", 6), ("check", 2)] {
        let ran = site.run(&[verb]);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(
            ran.code == code && said.contains("the registry is empty, and there are audit records of 2 changes"),
            "{ran}"
        );
        assert!(said.contains("pullgate restore"), "{ran}");
    }
    let kept = aside.join("journal").display().to_string();
    site.ok(&["restore", &kept]);
    site.ok(&["audit", "verify"]);
    assert!(!site.ok(&["account", "list"]).out.is_empty());
    // Somebody who means it.
    std::fs::remove_dir_all(&registry).unwrap();
    for name in ["audit.chain", "audit.jsonl"] {
        std::fs::rename(site.path("state").join(name), site.path(name)).unwrap();
    }
    add(&site, 7..8);
    site.ok(&["audit", "verify"]);
}

/// An older journal that was put back by hand, with nobody told: the gateway tells it itself, and verify takes that for a fault
/// until somebody says that it is none.
#[test]
fn a_gap_is_a_fault_until_somebody_allows_it() {
    let site = Site::new();
    add(&site, 0..2);
    std::fs::copy(site.path("state/registry/journal"), site.path("kept")).unwrap();
    add(&site, 2..4);
    let registry = site.path("state/registry");
    let options = pullgate::registry::RestoreOptions { replace: true, accept_loss: false };
    pullgate::registry::restore(&registry, &site.path("kept"), options).unwrap();
    let ran = site.run(&["audit", "verify"]);
    assert!(ran.code == 4 && ran.out.contains("an older journal was put in its place"), "{ran}");
    add(&site, 4..5);
    let ran = site.run(&["audit", "verify"]);
    assert!(ran.code == 4 && ran.out.contains("GAP change 2, told on") && ran.out.contains("--allow-gaps"), "{ran}");
    let ran = site.ok(&["audit", "verify", "--allow-gaps"]);
    assert!(ran.out.contains("the registry is at change 3, recorded up to 3"), "{ran}");
    let shown = site.ok(&["audit", "--outcome", "gap"]).out;
    assert!(shown.contains("at change 2: the registry is at change 2, and there is a record of change 4"), "{shown}");
}
