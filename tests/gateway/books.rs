//! Some sessions of every outcome, and then the books: the audit file, the numbers and the log agree to the last count.
//! `PULLGATE_HOUR=1000` makes more sessions; `just hour` does so.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Gateway, wait_until};
use crate::raw::{Client, Door, Fault, Wish};
use crate::scene;
use crate::watcher::{Numbers, watched};

type Counts = BTreeMap<String, u64>;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Clone(u8),
    /// Of a commit that is not there: git says no.
    Wrong,
    Poll(u8),
    /// Looks at the refs and goes away without a word.
    Leave,
    /// Asks for nothing until the clock runs out.
    Sleep,
    Refused(&'static str),
    Push,
    Shell,
    Stranger,
    /// Connects, and says nothing at all.
    Silent,
}

const ACTS: [Act; 23] = [
    Act::Clone(2),
    Act::Refused("not-granted"),
    Act::Clone(0),
    Act::Poll(2),
    Act::Push,
    Act::Clone(2),
    Act::Refused("expired"),
    Act::Poll(1),
    Act::Leave,
    Act::Refused("suspended"),
    Act::Stranger,
    Act::Clone(1),
    Act::Shell,
    Act::Refused("rotated"),
    Act::Poll(0),
    Act::Sleep,
    Act::Refused("source-address"),
    Act::Wrong,
    Act::Refused("shared-objects"),
    Act::Silent,
    Act::Clone(2),
    Act::Refused("bad-path"),
    Act::Refused("repository"),
];

struct Site {
    address: SocketAddr,
    keys: BTreeMap<&'static str, Arc<russh::keys::PrivateKey>>,
    tip: String,
}

fn key(path: &Path) -> Arc<russh::keys::PrivateKey> {
    Arc::new(russh::keys::load_secret_key(path, None).unwrap())
}

impl Site {
    fn door(&self, label: &str) -> Door {
        Door { address: self.address, user: "git".to_owned(), key: Arc::clone(&self.keys[label]) }
    }

    /// Does one thing, and sees that it ends as it has to.
    async fn act(&self, act: Act) -> Result<(), Fault> {
        let label = match act {
            Act::Stranger => "stranger",
            Act::Refused("expired") => "old",
            Act::Refused("suspended") => "away",
            Act::Refused("rotated") => "turned",
            Act::Refused("source-address") => "far",
            Act::Refused(_)
            | Act::Clone(_)
            | Act::Wrong
            | Act::Poll(_)
            | Act::Leave
            | Act::Sleep
            | Act::Push
            | Act::Shell
            | Act::Silent => "ci",
        };
        if act == Act::Silent {
            let socket = TcpStream::connect(self.address).map_err(|error| error.to_string())?;
            socket.set_nonblocking(true).map_err(|error| error.to_string())?;
            let socket = tokio::net::TcpStream::from_std(socket).map_err(|error| error.to_string())?;
            let mut bytes = Vec::new();
            // The gateway says what it is, and closes when it has heard nothing.
            let mut socket = socket;
            tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut bytes).await.map_err(|error| error.to_string())?;
            return Ok(());
        }
        let client = match Client::connect(&self.door(label)).await {
            Err(fault) if act == Act::Stranger && fault.starts_with("login") => return Ok(()),
            Ok(_) if act == Act::Stranger => return Err("a stranger was let in".to_owned()),
            other => other?,
        };
        self.ask(&client, act).await?;
        client.close().await;
        Ok(())
    }

    async fn ask(&self, client: &Client, act: Act) -> Result<(), Fault> {
        let wish = |tip: &str| Wish { wants: vec![tip.to_owned()], ..Wish::default() };
        let wish = wish(if act == Act::Wrong { "1111111111111111111111111111111111111111" } else { &self.tip });
        match act {
            Act::Clone(2) | Act::Wrong => {
                let mut talk = client.upload_pack("acme/app", 2).await?;
                talk.capabilities().await?;
                let said = talk.fetch(wish.v2()).await;
                match (act, said) {
                    (Act::Wrong, Err(fault)) if fault.contains("not our ref") => Ok(()),
                    (Act::Wrong, other) => Err(format!("a commit that is not there: {other:?}")),
                    (_, pack) => {
                        pack?;
                        talk.flush_and_end().await
                    }
                }
            }
            Act::Clone(version) => {
                let mut talk = client.upload_pack("acme/app", version).await?;
                talk.advertisement().await?;
                talk.fetch_v0(wish.v0(), false).await?;
                talk.end().await
            }
            Act::Poll(2) => {
                let mut talk = client.upload_pack("acme/app", 2).await?;
                talk.capabilities().await?;
                talk.ls_refs(&[]).await?;
                talk.flush_and_end().await
            }
            Act::Poll(version) => {
                let mut talk = client.upload_pack("acme/app", version).await?;
                talk.advertisement().await?;
                talk.flush_and_end().await
            }
            Act::Leave => client.upload_pack("acme/app", 2).await?.capabilities().await.map(drop),
            Act::Sleep => {
                let mut talk = client.upload_pack("acme/app", 2).await?;
                talk.capabilities().await?;
                // Its end of file would be an end to its wish, too.
                told(talk.advertisement().await, "timed-out")
            }
            Act::Push => told(client.exec("git-receive-pack 'acme/app'", 0).await?.advertisement().await, "read-only"),
            Act::Shell => told(client.exec("rm -rf /", 0).await?.end().await, "not-served"),
            Act::Refused(code) => {
                let repo = match code {
                    "not-granted" => "acme/other",
                    "shared-objects" => "acme/borrower",
                    "repository" => "acme/broken",
                    "bad-path" => "acme/-x",
                    _ => "acme/app",
                };
                told(client.upload_pack(repo, 0).await?.advertisement().await, code)
            }
            Act::Stranger | Act::Silent => Err("has no channel".to_owned()),
        }
    }
}

/// Whether a client was told no, with this code.
fn told<T>(said: Result<T, Fault>, code: &str) -> Result<(), Fault> {
    match said {
        Err(fault) if fault.contains(&format!("[{code}]")) => Ok(()),
        Err(fault) => Err(format!("[{code}] was expected: {fault}")),
        Ok(_) => Err(format!("[{code}] was expected, and it was served")),
    }
}

/// How many records have which word at this place; those that have none there are not counted.
fn count(records: &[Value], event: &str, word: impl Fn(&Value) -> Option<String>) -> Counts {
    let mut counts = Counts::new();
    for word in records.iter().filter(|record| record["event"] == event).filter_map(word) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

fn text(record: &Value, field: &str) -> Option<String> {
    let value = record.get(field)?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

#[test]
fn the_books_agree() {
    let sessions: usize = std::env::var("PULLGATE_HOUR").map_or(92, |text| text.parse().expect("a number of sessions"));
    let (gateway, watch) = watched(|config| {
        config
            .replace("negotiation_seconds = 300", "negotiation_seconds = 8")
            .replace("banner_seconds = 10", "banner_seconds = 8")
            // All sessions come from one address; here each record is looked at.
            .replace("stranger_records = 600", "stranger_records = 1000000")
            .replace("stranger_records_per_network = 60", "stranger_records_per_network = 1000000")
            .replace("level = \"info\"", "level = \"debug\"")
    });
    scene::refusals(&gateway, &["ed25519"]);
    let mut keys: BTreeMap<_, _> =
        ["ci", "old", "far", "away", "turned"].map(|label| (label, key(&gateway.path(label)))).into();
    keys.insert("stranger", key(&gateway.keygen("stranger", &["ed25519"])));
    let tip = gateway.refs(&gateway.path("repositories/acme/app.git"))[..40].to_owned();
    let address = ([127, 0, 0, 1], gateway.port()).into();
    let site = Arc::new(Site { address, keys, tip });

    let done = sessions_of(&site, sessions);
    let left = |numbers: &Numbers| {
        numbers.get("pullgate_ssh_connections_open") == 0.0 && numbers.get("pullgate_fetches_running") == 0.0
    };
    wait_until("all have left", || left(&Numbers::of(watch)));
    let numbers = Numbers::of(watch);
    let audit = gateway.audit();
    let records: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    compare(&records, &numbers);
    with_what_was_done(&done, &numbers);
    with_the_log(&gateway, &numbers);
    assert_eq!(
        Numbers::of(watch).get("pullgate_audit_records_total{event=\"fetch\"}"),
        numbers.get("pullgate_fetch_duration_seconds_count")
    );
}

/// So many sessions, some at a time; how many there were of each.
fn sessions_of(site: &Arc<Site>, sessions: usize) -> BTreeMap<Act, u64> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut done = BTreeMap::new();
    runtime.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        let places = Arc::new(tokio::sync::Semaphore::new(12));
        for act in ACTS.iter().cycle().take(sessions) {
            *done.entry(*act).or_default() += 1;
            let (site, place, act) = (Arc::clone(site), Arc::clone(&places).acquire_owned().await.unwrap(), *act);
            running.spawn(async move {
                let said = tokio::time::timeout(Duration::from_secs(60), site.act(act)).await;
                drop(place);
                said.unwrap_or_else(|_| Err("hangs".to_owned())).map_err(|fault| format!("{act:?}: {fault}"))
            });
        }
        while let Some(said) = running.join_next().await {
            said.unwrap().unwrap();
        }
    });
    done
}

/// The audit file against the numbers: every label of every counter.
fn compare(records: &[Value], numbers: &Numbers) {
    let field = |name: &'static str| move |record: &Value| text(record, name);
    let all: Counts = records.iter().fold(Counts::new(), |mut counts, record| {
        *counts.entry(text(record, "event").unwrap()).or_default() += 1;
        counts
    });
    assert_eq!(numbers.by("pullgate_audit_records_total", "event"), all);
    assert_eq!(numbers.by("pullgate_audit_records_lost_total", "cause"), Counts::new());
    assert_eq!(numbers.by("pullgate_logins_refused_total", "reason"), count(records, "login-refused", field("reason")));
    assert_eq!(numbers.by("pullgate_requests_refused_total", "code"), count(records, "refused", field("code")));
    assert_eq!(numbers.by("pullgate_fetches_unserved_total", "code"), count(records, "fetch", field("code")));
    for (label, of) in [("outcome", "outcome"), ("protocol", "protocol")] {
        assert_eq!(numbers.by("pullgate_fetches_total", label), count(records, "fetch", field(of)), "{label}");
    }
    let source = |record: &Value| Some(record["source"]["cache"].as_str().unwrap_or("none").to_owned());
    assert_eq!(numbers.by("pullgate_fetches_total", "source"), count(records, "fetch", source));
    let why = |record: &Value| record["source"]["why"].as_str().map(str::to_owned);
    assert_eq!(numbers.by("pullgate_cache_bypasses_total", "reason"), count(records, "fetch", why));

    let fetches = || records.iter().filter(|record| record["event"] == "fetch");
    let sum = |field: &str| fetches().map(|record| record[field].as_u64().unwrap()).sum::<u64>();
    #[allow(clippy::cast_precision_loss, reason = "counts of a test are small")]
    let same = |series: &str, expected: u64| assert_eq!(numbers.get(series), expected as f64, "{series}");
    same("pullgate_fetch_sent_bytes_total", sum("bytes_out"));
    same("pullgate_fetch_received_bytes_total", sum("bytes_in"));
    same("pullgate_logins_total", all["login"]);
    same("pullgate_fetches_allowed_total", all["allowed"]);
    same("pullgate_registry_changes_total", all["changed"]);
    same("pullgate_fetch_duration_seconds_count", all["fetch"]);
    same(
        "pullgate_fetch_duration_seconds_bucket{le=\"1.0\"}",
        fetches().filter(|r| r["duration_ms"].as_u64() <= Some(1000)).count() as u64,
    );
    #[allow(clippy::cast_precision_loss, reason = "likewise")]
    let seconds = sum("duration_ms") as f64 / 1000.0;
    assert!((numbers.get("pullgate_fetch_duration_seconds_sum") - seconds).abs() < 0.001, "{seconds} s");
}

/// The numbers against what was done: neither is wrong together with the other.
fn with_what_was_done(done: &BTreeMap<Act, u64>, numbers: &Numbers) {
    let of = |act: Act| done.get(&act).copied().unwrap_or_default();
    let mut refused: Counts =
        [("read-only", of(Act::Push)), ("not-served", of(Act::Shell))].map(|(c, n)| (c.to_owned(), n)).into();
    for (act, count) in done {
        if let Act::Refused(code) = act
            // Allowed, and then git cannot read it.
            && *code != "repository"
        {
            refused.insert((*code).to_owned(), *count);
        }
    }
    refused.retain(|_, count| *count > 0);
    assert_eq!(numbers.by("pullgate_requests_refused_total", "code"), refused);
    let strangers = Counts::from([("unknown-key".to_owned(), of(Act::Stranger))]);
    assert_eq!(numbers.by("pullgate_logins_refused_total", "reason"), strangers);
    let outcomes = numbers.by("pullgate_fetches_total", "outcome");
    let acts = [Act::Clone(0), Act::Clone(1), Act::Clone(2), Act::Poll(0), Act::Poll(1), Act::Poll(2)];
    let served: u64 = acts.map(of).iter().sum();
    let found = |word: &str| outcomes.get(word).copied().unwrap_or_default();
    // Who leaves without a word may be seen to have ended well, or to be gone.
    assert_eq!(found("served") + found("client-gone"), served + of(Act::Leave), "{outcomes:?}");
    assert!(found("served") >= served, "{outcomes:?}");
    assert_eq!(found("failed"), of(Act::Wrong) + of(Act::Refused("repository")), "{outcomes:?}");
    assert_eq!(outcomes.get("timed-out"), Some(&of(Act::Sleep)), "{outcomes:?}");
    let limit = |name: &str| numbers.by(name, "limit");
    assert_eq!(limit("pullgate_fetch_limit_hits_total"), [("negotiation_seconds".to_owned(), of(Act::Sleep))].into());
    assert_eq!(limit("pullgate_ssh_limit_hits_total"), [("banner_seconds".to_owned(), of(Act::Silent))].into());
    #[allow(clippy::cast_precision_loss, reason = "counts of a test are small")]
    let sessions = done.values().sum::<u64>() as f64;
    assert_eq!(numbers.get("pullgate_ssh_connections_accepted_total"), sessions);
}

/// What the log says of each, as often as it was counted.
fn with_the_log(gateway: &Gateway, numbers: &Numbers) {
    let said = |words: &str| gateway.log().lines().filter(|line| line.contains(words)).count() as u64;
    let banners = numbers.by("pullgate_ssh_limit_hits_total", "limit")["banner_seconds"];
    wait_until("the log is written", || said("a peer did not say what it is") == banners);
    assert_eq!(said("an audit record cannot be written"), 0);
}
