//! A key's life under real clones: rotation with overlap, suspension, expiry, and what is remembered of its uses.

use std::time::Duration;

use crate::harness::{Gateway, wait_until};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_rotated_key_clones_in_the_overlap_and_is_refused_after_it() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let old = gateway.key("ci", &["acme/app", "acme/lib"]);
    let new = gateway.keygen("new", &["ed25519"]);
    let public = new.with_extension("pub");
    let url = gateway.url("acme/app");
    gateway.pullgate(["key", "rotate", "acme/ci", "--key", public.to_str().unwrap(), "--overlap", "10m"]).ok();
    gateway.git(&old, &["clone", "-q", &url, "by-old"]).ok();
    gateway.git(&new, &["clone", "-q", &url, "by-new"]).ok();
    // The new key's page says what the old one is still used for.
    let shown = json(&gateway.pullgate(["key", "show", "acme/ci-2", "--json"]).ok());
    assert_eq!(shown["replaces"]["name"], "acme/ci");
    assert_eq!(shown["old_uses"][0]["grant"], "acme/app");
    assert_eq!(shown["old_uses"][0]["last"]["repository"], "acme/app");
    assert!(shown["last_used"]["client"].as_str().unwrap().contains("OpenSSH"), "{shown}");
    let text = gateway.pullgate(["key", "show", "acme/ci-2"]).ok();
    assert!(text.contains("old key used acme/app at ") && text.contains("never used   acme/lib"), "{text}");
    // The end of the overlap is moved to where it can be waited for, however slow the machine is.
    gateway.pullgate(["key", "expire", "acme/ci", "1s"]).ok();
    let shown = json(&gateway.pullgate(["key", "show", "acme/ci", "--json"]).ok());
    let until: jiff::Timestamp = shown["replaced_by"]["until"].as_str().unwrap().parse().unwrap();
    let left = Duration::try_from(until.duration_since(jiff::Timestamp::now())).unwrap_or_default();
    assert!(left <= Duration::from_secs(1), "{until}: the overlap was not moved");
    std::thread::sleep(left + Duration::from_millis(100));
    let refused = gateway.git(&old, &["clone", "-q", &url, "too-late"]).failed();
    let date = until.strftime("%Y-%m-%d").to_string();
    assert!(refused.contains("[rotated]") && refused.contains("acme/ci-2") && refused.contains(&date), "{refused}");
    gateway.git(&new, &["clone", "-q", &url, "by-new-later"]).ok();
}

#[test]
fn suspension_and_expiry_reach_the_next_request_of_an_open_connection() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let url = gateway.url("acme/app");
    let socket = gateway.path("mux");
    // One connection for all requests, as ControlMaster keeps it.
    let line = format!(
        "{} -o ControlMaster=auto -o ControlPersist=60 -o ControlPath={}",
        gateway.ssh_line(&key),
        socket.display()
    );
    let list = || {
        let mut git = crate::harness::plain_git(&gateway.path(""));
        git.env("GIT_SSH_COMMAND", &line).args(["ls-remote", &url]);
        crate::harness::run(&mut git)
    };
    list().ok();
    assert!(socket.exists(), "the connection is kept");
    gateway.pullgate(["key", "suspend", "acme/ci", "--reason", "a secret reason"]).ok();
    let refused = list().failed();
    assert!(refused.contains("[suspended]") && !refused.contains("secret"), "{refused}");
    gateway.pullgate(["key", "resume", "acme/ci"]).ok();
    list().ok();
    gateway.pullgate(["key", "expire", "acme/ci", "1s"]).ok();
    std::thread::sleep(Duration::from_millis(1100));
    let refused = list().failed();
    assert!(refused.contains("[expired]"), "{refused}");
    gateway.pullgate(["key", "expire", "acme/ci", "1d"]).ok();
    list().ok();
    gateway.pullgate(["key", "sources", "acme/ci", "192.0.2.0/24"]).ok();
    let refused = list().failed();
    assert!(refused.contains("[source-address]"), "{refused}");
    gateway.ssh(&key, &["-O", "exit", "-o", &format!("ControlPath={}", socket.display())], &[]);
}

#[test]
fn groups_public_repositories_and_account_keys_clone() {
    let gateway = Gateway::start();
    gateway.pullgate(["account", "add", "other"]).ok();
    for repo in ["acme/app", "other/app"] {
        gateway.repo(repo);
    }
    let key = gateway.key("ci", &[]);
    let person = gateway.keygen("person", &["ed25519"]);
    let public = person.with_extension("pub");
    gateway.pullgate(["account-key", "add", "acme", "jo", "--key", public.to_str().unwrap()]).ok();
    let list = |key: &std::path::Path, repo: &str| gateway.git(key, &["ls-remote", &gateway.url(repo)]);
    list(&person, "acme/app").ok();
    assert!(list(&person, "other/app").failed().contains("[not-granted]"));
    assert!(list(&key, "acme/app").failed().contains("[not-granted]"));
    gateway.pullgate(["group", "add", "acme/@all", "acme/app"]).ok();
    gateway.pullgate(["key", "grant", "acme/ci", "acme/@all"]).ok();
    list(&key, "acme/app").ok();
    assert!(list(&key, "other/app").failed().contains("[not-granted]"));
    gateway.pullgate(["repo", "publish", "other/app"]).ok();
    list(&key, "other/app").ok();
    list(&person, "other/app").ok();
    gateway.pullgate(["repo", "remove", "acme/app", "--yes"]).ok();
    assert!(list(&key, "acme/app").failed().contains("[not-granted]"));
}

/// What is lost is what came in the last minute at most: within that, a use is where kill -9 does not reach it.
#[test]
fn kill_9_costs_a_minute_of_uses_at_most() {
    let mut gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/*"]);
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
    let used = std::time::Instant::now();
    let shown =
        |gateway: &Gateway| json(&gateway.pullgate(["key", "show", "acme/ci", "--json"]).ok())["last_used"].clone();
    let before = shown(&gateway);
    assert_eq!(before["repository"], "acme/app");
    let file = gateway.path("state/usage.jsonl");
    wait_until("the use is written down", || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
    assert!(used.elapsed() < std::time::Duration::from_secs(60), "{:?}", used.elapsed());
    gateway.kill();
    gateway.resume();
    assert_eq!(shown(&gateway), before);
    // Half of the file is not what was written; the daemon serves, and says so.
    gateway.kill();
    let text = std::fs::read(&file).unwrap();
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    gateway.resume();
    assert!(gateway.log().contains("cannot be read: they are left out"), "{}", gateway.log());
    assert_eq!(shown(&gateway), serde_json::Value::Null);
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
    assert_eq!(shown(&gateway)["repository"], "acme/app");
}

#[test]
fn uses_survive_a_stop_and_a_start() {
    let mut gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/*"]);
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
    let shown =
        |gateway: &Gateway| json(&gateway.pullgate(["key", "show", "acme/ci", "--json"]).ok())["last_used"].clone();
    let before = shown(&gateway);
    assert_eq!(before["repository"], "acme/app");
    assert_eq!(gateway.stop(), Some(0));
    assert_eq!(shown(&gateway), before, "without a daemon");
    gateway.resume();
    assert_eq!(shown(&gateway), before);
}
