//! Each bound and clock of `[limits]` that somebody met is counted by its name.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::faults::site;
use crate::harness::{Gateway, run, wait_until};
use crate::raw::{Client, Door, Fault};
use crate::storms::holds_a_slot;
use crate::watcher::{Numbers, watched};
use crate::withdrawn::{LIST, Open, fetch};

/// A gateway with some bounds other than the defaults, in pairs of what is written and what is to be.
fn bounded(bounds: &[(&str, &str)]) -> (Gateway, SocketAddr, Door) {
    let (gateway, address) = watched(|config| {
        bounds.iter().fold(config, |config, (key, value)| {
            let line =
                config.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap_or_else(|| panic!("{key}"));
            config.replace(line, &format!("{key} = {value}"))
        })
    });
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let key = Arc::new(russh::keys::load_secret_key(key, None).unwrap());
    let door = Door { address: ([127, 0, 0, 1], gateway.port()).into(), user: "git".to_owned(), key };
    (gateway, address, door)
}

/// How often a bound was met.
fn hits(address: SocketAddr, limit: &str) -> f64 {
    let name = if limit.starts_with("slot") || limit.starts_with("fetch") { "fetch" } else { "ssh" };
    Numbers::of(address).get(&format!("pullgate_{name}_limit_hits_total{{limit=\"{limit}\"}}"))
}

fn met(address: SocketAddr, limit: &str) {
    wait_until(limit, || hits(address, limit) >= 1.0);
}

fn silent(door: &Door, says: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(door.address).unwrap();
    socket.write_all(says).unwrap();
    socket
}

#[test]
fn bounds_on_those_who_are_not_logged_in_are_counted() {
    for (limit, places) in [("startups", 2), ("startups_per_network", 2), ("connections", 2)] {
        let (_gateway, address, door) = bounded(&[(limit, "2")]);
        let sockets: Vec<_> = (0..places).map(|_| silent(&door, b"")).collect();
        wait_until("they are inside", || Numbers::of(address).get("pullgate_ssh_startups") >= 1.0);
        assert_eq!(hits(address, limit), 0.0, "{limit}: nobody is turned away without need");
        let more: Vec<_> = (0..3).map(|_| silent(&door, b"")).collect();
        met(address, limit);
        drop((sockets, more));
    }
    // That clock runs from the first moment on.
    let (_gateway, address, door) = bounded(&[("connection_idle_seconds", "1"), ("banner_seconds", "10")]);
    let socket = silent(&door, b"");
    met(address, "connection_idle_seconds");
    drop(socket);
    let (gateway, address, door) = bounded(&[("login_seconds", "1"), ("keys_per_connection", "2")]);
    let socket = silent(&door, b"SSH-2.0-test\r\n");
    met(address, "login_seconds");
    assert_eq!(hits(address, "banner_seconds"), 0.0);
    drop(socket);
    let keys: Vec<String> =
        (0..4).map(|n| gateway.keygen(&format!("k{n}"), &["ed25519"]).display().to_string()).collect();
    let options: Vec<&str> = keys.iter().flat_map(|key| ["-i", key]).collect();
    let said = gateway.ssh(&gateway.path("k0"), &options, &[]).failed();
    assert!(said.contains("Too many authentication attempts"), "{said}");
    met(address, "keys_per_connection");
    let reasons = Numbers::of(address).by("pullgate_logins_refused_total", "reason");
    assert_eq!(reasons, [("too-many-keys".to_owned(), 1)].into());
}

#[test]
fn bounds_on_those_who_are_logged_in_are_counted() {
    let (_gateway, address, door) = bounded(&[("channels_per_connection", "2"), ("connection_idle_seconds", "5")]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (client, talks) = runtime.block_on(async {
        let client = Client::connect(&door).await.unwrap();
        let mut talks = Vec::new();
        for _ in 0..2 {
            let mut talk = client.upload_pack("acme/app", 2).await.unwrap();
            talk.capabilities().await.unwrap();
            talks.push(talk);
        }
        assert!(client.upload_pack("acme/app", 2).await.is_err(), "a third channel");
        (client, talks)
    });
    met(address, "channels_per_connection");
    assert_eq!(hits(address, "connection_idle_seconds"), 0.0);
    // Nothing moves from here on.
    met(address, "connection_idle_seconds");
    drop((client, talks));
}

#[test]
fn bounds_on_work_are_counted() {
    let bounds = [("slots", "1"), ("slot_queue", "1"), ("slot_wait_seconds", "3"), ("fetch_seconds", "20")];
    let (gateway, address, door) = bounded(&bounds);
    std::thread::sleep(Duration::from_millis(60));
    let tip = gateway.refs(&gateway.path("repositories/acme/app.git"))[..40].to_owned();
    let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
    // Has something already, and does not say that it is done: its git waits, and holds the one slot.
    let holds =
        format!("{}0000{}", line(&format!("want {tip} side-band-64k ofs-delta\n")), line(&format!("have {:040}\n", 1)));
    let clone = |depth: u32, n: usize| {
        let wish = crate::raw::Wish { wants: vec![tip.clone()], depth: Some(depth), ..Default::default() };
        // Different words, different work: nobody waits for another's answer.
        let wish = crate::raw::Wish { include_tag: n.is_multiple_of(2), ..wish };
        let door = door.clone();
        async move {
            let client = Client::connect(&door).await?;
            let mut talk = client.upload_pack("acme/app", 2).await?;
            talk.capabilities().await?;
            talk.fetch(wish.v2()).await
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&door).await.unwrap();
        let mut holder = client.upload_pack("acme/app", 0).await.unwrap();
        holder.advertisement().await.unwrap();
        let held = tokio::spawn(async move { holder.fetch_v0(holds.into_bytes(), false).await });
        wait_until("the slot is held", || Numbers::of(address).get("pullgate_slots_in_use") == 1.0);
        let waits: Vec<_> = (0..4).map(|n| tokio::spawn(clone(1 + u32::try_from(n).unwrap() / 2, n))).collect();
        wait_until("one waits", || Numbers::of(address).get("pullgate_slot_queue") == 1.0);
        for wait in waits {
            let said: Result<_, Fault> = wait.await.unwrap();
            assert!(said.as_ref().is_err_and(|fault| fault.contains("[busy]")), "{said:?}");
        }
        assert_eq!((hits(address, "slot_queue"), hits(address, "slot_wait_seconds")), (3.0, 1.0));
        let said = held.await.unwrap();
        assert!(said.is_err_and(|fault| fault.contains("[timed-out]")));
        assert_eq!(hits(address, "fetch_seconds"), 1.0);
    });
    let unserved = Numbers::of(address).by("pullgate_fetches_unserved_total", "code");
    assert_eq!(unserved, [("busy".to_owned(), 4), ("timed-out".to_owned(), 1)].into());
}

#[test]
fn who_is_there_no_more_is_ended_by_the_clock_of_the_keepalives() {
    let bounds = [("keepalive_seconds", "1"), ("banner_seconds", "1"), ("login_seconds", "1")];
    let (gateway, address, _) = bounded(&bounds);
    let key = gateway.path("ci");
    let (gone, there) = (Open::new(&gateway, &key, 2).0, stays(&gateway, &key, "there"));
    let pid = Pid::from_raw(gone.id().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    met(address, "keepalive_seconds");
    assert_eq!((hits(address, "keepalive_seconds"), hits(address, "connection_idle_seconds")), (1.0, 0.0));
    kill_process(pid, Signal::CONT).unwrap();
    // Whoever answers is not silent.
    leaves(&gateway, &key, &there);
}

#[test]
fn bounds_on_what_a_client_sends_are_counted() {
    for limit in ["sent_mib_per_fetch", "unread_mib_per_fetch", "unread_mib"] {
        let (gateway, address, _) = bounded(&[("slots", "1"), (limit, "1")]);
        let holding = gateway.key("holding", &["acme/app"]);
        std::thread::sleep(Duration::from_millis(60));
        let tip = gateway.refs(&gateway.path("repositories/acme/app.git"))[..40].to_owned();
        let mut holder = holds_a_slot(&gateway, &holding, &tip);
        wait_until("the slot is held", || Numbers::of(address).get("pullgate_slots_in_use") == 1.0);
        let (mut open, _) = Open::new(&gateway, &gateway.path("ci"), 2);
        open.says(&fetch(&tip));
        // Nobody reads on before it has its slot. What is cut may be closed before all of it is said.
        let _said = open.tries(&LIST.repeat((2 << 20) / LIST.len()));
        met(address, limit);
        wait_until("the record", || gateway.audit().contains(r#""outcome":"flooded""#));
        assert_eq!(open.ends(), Some(128), "{limit}");
        holder.kill().unwrap();
        holder.wait().unwrap();
    }
}

#[test]
fn keys_are_exchanged_again_after_as_many_bytes_as_the_config_says() {
    for (mib, more) in [("1", true), ("1024", false)] {
        let (gateway, _, key) = site(None, |config| config.replace("rekey_mib = 1024", &format!("rekey_mib = {mib}")));
        let ssh = format!("{} -v", gateway.ssh_line(&key));
        let mut git = gateway.git_command(&key);
        git.env("GIT_SSH_COMMAND", ssh).args(["clone", "-q", &gateway.url("acme/app"), "copy"]);
        let exchanges = run(&mut git).err.matches("SSH2_MSG_NEWKEYS received").count();
        assert!(gateway.path("copy/noise1").exists() && (exchanges > 5) == more, "{exchanges} exchanges");
    }
}

/// Connections of ssh that stay open and ask for nothing, each below a name.
fn stays(gateway: &Gateway, key: &Path, name: &str) -> String {
    let path = format!("ControlPath={}", gateway.path(name).display());
    gateway.ssh(key, &["-o", "ControlMaster=yes", "-o", &path, "-fN"], &[]).ok();
    path
}

fn leaves(gateway: &Gateway, key: &Path, path: &str) {
    gateway.ssh(key, &["-o", path, "-O", "exit"], &[]).ok();
}

#[test]
fn a_key_with_too_many_connections_is_told_so_and_served_when_one_ends() {
    let limit = "connections_per_key";
    let (gateway, address, _) = bounded(&[(limit, "2"), ("login_seconds", "20")]);
    let (ci, other) = (gateway.path("ci"), gateway.key("other", &["acme/app"]));
    let url = gateway.url("acme/app");
    let startups = || Numbers::of(address).get("pullgate_ssh_startups");
    let clone = |key: &Path, copy: &str| gateway.git(key, &["clone", "-q", &url, copy]);
    let (first, second) = (stays(&gateway, &ci, "s1"), stays(&gateway, &ci, "s2"));
    wait_until("both are logged in", || startups() == 0.0);
    assert_eq!(hits(address, limit), 0.0, "two may be there");

    let said = clone(&ci, "third").failed();
    let hint = "too many connections open; close some or try again in a minute, or let fewer agents share a key [busy]";
    assert!(said.contains("fatal: remote error: key acme/ci (SHA256:") && said.contains(hint), "{said}");
    crate::scene::same_id_in_the_audit(&gateway, &said, "busy");
    assert!(gateway.audit().contains("the key has too many connections"), "the record says which limit");
    assert_eq!(hits(address, limit), 1.0);
    let greeting = gateway.ssh(&ci, &["-T"], &[]);
    assert!(greeting.code == Some(128) && greeting.err.contains(hint), "{greeting:?}");
    assert!(gateway.log().contains("connections_per_key") && gateway.log().contains("acme/ci"), "{}", gateway.log());
    // It is this key's matter alone.
    clone(&other, "of-another").ok();

    // Somebody who is one too many, and stays: told so on each command, until there is a place.
    let waiting = stays(&gateway, &ci, "s3");
    let shared = |copy: &str| {
        let ssh = format!("{} -o {waiting}", gateway.ssh_line(&ci));
        run(gateway.git_command(&ci).env("GIT_SSH_COMMAND", ssh).args(["clone", "-q", &url, copy]))
    };
    assert_eq!(startups(), 1.0, "it counts as one that is not logged in");
    assert!(shared("fourth").failed().contains("[busy]"));
    leaves(&gateway, &ci, &first);
    wait_until("a place is free", || Numbers::of(address).get("pullgate_ssh_connections_open") == 2.0);
    shared("fifth").ok();
    assert_eq!(startups(), 0.0, "it is one of two now");
    assert!(clone(&ci, "sixth").failed().contains("[busy]"));
    leaves(&gateway, &ci, &second);
    wait_until("another place is free", || Numbers::of(address).get("pullgate_ssh_connections_open") == 1.0);
    clone(&ci, "seventh").ok();
    assert_eq!(hits(address, limit), 4.0);
    leaves(&gateway, &ci, &waiting);
}

/// It would else take one of all places for as long as it likes.
#[test]
fn who_is_one_too_many_and_asks_for_nothing_is_ended_by_the_clock_of_the_login() {
    let (gateway, address, _) = bounded(&[("connections_per_key", "1"), ("login_seconds", "2")]);
    let key = gateway.path("ci");
    let first = stays(&gateway, &key, "s1");
    let second = stays(&gateway, &key, "s2");
    met(address, "login_seconds");
    let checks = |path: &str| gateway.ssh(&key, &["-o", path, "-O", "check"], &[]).code == Some(0);
    wait_until("the second is ended", || !checks(&second));
    assert!(checks(&first), "who has a place keeps it");
    leaves(&gateway, &key, &first);
}

/// What another key is called that takes its place, and which kind of key it is, changes nothing of the count.
#[test]
fn each_key_of_a_rotation_and_each_account_key_has_places_of_its_own() {
    let (gateway, address, _) = bounded(&[("connections_per_key", "1")]);
    let (old, url) = (gateway.path("ci"), gateway.url("acme/app"));
    let new = gateway.keygen("new", &["ed25519"]);
    let public = gateway.path("new.pub").display().to_string();
    gateway.pullgate(["key", "rotate", "acme/ci", "--key", &public, "--overlap", "1h"]).ok();
    let person = gateway.keygen("person", &["ed25519"]);
    let public = gateway.path("person.pub").display().to_string();
    gateway.pullgate(["account-key", "add", "acme", "person", "--key", &public]).ok();
    for (key, name) in [(&old, "s1"), (&new, "s2"), (&person, "s3")] {
        gateway.git(key, &["ls-remote", &url]).ok();
        wait_until("it has left", || {
            let numbers = Numbers::of(address);
            numbers.get("pullgate_ssh_connections_open") == f64::from(u8::from(name > "s1") + u8::from(name > "s2"))
        });
        stays(&gateway, key, name);
        assert!(gateway.git(key, &["ls-remote", &url]).failed().contains("[busy]"), "{name}");
    }
    for (key, name) in [(&old, "s1"), (&new, "s2"), (&person, "s3")] {
        leaves(&gateway, key, &format!("ControlPath={}", gateway.path(name).display()));
    }
}
