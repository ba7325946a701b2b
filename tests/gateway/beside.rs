//! Refusals beside what is kept: an answer that is there to be given, and somebody who may not have it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Gateway, plain_git, run, wait_until};
use crate::raw::{Client, Door, Wish};

/// How often something was answered from what is kept, and how often in any way.
fn answered(gateway: &Gateway) -> (usize, usize) {
    let audit = gateway.audit();
    (audit.matches(r#""cache":"hit""#).count(), audit.matches(r#""cache":"#).count())
}

/// Refs that were fetched a moment ago may be trusted from then on.
fn settle() {
    std::thread::sleep(Duration::from_millis(60));
}

/// What may be kept: polls, a clone of depth 1 and a whole one, in the words of old and new clients.
fn questions(url: &str) -> Vec<Vec<String>> {
    let kinds: [&[&str]; 3] =
        [&["ls-remote", "-q"], &["clone", "-q", "--bare", "--depth=1"], &["clone", "-q", "--bare"]];
    let versions = ["protocol.version=0", "protocol.version=1", "protocol.version=2"];
    let all = versions.iter().flat_map(|version| kinds.iter().map(move |kind| (version, kind)));
    all.map(|(version, kind)| {
        let words = ["-c", version].into_iter().chain(kind.iter().copied()).chain([url]);
        words.map(str::to_owned).collect()
    })
    .collect()
}

fn ask(gateway: &Gateway, key: &Path, question: &[String]) -> crate::harness::Said {
    let copy = tempfile::tempdir_in(gateway.path("")).unwrap();
    let mut git = gateway.git_command(key);
    git.current_dir(copy.path()).args(question);
    run(&mut git)
}

/// Everybody who may not have it hears why, and nothing else, while the one who may gets it from what is kept.
#[test]
fn what_is_kept_is_refused_to_whoever_may_not_have_it() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    gateway.repo("acme/other");
    let ci = gateway.key("ci", &["acme/app"]);
    // All but the first could have it until a moment ago.
    let refused: Vec<(&str, PathBuf)> =
        ["stranger", "away", "old", "ungranted", "far"].map(|label| (label, gateway.key(label, &["acme/*"]))).into();
    settle();
    let questions = questions(&gateway.url("acme/app"));
    for (_, key) in &refused[1..2] {
        questions.iter().for_each(|question| drop(ask(&gateway, key, question).ok()));
    }
    gateway.pullgate(["key", "ungrant", "acme/stranger", "acme/*"]).ok();
    gateway.pullgate(["key", "grant", "acme/stranger", "acme/other"]).ok();
    gateway.pullgate(["key", "suspend", "acme/away"]).ok();
    gateway.pullgate(["key", "ungrant", "acme/ungranted", "acme/*"]).ok();
    gateway.pullgate(["key", "sources", "acme/far", "192.0.2.0/24"]).ok();
    gateway.pullgate(["key", "expire", "acme/old", "1s"]).ok();
    let over = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1100);
    wait_until("the key is over", || jiff::Timestamp::now() > over);
    let codes = [
        ("stranger", "[not-granted]"),
        ("away", "[suspended]"),
        ("old", "[expired]"),
        ("ungranted", "[not-granted]"),
        ("far", "[source-address]"),
    ];
    let mut rows = Vec::new();
    let mut kept = 0;
    for question in &questions {
        let before = answered(&gateway);
        ask(&gateway, &ci, question).ok();
        wait_until("its record", || answered(&gateway).1 > before.1);
        let now = answered(&gateway);
        kept += now.0 - before.0;
        assert!(now.0 > before.0, "{question:?} is not kept, so a refusal shows nothing");
        for ((label, key), (named, code)) in refused.iter().zip(codes) {
            assert_eq!(*label, named);
            let said = ask(&gateway, key, question).failed();
            assert!(said.contains("fatal: remote error: ") && said.contains(code), "{label} {question:?}: {said}");
        }
        assert_eq!(answered(&gateway), now, "{question:?}: somebody was answered");
        rows.push(question[1..question.len() - 1].join(" "));
    }
    eprintln!("kept, given {kept} times to the one who may, and refused to {codes:?}: {rows:#?}");
}

/// Who is logged in already and has had it a moment ago; and not a byte of it comes with the refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_open_is_refused_what_is_kept_from_then_on() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok().trim().to_owned();
    let door = Door {
        address: ([127, 0, 0, 1], gateway.port()).into(),
        user: "git".to_owned(),
        key: Arc::new(russh::keys::load_secret_key(&key, None).unwrap()),
    };
    let client = Client::connect(&door).await.unwrap();
    let wish = || Wish { wants: vec![tip.clone()], haves: Vec::new(), depth: Some(1), include_tag: false };
    let clone = async || {
        let mut talk = client.upload_pack("acme/app.git", 2).await?;
        talk.capabilities().await?;
        // It knows what to ask, and asks for no refs.
        let pack = talk.fetch(wish().v2()).await?;
        talk.end().await?;
        Ok::<_, String>(pack)
    };
    let first = clone().await.unwrap();
    for (change, back, code) in [
        (&["key", "suspend", "acme/ci"][..], &["key", "resume", "acme/ci"][..], "[suspended]"),
        (&["key", "ungrant", "acme/ci", "acme/app"], &["key", "grant", "acme/ci", "acme/app"], "[not-granted]"),
        (
            &["key", "sources", "acme/ci", "192.0.2.0/24"],
            &["key", "sources", "acme/ci", "0.0.0.0/0"],
            "[source-address]",
        ),
    ] {
        assert_eq!(clone().await.unwrap(), first);
        gateway.pullgate(change).ok();
        for version in [0, 1, 2] {
            let mut talk = client.upload_pack("acme/app.git", version).await.unwrap();
            let said = match version {
                2 => talk.capabilities().await.unwrap_err(),
                _ => talk.advertisement().await.unwrap_err(),
            };
            assert!(said.starts_with("the server says: ") && said.contains(code), "{said}");
            // Nothing comes behind it.
            assert!(talk.fetch(wish().v2()).await.unwrap_err().contains("ended early, status Some(128)"));
        }
        gateway.pullgate(back).ok();
    }
    assert_eq!(clone().await.unwrap(), first);
    wait_until("the records", || answered(&gateway).1 == 5);
    assert_eq!(answered(&gateway).0, 4, "{}", gateway.audit());
    client.close().await;
}
