//! Metrics and health, as those who watch get them from a running gateway.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::disk::Disk;
use crate::harness::{Gateway, free_port, plain_git, program, run, wait_until};
use crate::raw;
use crate::watcher::{Numbers, get, say, watched};

#[test]
fn what_clients_did_is_counted() {
    let (gateway, address) = watched(|config| config);
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let stranger = gateway.keygen("stranger", &["ed25519"]);
    let url = gateway.url("acme/app");
    for copy in ["one", "two"] {
        gateway.git(&key, &["clone", "-q", &url, copy]).ok();
    }
    gateway.git(&key, &["ls-remote", &gateway.url("acme/none")]).failed();
    run(plain_git(&gateway.path("one")).args(["commit", "-q", "--allow-empty", "-m", "mine"])).ok();
    gateway.git(&key, &["-C", "one", "push"]).failed();
    gateway.git(&stranger, &["ls-remote", &url]).failed();
    let quiet = |numbers: &Numbers| {
        numbers.get("pullgate_ssh_connections_open") == 0.0
            && numbers.get("pullgate_logins_refused_total{reason=\"unknown-key\"}") == 1.0
    };
    wait_until("all have left", || quiet(&Numbers::of(address)));
    let numbers = Numbers::of(address);
    for (series, expected) in [
        ("pullgate_logins_total", 4.0),
        ("pullgate_requests_refused_total{code=\"not-granted\"}", 1.0),
        ("pullgate_requests_refused_total{code=\"read-only\"}", 1.0),
        ("pullgate_requests_refused_total{code=\"expired\"}", 0.0),
        ("pullgate_fetches_allowed_total", 2.0),
        ("pullgate_fetches_running", 0.0),
        ("pullgate_fetch_duration_seconds_count", 2.0),
        ("pullgate_audit_records_total{event=\"allowed\"}", 2.0),
        ("pullgate_audit_records_lost_total{cause=\"disk\"}", 0.0),
        ("pullgate_ssh_connections_accepted_total", 5.0),
        ("pullgate_ssh_startups", 0.0),
        ("pullgate_registry_changes_total", 2.0),
        ("pullgate_journal_entries", 2.0),
        ("pullgate_journal_append_seconds_count", 2.0),
        ("pullgate_cell_mode{mode=\"require\"}", 1.0),
        ("pullgate_cell_mode{mode=\"off\"}", 0.0),
        ("pullgate_cell_whole", 1.0),
        ("pullgate_ready", 1.0),
        ("pullgate_slots_in_use", 0.0),
        ("pullgate_config_last_reload_successful", 1.0),
    ] {
        assert_eq!(numbers.0.get(series), Some(&expected), "{series}: {numbers:#?}");
    }
    assert_eq!(numbers.by("pullgate_fetches_total", "outcome"), [("served".to_owned(), 2)].into());
    assert!(numbers.get("pullgate_fetch_sent_bytes_total") > 1000.0, "{numbers:#?}");
    assert!(numbers.get("pullgate_journal_bytes") > 100.0, "{numbers:#?}");
    // A round of counting takes place every few seconds.
    let keys = "pullgate_registry_keys{holder=\"deploy-key\"}";
    wait_until("the keys are counted", || Numbers::of(address).get(keys) == 1.0);
    gateway.pullgate(["key", "expire", "acme/ci", "3d"]).ok();
    let soon = "pullgate_registry_keys_expiring{within=\"7d\"}";
    wait_until("the key that ends soon is seen", || Numbers::of(address).get(soon) == 1.0);
}

/// Names and addresses are for the audit, and a label that anybody can make up fills the memory of who collects.
#[test]
fn no_label_says_who_or_what() {
    let (gateway, address) = watched(|config| config);
    gateway.repo("acme/zebra");
    let key = gateway.key("quagga", &["acme/zebra"]);
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/zebra"), "copy"]).ok();
    for command in ["okapi", "git-receive-pack 'acme/zebra'", "git-upload-pack 'okapi/okapi'"] {
        gateway.ssh(&key, &[], &[command]);
    }
    let (_, text) = get(address, "/metrics");
    for word in ["acme", "zebra", "quagga", "okapi", "SHA256", "127.0.0.1", "::1", gateway.path("").to_str().unwrap()] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!((100..400).contains(&series), "{series} series: {text}");
}

#[test]
fn who_stops_is_not_ready_and_alive_until_the_end() {
    let (mut gateway, address) = watched(|config| config);
    gateway.repo("acme/app");
    let key = russh::keys::load_secret_key(gateway.key("ci", &["acme/app"]), None).unwrap();
    wait_until("all is well", || get(address, "/readyz") == (200, "ok\n".to_owned()));
    let door =
        raw::Door { address: ([127, 0, 0, 1], gateway.port()).into(), user: "git".to_owned(), key: Arc::new(key) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(raw::Client::connect(&door)).unwrap();
    let mut talk = runtime.block_on(client.upload_pack("acme/app", 2)).unwrap();
    runtime.block_on(talk.capabilities()).unwrap();
    assert_eq!(Numbers::of(address).get("pullgate_fetches_running"), 1.0);
    kill_process(gateway.process(), Signal::TERM).unwrap();
    wait_until("it is not ready any more", || get(address, "/readyz").0 == 503);
    let (_, why) = get(address, "/readyz");
    assert!(why.starts_with("stopping") && why.trim_end().lines().count() == 1, "{why}");
    assert_eq!(get(address, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(Numbers::of(address).get("pullgate_ready"), 0.0);
    assert_eq!(Numbers::of(address).get("pullgate_fetches_running"), 1.0, "it drains");
    runtime.block_on(async {
        talk.flush_and_end().await.unwrap();
        client.close().await;
    });
    assert_eq!(gateway.stop(), Some(0));
    assert!(TcpStream::connect(address).is_err());
}

/// Slow ones, silent ones, huge ones and nonsense: each has a bounded time, and the others get their answer.
#[test]
fn odd_askers_are_bounded() {
    let (gateway, address) = watched(|config| config);
    for (odd, status) in [
        ("GET /metrics\r\n\r\n", "400"),
        ("\u{0}\u{1}\u{2}\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "405"),
        ("BREW /readyz HTTP/1.1\r\n\r\n", "405"),
        // Another protocol: no word of it.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
        ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", "200"),
    ] {
        let said = say(address, odd.as_bytes()).unwrap();
        let answered = said.split(' ').nth(1).unwrap_or_default();
        assert!(answered.starts_with(status), "{odd:?}: {said:?}");
        assert!(said.matches("HTTP/1.").count() <= 1, "one question to a connection: {said:?}");
    }
    let many = (0..200).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let long = "x".repeat(200_000);
    for huge in [
        format!("GET /{long} HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
        format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"),
    ] {
        // Cut off while it is sent, or told that it is too much.
        if let Ok(said) = say(address, huge.as_bytes()) {
            assert!(said.starts_with("HTTP/1.1 4") || said.is_empty(), "{said:?}");
        }
    }
    // More than there are places, all silent or slow; who comes after them waits no longer than their clock.
    let start = Instant::now();
    let mut silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    for socket in silent.iter_mut().step_by(2) {
        socket.write_all(b"GET /metr").unwrap();
    }
    let fds = || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count();
    wait_until("the places are taken", || fds() >= 32);
    assert_eq!(get(address, "/healthz").0, 200);
    let waited = start.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(40)).contains(&waited), "{waited:?}");
    // They were closed by the gateway, and not by us.
    let closed = |socket: &mut TcpStream| {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.read(&mut [0; 512]).is_ok() || socket.peer_addr().is_err()
    };
    assert!(silent.iter_mut().take(32).all(closed));
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_port_that_is_taken_is_said() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let gateway = Gateway::start();
    let config = std::fs::read_to_string(gateway.config()).unwrap();
    let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let other = gateway.path("other.toml");
    let text = config
        .replace("listen = \"\"", &format!("listen = \"{address}\""))
        .replace(&format!("127.0.0.1:{}", gateway.port()), &free.to_string())
        .replace("state_dir = \"state\"", "state_dir = \"state2\"")
        .replace("\"state/", "\"state2/");
    std::fs::write(&other, text).unwrap();
    std::fs::create_dir(gateway.path("state2")).unwrap();
    std::fs::set_permissions(gateway.path("state2"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let said = run(Command::new(program()).arg("serve").arg("--config").arg(&other)).failed();
    assert!(said.contains(&format!("{address} cannot be listened on for metrics")), "{said}");
    assert!(said.contains("`listen` under [metrics]"), "{said}");
    let said = run(Command::new(program()).arg("check").arg("--config").arg(&other)).out;
    assert!(said.contains(&format!("metrics.listen: {address} is taken by another program")), "{said}");
}

#[test]
fn reloads_are_counted() {
    let (gateway, address) = watched(|config| config);
    let results = || Numbers::of(address).by("pullgate_config_reloads_total", "result");
    kill_process(gateway.process(), Signal::HUP).unwrap();
    wait_until("it was taken", || results() == [("taken".to_owned(), 1)].into());
    let good = Numbers::of(address);
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), format!("{text}\n[nonsense]\n")).unwrap();
    kill_process(gateway.process(), Signal::HUP).unwrap();
    wait_until("it failed", || results() == [("taken".to_owned(), 1), ("failed".to_owned(), 1)].into());
    let bad = Numbers::of(address);
    let name = "pullgate_config_last_good_timestamp_seconds";
    assert_eq!((bad.get("pullgate_config_last_reload_successful"), bad.get(name)), (0.0, good.get(name)));
    std::fs::write(gateway.config(), text.replace("listen = \"127.0.0.1:", "listen = \"127.0.0.2:")).unwrap();
    kill_process(gateway.process(), Signal::HUP).unwrap();
    wait_until("it is said that it needs a restart", || gateway.log().contains("[metrics]"));
}

/// A disk that is full takes no changes; that is told, and that it is over, too, before anybody tries again.
#[test]
fn a_journal_that_takes_no_changes_is_told() {
    let disk = match Disk::new(24) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("not tested: {why}"),
    };
    let state = disk.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let (mut gateway, address) = watched(|config| {
        let config = config.replace("state_dir = \"state\"", &format!("state_dir = \"{}\"", state.display()));
        config
            .replace("file = \"state/", &format!("file = \"{}/", state.display()))
            .replace("free_mib = 1024", "free_mib = 1")
    });
    wait_until("all is well", || get(address, "/readyz") == (200, "ok\n".to_owned()));
    let stuff = disk.path().join("stuff");
    let mut file = std::fs::File::create(&stuff).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    drop(file);
    // More than there is room for in what was set aside before.
    let repo = |n: usize| format!("\"acme/{}{n}\"", "x".repeat(90));
    let repos = (0..400).map(repo).collect::<Vec<_>>().join(", ");
    let groups = (0..40).map(|n| format!("[[group]]\naccount = \"acme\"\nname = \"g{n}\"\nrepositories = [{repos}]\n"));
    let large = gateway.path("large.toml");
    std::fs::write(&large, format!("accounts = [\"acme\"]\n{}", groups.collect::<String>())).unwrap();
    let said = gateway.pullgate(["apply", large.to_str().unwrap()]).failed();
    assert!(said.contains("no space for the journal"), "{said}");
    let (status, why) = get(address, "/readyz");
    // It serves fetches: nobody has to be sent elsewhere.
    assert!(status == 200 && why.contains("no room for its journal"), "{status} {why}");
    assert_eq!(Numbers::of(address).get("pullgate_ready"), 0.0);
    assert!(Numbers::of(address).get("pullgate_journal_refused_total") >= 1.0);
    std::fs::remove_file(stuff).unwrap();
    wait_until("all is well again", || get(address, "/readyz") == (200, "ok\n".to_owned()));
    assert_eq!(gateway.stop(), Some(0));
    drop(gateway);
}

/// A store that is not mounted any more: a balancer sends clients elsewhere until it is back.
#[test]
fn a_gateway_without_its_store_is_not_ready() {
    let (gateway, address) = watched(|config| config);
    gateway.repo("acme/app");
    wait_until("all is well", || get(address, "/readyz") == (200, "ok\n".to_owned()));
    std::fs::rename(gateway.path("repositories"), gateway.path("elsewhere")).unwrap();
    wait_until("it is not ready any more", || get(address, "/readyz").0 == 503);
    let (_, why) = get(address, "/readyz");
    assert!(why.starts_with("the store is not there") && !why.contains("repositories"), "{why}");
    assert_eq!(Numbers::of(address).get("pullgate_ready"), 0.0);
    assert_eq!(get(address, "/healthz"), (200, "ok\n".to_owned()));
    std::fs::rename(gateway.path("elsewhere"), gateway.path("repositories")).unwrap();
    wait_until("all is well again", || get(address, "/readyz") == (200, "ok\n".to_owned()));
}
