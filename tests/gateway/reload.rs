//! SIGHUP: what a running gateway takes over from its config, and what it does with one that it cannot take.

use std::process::Command;

use rustix::process::{Signal, kill_process};

use crate::harness::{Gateway, run, wait_until};

fn hang_up(gateway: &Gateway, says: &str) {
    let before = gateway.log().matches(says).count();
    kill_process(gateway.process(), Signal::HUP).unwrap();
    wait_until(says, || gateway.log().matches(says).count() > before);
}

fn edit(gateway: &Gateway, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed);
    std::fs::write(gateway.config(), changed).unwrap();
}

fn shown_keys(gateway: &Gateway) -> String {
    let port = gateway.port().to_string();
    run(Command::new("ssh-keyscan").args(["-T", "10", "-p", &port, "-t", "ed25519,rsa", "127.0.0.1"])).out
}

#[test]
fn host_keys_and_limits_are_taken_over_while_a_connection_stays() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let url = gateway.url("acme/app");
    let socket = gateway.path("s").display().to_string();
    let ssh = format!("{} -o ControlMaster=auto -o ControlPersist=60 -o ControlPath={socket}", gateway.ssh_line(&key));
    let shared = |copy: &str| {
        run(gateway.git_command(&key).env("GIT_SSH_COMMAND", &ssh).args(["clone", "-q", &url, copy])).ok();
    };
    shared("before");
    assert!(!shown_keys(&gateway).contains("ssh-rsa"));
    edit(&gateway, |text| text.replace("rsa_host_key = false", "rsa_host_key = true"));
    hang_up(&gateway, "config and host keys were read anew");
    assert!(shown_keys(&gateway).contains("ssh-rsa"), "{}", gateway.log());
    shared("after");
    assert_eq!(gateway.audit().matches(r#""event":"login""#).count(), 1, "it is the connection of before");
    gateway.git(&key, &["clone", "-q", &url, "anew"]).ok();
    run(Command::new("ssh").args(["-O", "exit", "-o", &format!("ControlPath={socket}"), "git@localhost"]));
}

#[test]
fn a_config_that_cannot_be_taken_leaves_the_old_one() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    edit(&gateway, |text| text.replace("rsa_host_key = false", "rsa_host_key = 7\nnonsense = 1"));
    hang_up(&gateway, "the old one stays");
    let log = gateway.log();
    assert!(log.contains("ssh.rsa_host_key") && log.contains("ssh.nonsense"), "{log}");
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "copy"]).ok();
    assert!(shown_keys(&gateway).contains("ssh-ed25519"));
    // What a running daemon cannot change is named.
    edit(&gateway, |text| {
        text.replace("rsa_host_key = 7\nnonsense = 1", "rsa_host_key = false").replace("slots = 0", "slots = 3")
    });
    hang_up(&gateway, "some of what changed needs `pullgate upgrade`");
    assert!(gateway.log().contains("what [limits] says of fetches, slots and the end"), "{}", gateway.log());
}

/// A folder that was moved away, or a name that is mistyped: agents would be warned of a key that they do not know.
#[test]
fn no_host_key_is_made_in_the_place_of_one_that_clients_know() {
    let gateway = Gateway::start();
    let (key, aside) = (gateway.path("keys/ssh_host_ed25519_key"), gateway.path("aside"));
    let shown = shown_keys(&gateway);
    assert!(gateway.log().contains("there was no host key: a new one was made"), "{}", gateway.log());
    std::fs::rename(&key, &aside).unwrap();
    hang_up(&gateway, "the old config and host keys stay");
    assert!(gateway.log().contains("ssh_host_ed25519_key is missing, and clients know that key"), "{}", gateway.log());
    assert!(!key.exists() && shown_keys(&gateway) == shown);
    std::fs::rename(&aside, &key).unwrap();
    hang_up(&gateway, "config and host keys were read anew");
    assert_eq!(shown_keys(&gateway), shown);
}

/// As logrotate does it: move the file away, then SIGHUP.
#[test]
fn the_audit_file_is_opened_anew_and_no_record_is_lost() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let (file, moved) = (gateway.path("state/audit.jsonl"), gateway.path("state/audit.jsonl.1"));
    std::fs::rename(&file, &moved).unwrap();
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
    hang_up(&gateway, "the audit file was opened anew");
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "copy"]).ok();
    wait_until("the clone is recorded", || gateway.audit().contains(r#""event":"fetch""#));
    let old = std::fs::read_to_string(&moved).unwrap();
    assert!(old.contains("added key acme/ci") && old.contains(r#""event":"login""#), "{old}");
    assert_eq!(gateway.audit().matches(r#""event":"login""#).count(), 1);
}

/// A folder of host keys that was not mounted, or not restored, has each client warned of a changed key.
#[test]
fn a_host_key_that_is_gone_is_told_of_where_clients_know_it() {
    let mut gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let check = |gateway: &Gateway| gateway.pullgate(["check"]).out;
    let words = "and clients have been served: ";
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "copy"]).ok();
    gateway.stop();
    assert!(!check(&gateway).contains(words) && !gateway.log().contains(words));
    std::fs::remove_file(gateway.path("keys/ssh_host_ed25519_key")).unwrap();
    let found = check(&gateway);
    assert!(
        found.contains("warning  ssh.host_keys: the ed25519 key is gone from ") && found.contains(words),
        "{found}"
    );
    gateway.resume();
    assert!(gateway.log().contains("WARN") && gateway.log().contains(words), "{}", gateway.log());
    assert!(!check(&gateway).contains(words), "it was made");
}
