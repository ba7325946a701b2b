//! Each bound and clock of `[limits]` that somebody met is counted by its name.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Gateway, wait_until};
use crate::raw::{Client, Door, Fault};
use crate::watcher::{Numbers, watched};

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
