//! Everything that a gateway refuses, set up once: shared by the tests of git's messages and of other clients'.

use std::path::PathBuf;

use crate::harness::{Gateway, PATIENCE, plain_git, run, wait_until};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Look,
    /// Of a clone of `acme/app`.
    Push,
}

/// One thing that is refused.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The code in brackets.
    pub(crate) code: &'static str,
    pub(crate) key: PathBuf,
    pub(crate) repo: &'static str,
    pub(crate) verb: Verb,
    pub(crate) trouble: Option<Trouble>,
}

/// What happens to the gateway around one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The folder of all repositories is not where it was.
    NoStore,
    /// The daemon has no file descriptor left. Happens when the client is logged in.
    NoDescriptors,
    /// The key `acme/fired` is removed. Happens when it is logged in.
    KeyRemoved,
}

impl Trouble {
    /// Whether it comes to a client that is logged in already.
    pub(crate) fn is_later(self) -> bool {
        self != Self::NoStore
    }

    pub(crate) fn begin(self, gateway: &Gateway) {
        match self {
            Self::NoStore => std::fs::rename(gateway.path("repositories"), gateway.path("elsewhere")).unwrap(),
            Self::NoDescriptors => descriptors(gateway, true),
            Self::KeyRemoved => drop(gateway.pullgate(["key", "remove", "acme/fired"]).ok()),
        }
    }

    pub(crate) fn end(self, gateway: &Gateway) {
        match self {
            Self::NoStore => std::fs::rename(gateway.path("elsewhere"), gateway.path("repositories")).unwrap(),
            Self::NoDescriptors => descriptors(gateway, false),
            Self::KeyRemoved => add(gateway, "fired", &[]),
        }
    }
}

/// Takes the daemon every descriptor that it does not use at this moment, or gives it all that it may have.
fn descriptors(gateway: &Gateway, none: bool) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let pid = gateway.process();
    let folder = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
    let used: Vec<u64> = folder.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    let free = (0..).find(|fd| !used.contains(fd));
    // The daemon inherited the same bounds.
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let current = if none { free } else { maximum };
    prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum }).unwrap();
}

/// Registers the key of that name, which may fetch `acme/app`.
fn add(gateway: &Gateway, label: &str, more: &[&str]) {
    let public = gateway.path(&format!("{label}.pub"));
    let args = ["key", "add", "acme", label, "--key", public.to_str().unwrap(), "--grant", "acme/app"];
    gateway.pullgate(args.iter().chain(more)).ok();
}

/// Makes the repositories and keys; `kind` is what `ssh-keygen -t` makes. The key `ci` may fetch `acme/app`.
pub(crate) fn refusals(gateway: &Gateway, kind: &[&str]) -> Vec<Case> {
    for name in ["acme/app", "acme/other", "acme/broken"] {
        gateway.repo(name);
    }
    std::fs::write(gateway.path("repositories/acme/broken.git/config"), "[core\nbroken").unwrap();
    let (lender, borrower) = ("repositories/acme/other.git", "repositories/acme/borrower.git");
    run(plain_git(&gateway.path("")).args(["clone", "-q", "--bare", "--shared", lender, borrower])).ok();

    let add = |label: &str, more: &[&str]| {
        let key = gateway.keygen(label, kind);
        self::add(gateway, label, more);
        key
    };
    let grants = ["--grant", "acme/broken", "--grant", "acme/borrower", "--grant", "acme/gone"];
    let ci = add("ci", &grants);
    let old = add("old", &[]);
    let far = add("far", &["--from", "192.0.2.0/24"]);
    let (away, fired, turned) = (add("away", &[]), add("fired", &[]), add("turned", &[]));
    gateway.pullgate(["key", "suspend", "acme/away", "--reason", "none of a client's business"]).ok();
    let new = gateway.keygen("new", kind).with_extension("pub");
    gateway.pullgate(["key", "rotate", "acme/turned", "--key", new.to_str().unwrap(), "--overlap", "1s"]).ok();
    gateway.pullgate(["key", "expire", "acme/old", "1s"]).ok();
    let over = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1100);
    wait_until("the ends of both", || jiff::Timestamp::now() > over);

    let case =
        |name, code, key: &PathBuf, repo| Case { name, code, key: key.clone(), repo, verb: Verb::Look, trouble: None };
    let trouble =
        |name, code, key: &PathBuf, trouble| Case { trouble: Some(trouble), ..case(name, code, key, "acme/app.git") };
    vec![
        case("a repository that is not granted", "not-granted", &ci, "acme/other.git"),
        case("one that is granted and not there", "not-granted", &ci, "acme/gone.git"),
        case("one of nobody", "not-granted", &ci, "nobody/none.git"),
        Case { verb: Verb::Push, ..case("a push", "read-only", &ci, "acme/app.git") },
        case("an expired key", "expired", &old, "acme/app.git"),
        case("a suspended key", "suspended", &away, "acme/app.git"),
        case("a key whose overlap is over", "rotated", &turned, "acme/app.git"),
        trouble("a key that is removed after the login", "removed", &fired, Trouble::KeyRemoved),
        trouble("a gateway without a descriptor left", "busy", &ci, Trouble::NoDescriptors),
        trouble("a gateway whose store is gone", "unavailable", &ci, Trouble::NoStore),
        case("a key from the wrong address", "source-address", &far, "acme/app.git"),
        case("a repository that cannot be served", "repository", &ci, "acme/broken.git"),
        case("one that borrows from another", "shared-objects", &ci, "acme/borrower.git"),
        case("a path that no repository can have", "bad-path", &ci, "acme/-x.git"),
        // Clears a screen, rings and turns the text around.
        case("a path that a terminal would obey", "bad-path", &ci, "acme/%1b[2J%07%e2%80%aeapp.git"),
    ]
}

/// The audit record of what a message tells of: the same id, and the same code. A fetch that was allowed and came to no good
/// end has two records under its id; the code is in that of its end.
#[track_caller]
pub(crate) fn same_id_in_the_audit(gateway: &Gateway, message: &str, code: &str) {
    let (id, code) = (format!("\"id\":\"{}\"", id(message)), format!("\"code\":\"{code}\""));
    let mut audit = String::new();
    let mut records = || {
        audit = gateway.audit();
        audit.lines().filter(|line| line.contains(&id)).any(|line| line.contains(&code))
    };
    let start = std::time::Instant::now();
    while !records() {
        assert!(start.elapsed() < PATIENCE, "{message}: no record with {id} and {code}");
    }
    let others: Vec<&str> = audit.lines().filter(|line| line.contains(&id) && line.contains("\"code\"")).collect();
    assert_eq!(others.len(), 1, "{message}: {others:#?}");
}

/// The id in a message; each message has one.
#[track_caller]
pub(crate) fn id(message: &str) -> String {
    let start = message.find("(id ").unwrap_or_else(|| panic!("no id in {message:?}")) + "(id ".len();
    let id = &message[start..start + 10];
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{message}");
    id.to_owned()
}

/// A message without what differs from run to run.
pub(crate) fn normal(gateway: &Gateway, port: u16, message: &str) -> String {
    let mut text = message.replace(&format!("localhost:{port}"), "localhost:PORT");
    text = text.replace(gateway.path("").to_str().unwrap().trim_end_matches('/'), "DIR");
    if text.contains("(id ") {
        text = text.replace(&id(&text), "0123456789");
    }
    let word = |word: &str| {
        if word.contains("SHA256:") {
            return word.replace(|c: char| c.is_ascii_alphanumeric() || "+/:".contains(c), "").replacen(
                '(',
                "(SHA256:…",
                1,
            );
        }
        let date = word.trim_end_matches([';', ',']);
        if date.len() == 10 && date.starts_with("20") { word.replace(date, "2026-03-01") } else { word.to_owned() }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n";
    text.lines().map(line).collect()
}
