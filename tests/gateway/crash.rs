//! kill -9 at any moment: what was acknowledged is there, once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::Gateway;

/// Eight processes at a time add keys while the daemon is killed and started again.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    const WRITERS: usize = 8;
    const EACH: usize = 16;
    let gateway = Gateway::start();
    let keys: Vec<Vec<String>> =
        (0..WRITERS).map(|writer| (0..EACH).map(|n| public_key(writer * EACH + n)).collect()).collect();
    let acknowledged = Mutex::new(BTreeSet::new());
    let done = AtomicBool::new(false);
    let gateway = Mutex::new(gateway);
    let program = crate::harness::program();
    let config = gateway.lock().unwrap().config();
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(writer, keys)| {
                let (acknowledged, config, dir) = (&acknowledged, &config, dir.path());
                scope.spawn(move || {
                    for (n, key) in keys.iter().enumerate() {
                        let label = format!("k{writer}-{n}");
                        let file = dir.join(&label);
                        std::fs::write(&file, key).unwrap();
                        let output = crate::harness::output(
                            std::process::Command::new(program)
                                .args(["key", "add", "acme", &label, "--key"])
                                .arg(&file)
                                .env("PULLGATE_CONFIG", config),
                        );
                        if output.status.success() {
                            acknowledged.lock().unwrap().insert(label);
                        }
                    }
                })
            })
            .collect();
        let killer = scope.spawn(|| {
            let mut kills = 0;
            while !done.load(Ordering::Acquire) {
                let mut random = [0u8; 1];
                getrandom::fill(&mut random).unwrap();
                std::thread::sleep(Duration::from_millis(100 + u64::from(random[0])));
                let mut gateway = gateway.lock().unwrap();
                gateway.kill();
                // Between two daemons the commands open the registry themselves, and may hold it for a moment.
                gateway.resume();
                kills += 1;
            }
            kills
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(killer.join().unwrap() > 2, "the daemon was killed while keys were added");
    });
    let gateway = gateway.into_inner().unwrap();
    let listed = gateway.pullgate(["key", "list", "acme", "--json"]).ok();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let labels: Vec<String> = find_all(&listed, "label");
    let distinct: BTreeSet<String> = labels.iter().cloned().collect();
    assert_eq!(labels.len(), distinct.len(), "a key is there twice");
    let acknowledged = acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.difference(&distinct).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(acknowledged.len() > WRITERS, "only {} were acknowledged", acknowledged.len());
}

/// Some public key, a different one for each number.
fn public_key(n: usize) -> String {
    let seed = ed25519_dalek::SigningKey::from_bytes(&[u8::try_from(n % 251).unwrap() + 1; 32]);
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend_from_slice(seed.verifying_key().as_bytes());
    format!("ssh-ed25519 {}\n", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, blob))
}

/// Every text under a name, at any depth.
fn find_all(value: &Value, name: &str) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().flat_map(|v| find_all(v, name)).collect(),
        Value::Object(map) => {
            let own = map.get(name).and_then(|v| v.as_str()).map(str::to_owned);
            own.into_iter().chain(map.values().flat_map(|v| find_all(v, name))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
