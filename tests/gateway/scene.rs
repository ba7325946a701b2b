//! Everything that a gateway refuses, set up once: shared by the tests of git's messages and of other clients'.

use std::path::PathBuf;

use crate::harness::{Gateway, plain_git, run, wait_until};

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
}

/// Makes the repositories and keys; `kind` is what `ssh-keygen -t` makes. The key `ci` may fetch `acme/app`.
pub(crate) fn refusals(gateway: &Gateway, kind: &[&str]) -> Vec<Case> {
    for name in ["acme/app", "acme/other", "acme/broken"] {
        gateway.repo(name);
    }
    std::fs::write(gateway.path("repositories/acme/broken.git/config"), "[core\nbroken").unwrap();
    let (lender, borrower) = ("repositories/acme/other.git", "repositories/acme/borrower.git");
    run(plain_git(&gateway.path("")).args(["clone", "-q", "--bare", "--shared", lender, borrower])).ok();

    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let add = |label: &str, more: &[&str]| {
        let key = gateway.keygen(label, kind);
        let public = key.with_extension("pub");
        let args = ["key", "add", "acme", label, "--key", public.to_str().unwrap(), "--grant", "acme/app"];
        gateway.pullgate(args.iter().chain(more)).ok();
        key
    };
    let grants = ["--grant", "acme/broken", "--grant", "acme/borrower", "--grant", "acme/gone"];
    let ci = add("ci", &grants);
    let old = add("old", &["--expires", &soon.to_string()]);
    let far = add("far", &["--from", "192.0.2.0/24"]);
    wait_until("the expiry", || jiff::Timestamp::now() > soon);

    let case = |name, code, key: &PathBuf, repo| Case { name, code, key: key.clone(), repo, verb: Verb::Look };
    vec![
        case("a repository that is not granted", "not-granted", &ci, "acme/other.git"),
        case("one that is granted and not there", "not-granted", &ci, "acme/gone.git"),
        case("one of nobody", "not-granted", &ci, "nobody/none.git"),
        Case { name: "a push", code: "read-only", key: ci.clone(), repo: "acme/app.git", verb: Verb::Push },
        case("an expired key", "expired", &old, "acme/app.git"),
        case("a key from the wrong address", "source-address", &far, "acme/app.git"),
        case("a repository that cannot be served", "repository", &ci, "acme/broken.git"),
        case("one that borrows from another", "shared-objects", &ci, "acme/borrower.git"),
        case("a path that no repository can have", "bad-path", &ci, "acme/-x.git"),
    ]
}

/// The audit record of the refusal that a message tells of: the same id, and the same code.
#[track_caller]
pub(crate) fn same_id_in_the_audit(gateway: &Gateway, message: &str, code: &str) {
    let id = id(message);
    let record = || gateway.audit().lines().find(|line| line.contains(&format!("\"id\":\"{id}\""))).map(str::to_owned);
    wait_until("the record", || record().is_some());
    let record = record().unwrap();
    assert!(record.contains(&format!("\"code\":\"{code}\"")), "{message}: {record}");
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
        let date = word.len() == 11 && word.starts_with("20") && word.ends_with(';');
        if date { "2026-03-01;".to_owned() } else { word.to_owned() }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n";
    text.lines().map(line).collect()
}
