//! The time of a refusal does not tell whether the repository exists: `just timing-test` measures it over one open connection to a
//! release build, where a microsecond is seen; a short form looks for what is gross.
//!
//! Refusals of several kinds alternate in random order, so that whatever else the machine does meets all of them. Two kinds are
//! told apart as well as the area under the curve says: the chance that of one refusal of each the second took longer. A half is
//! a coin that is tossed. Two names of which neither exists are held against each other too: what is seen there is no difference.

use std::time::{Duration, Instant};

use russh::client::Handle;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg};
use russh::{ChannelMsg, Disconnect};

use crate::fire::Dice;
use crate::harness::{Gateway, wait_until};
use crate::hostile_clients::{Trusting, connect};

/// Refusals of each kind in the short form, and how far from a half its areas may be: seven times their spread.
const SHORT: (usize, f64) = (400, 0.15);
/// How far they may be in the long form, of 20,000 each: seven times the spread again.
const FAR: f64 = 0.02;
const LONG: usize = 20_000;
/// How often it is measured at the most, where the machine does so much else that 200 microseconds more would not show.
const TRIES: usize = 3;

/// What is asked for, all names of one length. The key may fetch `acme/app00` and, if it were there, `acme/gone0`.
const KINDS: [(&str, &str); 4] = [
    ("absent", "acme/none0.git"),
    ("absent, another name", "acme/none1.git"),
    ("there and kept, not granted", "acme/other.git"),
    ("granted, absent", "acme/gone0.git"),
];

/// How long one refusal took, from the question to its last word.
async fn refusal(connection: &Handle<Trusting>, path: &str) -> Duration {
    let mut channel = connection.channel_open_session().await.unwrap();
    let start = Instant::now();
    channel.exec(false, format!("git-upload-pack '{path}'")).await.unwrap();
    let took = loop {
        let message = channel.wait().await.unwrap();
        assert!(!matches!(message, ChannelMsg::ExtendedData { .. }), "{message:?}");
        if let ChannelMsg::Data { data } = message {
            let took = start.elapsed();
            assert!(data.windows(13).any(|word| word == b"[not-granted]"), "{data:?}");
            break took;
        }
    };
    channel.eof().await.unwrap();
    // All of it is over before the next begins.
    while channel.wait().await.is_some() {}
    took
}

/// The chance that one of `b` is larger than one of `a`, a tie counting half (Mann and Whitney's U over the number of pairs).
fn area(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = a.iter().map(|x| (*x, false)).chain(b.iter().map(|x| (*x, true))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut ranks, mut at) = (0.0, 0);
    while at < all.len() {
        let same = all[at..].iter().take_while(|one| one.0.total_cmp(&all[at].0).is_eq()).count();
        let rank = at as f64 + (same as f64 + 1.0) / 2.0;
        ranks += rank * all[at..at + same].iter().filter(|one| one.1).count() as f64;
        at += same;
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    (ranks - m * (m + 1.0) / 2.0) / (n * m)
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    sorted[(part * (sorted.len() - 1) as f64) as usize]
}

/// Measures each kind so many times, in microseconds.
async fn measure(gateway: &Gateway, key: PrivateKey, times: usize) -> Vec<Vec<f64>> {
    let mut connection = connect(gateway).await;
    let login = PrivateKeyWithHashAlg::new(key.into(), None);
    assert!(connection.authenticate_publickey("git", login).await.unwrap().success());
    let (mut dice, mut took) = (Dice(0x9E37_79B9_7F4A_7C15), vec![Vec::new(); KINDS.len()]);
    for round in 0..times + 100 {
        let mut order: Vec<usize> = (0..KINDS.len()).collect();
        while !order.is_empty() {
            let kind = order.swap_remove(dice.below(order.len()));
            let one = refusal(&connection, KINDS[kind].1).await;
            // The first ones find cold code.
            if round >= 100 {
                took[kind].push(one.as_secs_f64() * 1e6);
            }
        }
    }
    connection.disconnect(Disconnect::ByApplication, "", "").await.unwrap();
    took
}

#[tokio::test]
async fn the_time_of_a_refusal_does_not_tell_what_exists() {
    let long = std::env::var("PULLGATE_TIMING").ok().map(|times| times.parse::<usize>().unwrap());
    let (times, far) = long.map_or(SHORT, |times| (times, FAR * (LONG as f64 / times as f64).sqrt()));
    let gateway = Gateway::start();
    for repo in ["acme/app00", "acme/other"] {
        gateway.repo(repo);
    }
    let key = gateway.key("ci", &["acme/app00", "acme/gone0"]);
    let (other, url) = (gateway.key("other", &["acme/other"]), gateway.url("acme/other"));
    std::thread::sleep(Duration::from_millis(60));
    for copy in ["one", "two"] {
        gateway.git(&other, &["clone", "-q", &url, copy]).ok();
    }
    wait_until("it is kept", || gateway.audit().contains(r#""cache":"hit""#));
    let key = PrivateKey::from_openssh(std::fs::read(key).unwrap()).unwrap();
    let mut tries = 0;
    let (took, seen) = loop {
        tries += 1;
        let took = measure(&gateway, key.clone(), times).await;
        // How much longer one kind would have to take for this to see it.
        let seen = (1..2000).map(f64::from).find(|tenths| {
            let slower: Vec<f64> = took[1].iter().map(|took| took + tenths / 10.0).collect();
            area(&took[0], &slower) - 0.5 > far
        });
        match seen {
            Some(tenths) => break (took, tenths / 10.0),
            // While the machine is busy with something else, nothing can be said.
            None => assert!(tries < TRIES, "200 microseconds have to show"),
        }
    };
    eprintln!("{times} refusals of each kind, microseconds from the question to its refusal");
    eprintln!("{:>28} {:>8} {:>8} {:>8} {:>8} {:>8}   {:>7}", "", "p1", "p10", "p50", "p90", "p99", "area");
    let mut told_apart = Vec::new();
    for ((name, _), took_of) in KINDS.iter().zip(&took) {
        let mut sorted = took_of.clone();
        sorted.sort_by(f64::total_cmp);
        let q = [0.01, 0.1, 0.5, 0.9, 0.99].map(|part| format!("{:>8.1}", quantile(&sorted, part))).join(" ");
        let area = area(&took[0], took_of);
        eprintln!("{name:>28} {q}   {area:>7.4}");
        if (area - 0.5).abs() > far {
            told_apart.push(*name);
        }
    }
    eprintln!("areas within 0.5 ± {far:.3} are none to be told apart; {seen:.1} microseconds more would be");
    assert!(told_apart.is_empty(), "{told_apart:?} can be told from what is absent");
}

#[test]
fn the_area_is_what_it_says() {
    let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0]);
    assert!((area(&a, &b) - 1.0).abs() < 1e-12 && area(&b, &a).abs() < 1e-12);
    assert!((area(&a, &a) - 0.5).abs() < 1e-12);
    // Of six pairs one has the second larger, and two are ties.
    assert!((area(&[1.0, 2.0, 3.0], &[2.0, 1.0]) - 2.0 / 6.0).abs() < 1e-12);
}
