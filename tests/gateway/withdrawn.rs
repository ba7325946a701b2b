//! A permission that ends before its `git-upload-pack` does: while that is open, and while it waits.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::faults::{site, slow_packs};
use crate::harness::{Gateway, plain_git, run, wait_until};
use crate::storms::holds_a_slot;
use crate::tree::gits;

/// A `git-upload-pack` that is open, and asked by hand.
pub(crate) struct Open(Child);

impl Open {
    /// With what it says first.
    pub(crate) fn new(gateway: &Gateway, key: &Path, version: u8) -> (Self, String) {
        let mut ssh = Command::new("ssh");
        ssh.args(gateway.ssh_line(key).split(' ').skip(1)).args(["-p", &gateway.port().to_string()]);
        ssh.args(["-o", &format!("SetEnv=GIT_PROTOCOL=version={version}")]);
        ssh.args(["git@localhost", "git-upload-pack 'acme/app'"]);
        let mut open = Self(ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let said = open.hears();
        (open, said)
    }

    pub(crate) fn says(&mut self, words: &str) {
        self.tries(words).unwrap();
    }

    /// Says as much of it as there is somebody to hear.
    pub(crate) fn tries(&mut self, words: &str) -> std::io::Result<()> {
        self.0.stdin.as_mut().unwrap().write_all(words.as_bytes())
    }

    /// A line; `None` for a flush.
    pub(crate) fn line(&mut self) -> Option<String> {
        let out = self.0.stdout.as_mut().unwrap();
        let mut head = [0; 4];
        out.read_exact(&mut head).unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&head).unwrap(), 16).unwrap();
        let mut line = vec![0; length.saturating_sub(4)];
        out.read_exact(&mut line).unwrap();
        (length > 0).then(|| String::from_utf8_lossy(&line).into_owned())
    }

    /// An answer, up to its flush; or an error line, with which it is over.
    pub(crate) fn hears(&mut self) -> String {
        let mut said = String::new();
        while let Some(line) = self.line() {
            said.push_str(&line);
            if line.starts_with("ERR ") {
                break;
            }
        }
        said
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn ends(mut self) -> Option<i32> {
        self.0.stdin.take();
        self.0.wait().unwrap().code()
    }
}

/// How many are `running` or `waiting`.
pub(crate) fn slots(gateway: &Gateway, word: &str) -> u64 {
    let shown = gateway.pullgate(["cache", "show", "--json"]).ok();
    serde_json::from_str::<serde_json::Value>(&shown).unwrap()[word].as_u64().unwrap()
}

pub(crate) const LIST: &str = "0014command=ls-refs\n00010000";

pub(crate) fn fetch(tip: &str) -> String {
    format!("0012command=fetch\n00010032want {tip}\n0009done\n0000")
}

/// git itself asks for one fetch and leaves; whoever stays is asked for again with each of its requests.
#[test]
fn an_open_upload_pack_asks_again_with_each_request() {
    for cache in [true, false] {
        let mut gateway = Gateway::start_with(|config| {
            assert!(config.contains("\nenabled = true\n"), "{config}");
            config.replace("\nenabled = true\n", &format!("\nenabled = {cache}\n"))
        });
        let bare = gateway.repo("acme/app");
        let key = gateway.key("ci", &["acme/app"]);
        let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
        let (list, fetch) = (LIST.to_owned(), fetch(tip.trim()));
        let (suspend, resume) = (["key", "suspend", "acme/ci"], ["key", "resume", "acme/ci"]);
        for ask in [&list, &fetch] {
            let (mut open, said) = Open::new(&gateway, &key, 2);
            assert!(said.contains("version 2"), "{said}");
            open.says(&list);
            assert!(open.hears().contains(tip.trim()));
            open.says(&fetch);
            assert!(open.hears().contains("PACK"));
            gateway.pullgate(suspend).ok();
            open.says(ask);
            let said = open.hears();
            assert!(said.starts_with("ERR key acme/ci") && said.contains("[suspended]"), "cache {cache}: {said}");
            assert_eq!(open.ends(), Some(128));
            gateway.pullgate(resume).ok();
        }
        // Whoever only leaves is told nothing.
        let (mut open, _) = Open::new(&gateway, &key, 2);
        gateway.pullgate(["key", "ungrant", "acme/ci", "acme/app"]).ok();
        open.says("0000");
        assert_eq!(open.ends(), Some(0), "cache {cache}");
        wait_until("their records", || gateway.audit().matches("\"event\":\"fetch\"").count() == 3);
        assert_eq!(gateway.audit().matches("\"code\":\"suspended\"").count(), 2, "the records say why");
        gateway.stop();
    }
}

/// Minutes may go by until it is somebody's turn.
#[test]
fn who_waited_for_a_slot_is_asked_for_again() {
    let gateway = Gateway::start_with(|config| config.replace("slots = 0", "slots = 1"));
    let bare = gateway.repo("acme/app");
    let holding = gateway.key("holding", &["acme/app"]);
    let key = gateway.key("ci", &["acme/app"]);
    std::thread::sleep(std::time::Duration::from_millis(60));
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let url = gateway.url("acme/app");
    let mut holder = holds_a_slot(&gateway, &holding, tip.trim());
    wait_until("its git runs", || !gits(&gateway).is_empty());
    let clients =
        [("0", "--depth=1"), ("2", "--depth=1"), ("0", "--shallow-exclude=none"), ("2", "--shallow-exclude=none")];
    let clients = clients.map(|(version, option)| {
        let mut git = gateway.git_command(&key);
        let version = format!("protocol.version={version}");
        let copy = format!("{version}{option}");
        git.args(["-c", &version, "clone", "--progress", option, &url, &copy]);
        (copy, std::thread::spawn(move || run(&mut git)))
    });
    wait_until("four wait", || {
        // Of equal fetches of version 0 and 2 one waits for both.
        slots(&gateway, "waiting") == 3
    });
    gateway.pullgate(["key", "suspend", "acme/ci"]).ok();
    holder.kill().unwrap();
    holder.wait().unwrap();
    for (copy, client) in clients {
        let said = client.join().unwrap().failed();
        assert!(said.contains("[suspended]"), "{copy}: {said}");
        assert!(!gateway.path(&copy).exists());
    }
}

/// The next daemon has the registry by then; what the old one permitted, it serves.
#[test]
fn what_was_permitted_outlives_an_upgrade() {
    let mut gateway = Gateway::start_with(|config| config.replace("slots = 0", "slots = 1"));
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    std::thread::sleep(std::time::Duration::from_millis(60));
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let (mut open, _) = Open::new(&gateway, &key, 2);
    open.says(LIST);
    assert!(open.hears().contains(tip.trim()));
    let mut holder = holds_a_slot(&gateway, &key, tip.trim());
    wait_until("its git runs", || !gits(&gateway).is_empty());
    let mut git = gateway.git_command(&key);
    git.args(["clone", "-q", "--depth=1", &gateway.url("acme/app"), "waits"]);
    let waiting = std::thread::spawn(move || run(&mut git));
    wait_until("it waits", || slots(&gateway, "waiting") == 1);
    gateway.upgrade();
    holder.kill().unwrap();
    holder.wait().unwrap();
    waiting.join().unwrap().ok();
    open.says(&fetch(tip.trim()));
    let said = open.hears();
    assert!(said.contains("PACK"), "{said}");
    assert_eq!(open.ends(), Some(0));
    gateway.first_ended();
}

/// Two answers that are asked for together are given one after the other, and each is asked about when its turn comes.
#[test]
fn what_is_asked_behind_a_pack_is_decided_when_its_turn_comes() {
    let (gateway, bare, key) = site(None, slow_packs);
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let (mut open, _) = Open::new(&gateway, &key, 2);
    open.says(&format!("{}{LIST}", fetch(tip.trim())));
    // The rest of it, 12 MiB, is on its way and not read.
    while !open.line().unwrap().contains("PACK") {}
    gateway.pullgate(["key", "rename", "acme/ci", "robot"]).ok();
    gateway.pullgate(["key", "suspend", "acme/robot"]).ok();
    assert!(open.hears().len() > 12 << 20, "a transfer that runs is not cut");
    let said = open.hears();
    assert!(said.starts_with("ERR key acme/robot") && said.contains("[suspended]"), "{said}");
}

/// A client of version 0 says that it wants its pack when it knows how shallow it will be, as late as it likes.
#[test]
fn a_shallow_clone_of_version_0_is_asked_about_before_its_pack() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    std::thread::sleep(std::time::Duration::from_millis(60));
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let (mut open, _) = Open::new(&gateway, &key, 0);
    let want = format!("want {} side-band-64k ofs-delta\n", tip.trim());
    open.says(&format!("{:04x}{want}000ddeepen 1\n0000", want.len() + 4));
    assert!(open.hears().starts_with("shallow "));
    gateway.pullgate(["key", "suspend", "acme/ci"]).ok();
    open.says("0009done\n");
    let said = open.hears();
    assert!(said.starts_with("ERR key acme/ci") && said.contains("[suspended]"), "{said}");
    assert_eq!(open.ends(), Some(128));
}

/// A repository may begin to borrow after somebody's permission was decided, who may not have what it borrows.
#[test]
fn what_is_kept_with_borrowed_objects_is_for_those_who_may_have_these() {
    let gateway = Gateway::start();
    let app = gateway.repo("acme/app");
    let lib = gateway.repo("acme/lib");
    let (one, both) = (gateway.key("one", &["acme/app"]), gateway.key("both", &["acme/app", "acme/lib"]));
    let tree = run(plain_git(&lib).args(["rev-parse", "main^{tree}"])).ok();
    let secret = run(plain_git(&lib).args(["commit-tree", "-m", "only in lib", tree.trim()])).ok();
    let (mut open, _) = Open::new(&gateway, &one, 2);
    std::fs::create_dir_all(app.join("objects/info")).unwrap();
    std::fs::write(app.join("objects/info/alternates"), "../../lib.git/objects\n").unwrap();
    let (mut may, _) = Open::new(&gateway, &both, 2);
    may.says(&fetch(secret.trim()));
    assert!(may.hears().contains("PACK"));
    open.says(&fetch(secret.trim()));
    let said = open.hears();
    assert!(said.starts_with("ERR ") && !said.contains("PACK"), "{said}");
}

/// A request that is too long to be looked at as a whole is one request all the same.
#[test]
fn a_long_request_keeps_its_slot() {
    let gateway = Gateway::start_with(|config| config.replace("slots = 0", "slots = 1"));
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let (mut open, _) = Open::new(&gateway, &key, 2);
    let wants = format!("0032want {}\n", tip.trim()).repeat(8000);
    open.says(&format!("0012command=fetch\n0001{wants}"));
    let running = || slots(&gateway, "running");
    wait_until("it has its slot", || running() == 1);
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(running(), 1, "while it is not at its end");
    }
    open.says("0009done\n0000");
    assert!(open.hears().contains("PACK"));
    wait_until("it gave it back", || running() == 0);
}
