//! A key's life as an administrator leads it, with a daemon running.

use crate::harness::Gateway;

#[test]
fn every_kind_of_key_logs_in() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    for (name, kind) in [
        ("ed25519", &["ed25519"][..]),
        ("p256", &["ecdsa", "-b", "256"]),
        ("p384", &["ecdsa", "-b", "384"]),
        ("p521", &["ecdsa", "-b", "521"]),
        ("rsa", &["rsa", "-b", "3072"]),
    ] {
        let key = gateway.keygen(name, kind);
        let public = key.with_extension("pub");
        gateway.pullgate(["key", "add", "acme", name, "--grant", "acme/app", "--key", public.to_str().unwrap()]).ok();
        gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
    }
}

#[test]
fn a_key_is_registered_once() {
    let gateway = Gateway::start();
    gateway.pullgate(["account", "add", "other"]).ok();
    let key = gateway.key("ci", &["acme/secret-project"]);
    let public = key.with_extension("pub");
    let public = public.to_str().unwrap();
    let again = gateway.pullgate(["key", "add", "acme", "ci2", "--key", public]);
    assert_eq!(again.code, Some(4), "{again:?}");
    assert!(again.err.contains("acme/ci") && again.err.contains("key grant"), "{}", again.err);
    let elsewhere = gateway.pullgate(["key", "add", "other", "ci", "--key", public]);
    assert_eq!(elsewhere.code, Some(4), "{elsewhere:?}");
    assert!(!elsewhere.err.contains("secret-project"), "{}", elsewhere.err);
}

#[test]
fn stray_keys_do_not_stand_in_the_way() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let right = gateway.key("right", &["acme/app"]);
    let mut line = gateway.ssh_line(&gateway.keygen("stray0", &["ed25519"]));
    for n in 1..12 {
        line.push_str(&format!(" -i {}", gateway.keygen(&format!("stray{n}"), &["ed25519"]).display()));
    }
    line.push_str(&format!(" -i {}", right.display()));
    let mut git = crate::harness::plain_git(&gateway.path(""));
    git.env("GIT_SSH_COMMAND", line).args(["ls-remote", &gateway.url("acme/app")]);
    let start = std::time::Instant::now();
    crate::harness::run(&mut git).ok();
    eprintln!("twelve stray keys first: {:?}", start.elapsed());
}

#[test]
fn a_generated_key_clones_and_is_nowhere_else() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let file = gateway.path("made");
    let args = ["key", "generate", "acme", "made", "--grant", "acme/app", "--out", file.to_str().unwrap()];
    gateway.pullgate(args).ok();
    gateway.git(&file, &["ls-remote", &gateway.url("acme/app")]).ok();
    let secret = std::fs::read_to_string(&file).unwrap();
    let line = secret.lines().nth(2).unwrap();
    for kept in ["state", "log", "config.toml"] {
        assert!(!holds(&gateway.path(kept), line), "the private key is in {kept}");
    }
}

/// Whether a file, or any file in a folder, holds a text.
fn holds(path: &std::path::Path, text: &str) -> bool {
    if path.is_dir() {
        return std::fs::read_dir(path).unwrap().any(|entry| holds(&entry.unwrap().path(), text));
    }
    std::fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}
