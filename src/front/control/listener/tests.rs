use std::future::pending;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream as Peer;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::admin::operator::Operators;
use crate::audit::Audit;
use crate::front::control::client::{CallError, Client};
use crate::front::control::protocol::Answer;
use crate::registry;

struct Daemon {
    dir: TempDir,
    runtime: Runtime,
}

impl Daemon {
    fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let mut settings = Settings::new(dir.path().join("control.sock"), Operators::new([]));
        settings.peer_deadline = Duration::from_millis(300);
        change(&mut settings);
        let (lookup, amend) = registry::open(&dir.path().join("registry")).unwrap();
        let admin = Admin::new(lookup, amend, Audit::off());
        let listener = runtime.block_on(async { Listener::bind(settings) }).unwrap();
        runtime.spawn(Arc::new(listener).serve(admin, pending()));
        Self { dir, runtime }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn call(&self, request: &Request) -> Result<Answer, CallError> {
        Client::connect(&self.socket()).unwrap().unwrap().call(request)
    }

    fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut peer = Peer::connect(self.socket()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        peer.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        answer
    }
}

fn faults(frame: &[u8]) -> Faults {
    match protocol::decode(&frame[HEADER..]).unwrap() {
        Response::Faults(faults) => faults,
        Response::Answer(answer) => panic!("{answer:?}"),
    }
}

fn framed(json: &str) -> Vec<u8> {
    [&u32::try_from(json.len()).unwrap().to_be_bytes(), json.as_bytes()].concat()
}

fn list() -> Request {
    Request::AccountList { after: None }
}

#[test]
fn an_operator_is_served_request_after_request() {
    let daemon = Daemon::start(|_| {});
    let mut client = Client::connect(&daemon.socket()).unwrap().unwrap();
    for changed in [true, false] {
        let answer = client.call(&Request::AccountAdd { account: "acme".to_owned() }).unwrap();
        let Answer::Done(done) = answer else { panic!("{answer:?}") };
        assert_eq!(done.changed, changed);
    }
    let Answer::Accounts(page) = daemon.call(&list()).unwrap() else { panic!() };
    assert_eq!(page.items[0].name, "acme");
    // Who did it is who the kernel says.
    assert_eq!(page.items[0].added_by, crate::admin::operator::user_name(rustix::process::geteuid().as_raw()));
}

#[test]
fn only_the_owner_can_connect_unless_there_are_operators() {
    let mode = |daemon: &Daemon| std::fs::metadata(daemon.socket()).unwrap().mode() & 0o777;
    assert_eq!(mode(&Daemon::start(|_| {})), 0o600);
    assert_eq!(mode(&Daemon::start(|settings| settings.operators = Operators::new([1000]))), 0o666);
}

#[test]
fn a_peer_that_is_no_operator_is_told_so_and_nothing_is_done() {
    let daemon = Daemon::start(|settings| settings.operators = Operators::none_for_test());
    for request in [Request::AccountAdd { account: "acme".to_owned() }, list()] {
        let Err(CallError::Refused(faults)) = daemon.call(&request) else { panic!() };
        assert_eq!(faults.kind(), Kind::Denied, "{faults:?}");
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_by_its_length_alone() {
    let daemon = Daemon::start(|_| {});
    let found = faults(&daemon.raw(&[0x40, 0, 0, 0]));
    let most = format!("longer than the {}", crate::front::control::protocol::MAX_FRAME);
    assert!(found.list()[0].fact.contains(&most), "{found:?}");
}

#[test]
fn another_version_and_garbage_are_answered_in_words() {
    let daemon = Daemon::start(|_| {});
    let found = faults(&daemon.raw(&framed(r#"{"v":9,"body":{}}"#)));
    assert!(found.list()[0].fact.contains("speaks version 9"), "{found:?}");
    let found = faults(&daemon.raw(&framed("{\u{1b}[2J")));
    assert!(found.list()[0].fact.contains("not understood"), "{found:?}");
    daemon.call(&list()).unwrap();
}

#[test]
fn a_slow_peer_is_dropped_at_its_deadline_and_gives_its_place_back() {
    let daemon = Daemon::start(|settings| settings.max_connections = 2);
    let begin = Instant::now();
    let mut slow = [Peer::connect(daemon.socket()).unwrap(), Peer::connect(daemon.socket()).unwrap()];
    // One sends nothing, the other half a frame; both places are taken.
    slow[1].write_all(&[0, 0, 1, 0, b'{']).unwrap();
    daemon.call(&list()).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(250), "the places were not bounded");
    for peer in &mut slow {
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "they were not dropped in time");
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced_and_nothing_else_is() {
    let daemon = Daemon::start(|_| {});
    let bind = |path: PathBuf| {
        let _inside = daemon.runtime.enter();
        Listener::bind(Settings::new(path, Operators::new([])))
    };
    assert!(matches!(bind(daemon.socket()), Err(BindError::InUse(_))));
    let dead = daemon.dir.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let listener = bind(dead.clone()).unwrap();
    drop(listener);
    assert!(!dead.exists(), "the socket was left behind");
    std::fs::write(&dead, "precious").unwrap();
    assert!(matches!(bind(dead.clone()), Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&dead).unwrap(), "precious");
    assert!(Client::connect(&daemon.dir.path().join("none")).unwrap().is_none());
}

#[test]
fn shutdown_lets_what_was_begun_come_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let runtime = Runtime::new().unwrap();
    let (lookup, amend) = registry::open(&dir.path().join("registry")).unwrap();
    let admin = Admin::new(lookup, amend, Audit::off());
    let mut settings = Settings::new(path.clone(), Operators::new([]));
    settings.peer_deadline = Duration::from_secs(5);
    let listener = runtime.block_on(async { Listener::bind(settings) }).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = runtime.spawn(Arc::new(listener).serve(admin, async { drop(stopped.await) }));
    let mut client = Client::connect(&path).unwrap().unwrap();
    client.call(&list()).unwrap();
    stop.send(()).unwrap();
    client.call(&list()).unwrap();
    drop(client);
    runtime.block_on(served).unwrap();
    assert!(!path.exists());
}
