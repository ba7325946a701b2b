//! What the two sides may agree on, as real ssh sees it, and what a client that has only old things is told.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Gateway, Said, run, wait_until};

/// ssh with this key and these options, for one fetch.
pub(crate) fn ssh(gateway: &Gateway, key: &Path, options: &[&str]) -> Command {
    let line = gateway.ssh_line(key);
    let mut ssh = Command::new("ssh");
    ssh.args(line.split(' ').skip(1)).args(["-p", &gateway.port().to_string()]);
    ssh.args(options.iter().flat_map(|option| ["-o", *option]));
    ssh.args(["git@localhost", "git-upload-pack 'acme/app'"]);
    ssh
}

fn fetch(gateway: &Gateway, key: &Path, options: &[&str]) -> Said {
    run(&mut ssh(gateway, key, options))
}

fn rsa_key(gateway: &Gateway) -> PathBuf {
    let key = gateway.keygen("rsa", &["rsa", "-b", "3072"]);
    let public = key.with_extension("pub");
    gateway.pullgate(["key", "add", "acme", "rsa", "--grant", "acme/app", "--key", public.to_str().unwrap()]).ok();
    key
}

fn with(line: &'static str, instead: &'static str) -> impl FnOnce(String) -> String {
    move |config| {
        assert!(config.contains(line), "{config}");
        config.replace(line, instead)
    }
}

/// The whole sentence, seen by a client that signs with SHA-1; and nothing served.
#[test]
fn a_sha1_signature_is_told_what_to_use_instead() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = rsa_key(&gateway);
    let served = fetch(&gateway, &key, &["PubkeyAcceptedAlgorithms=rsa-sha2-256"]);
    assert!(served.out.contains("refs/heads/main"), "{served:?}");
    let said = fetch(&gateway, &key, &["PubkeyAcceptedAlgorithms=ssh-rsa"]);
    assert_eq!(said.code, Some(128), "{said:?}");
    let sentence = "ERR signatures with SHA-1 (ssh-rsa) are not accepted: use an ed25519 or ECDSA key, or a client that signs \
                    with rsa-sha2-256 [sha1-signature]";
    assert!(said.out.contains(sentence) && !said.out.contains("refs/heads/main"), "{said:?}");
    let greeted = {
        let line = gateway.ssh_line(&key);
        let mut ssh = Command::new("ssh");
        ssh.args(line.split(' ').skip(1)).args(["-p", &gateway.port().to_string(), "-T"]);
        run(ssh.args(["-o", "PubkeyAcceptedAlgorithms=ssh-rsa", "git@localhost"]))
    };
    assert!(greeted.err.contains("[sha1-signature]"), "{greeted:?}");
}

/// A client that can do better is not led to SHA-1 by what we announce.
#[test]
fn who_can_do_better_does() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = rsa_key(&gateway);
    let every = "PubkeyAcceptedAlgorithms=rsa-sha2-512,rsa-sha2-256,ssh-rsa";
    assert!(fetch(&gateway, &key, &[every]).out.contains("refs/heads/main"));
}

#[test]
fn every_host_key_and_no_sha1_of_it() {
    let gateway = Gateway::start_with(|config| {
        with("nist_curves = false", "nist_curves = true")(with("rsa_host_key = false", "rsa_host_key = true")(config))
    });
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    for algorithm in ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"] {
        let said = fetch(&gateway, &key, &[&format!("HostKeyAlgorithms={algorithm}")]);
        assert!(said.out.contains("refs/heads/main"), "{algorithm}: {said:?}");
    }
    for sha1 in ["HostKeyAlgorithms=ssh-rsa", "KexAlgorithms=diffie-hellman-group14-sha1", "Ciphers=aes128-cbc"] {
        let said = fetch(&gateway, &key, &[sha1]);
        assert!(said.code == Some(255) && said.err.contains("no matching"), "{sha1}: {said:?}");
    }
}

/// A stranger has no large group computed with: one exchange of 8,192 bits took more than a second of processor time.
#[test]
fn large_groups_are_for_nobody() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let fixed = ["diffie-hellman-group14-sha256", "diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512"];
    for large in fixed {
        let said = fetch(&gateway, &key, &[&format!("KexAlgorithms={large}")]);
        assert!(said.code == Some(255) && said.err.contains("no matching key exchange"), "{large}: {said:?}");
    }
    wait_until("the log", || gateway.log().matches("let it offer a curve").count() == fixed.len());
    // OpenSSH prefers 8,192 bits to go with a cipher of 256, and takes what it gets.
    let options =
        ["KexAlgorithms=diffie-hellman-group-exchange-sha256", "Ciphers=aes256-gcm@openssh.com", "LogLevel=DEBUG2"];
    let said = fetch(&gateway, &key, &options);
    assert!(said.err.contains("(2048<8192<8192)") && said.out.contains("refs/heads/main"), "{said:?}");
    assert!(said.err.contains("/3072") && !said.err.contains("/8192"), "{said:?}");
}

/// Unless they are asked for; and the log says what would serve a client that has nothing else.
#[test]
fn the_nist_curves_are_not_offered() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    assert!(fetch(&gateway, &key, &[]).out.contains("refs/heads/main"));
    for none in ["HostKeyAlgorithms=ecdsa-sha2-nistp256", "KexAlgorithms=ecdh-sha2-nistp256,ecdh-sha2-nistp521"] {
        let said = fetch(&gateway, &key, &[none]);
        assert!(said.code == Some(255) && said.err.contains("no matching"), "{none}: {said:?}");
    }
    let rsa = fetch(&gateway, &key, &["HostKeyAlgorithms=rsa-sha2-256"]);
    assert_eq!(rsa.code, Some(255), "{rsa:?}");
    let remedies = |option: &str| {
        let line = format!("a client has nothing in common with us: it can be served with {option} = true under [ssh]");
        gateway.log().matches(&line).count()
    };
    wait_until("the log", || (remedies("nist_curves"), remedies("rsa_host_key")) == (2, 1));
    // What is about the server's keys says nothing of the users'.
    let own = gateway.keygen("own", &["ecdsa"]);
    let public = own.with_extension("pub");
    gateway.pullgate(["key", "add", "acme", "own", "--grant", "acme/app", "--key", public.to_str().unwrap()]).ok();
    assert!(fetch(&gateway, &own, &[]).out.contains("refs/heads/main"));
}

#[test]
fn key_exchange_is_strict() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &[]);
    let said = gateway.ssh(&key, &["-vvv", "-T"], &[]);
    assert!(said.err.contains("kex-strict-s-v00@openssh.com"), "{}", said.err);
}

/// A host key's rotation as a client lives through it, who took the lines when the next key was made.
#[test]
fn a_rotated_host_key_is_known_by_then() {
    let mut gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let early = std::fs::read_to_string(gateway.path("known_hosts")).unwrap();
    gateway.pullgate(["host-key", "next"]).ok();
    std::fs::write(gateway.path("known_hosts"), gateway.pullgate(["known-hosts"]).ok()).unwrap();
    assert!(fetch(&gateway, &key, &[]).out.contains("refs/heads/main"), "before");
    gateway.pullgate(["host-key", "promote"]).ok();
    gateway.stop();
    gateway.resume();
    let said = fetch(&gateway, &key, &[]);
    assert!(said.out.contains("refs/heads/main"), "after: {said:?}");
    // Who kept the old lines is protected, and stays out.
    std::fs::write(gateway.path("known_hosts"), early).unwrap();
    let said = fetch(&gateway, &key, &[]);
    assert!(said.code == Some(255) && said.err.contains("HOST IDENTIFICATION HAS CHANGED"), "{said:?}");
}

/// One line in the build's log, in every version, from so many days before the end; and the clone is good.
#[test]
fn an_end_that_is_near_is_in_the_build_log() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let add = |label: &str, expires: &str| {
        let key = gateway.keygen(label, &["ed25519"]);
        let public = key.with_extension("pub");
        let args = ["key", "add", "acme", label, "--grant", "acme/app", "--expires", expires, "--key"];
        gateway.pullgate(args.into_iter().chain([public.to_str().unwrap()])).ok();
        key
    };
    let (soon, later) = (add("soon", "13d"), add("later", "15d"));
    for version in ["0", "1", "2"] {
        let (config, copy) = (format!("protocol.version={version}"), format!("copy{version}"));
        let said = gateway.git(&soon, &["-c", &config, "clone", "-q", &gateway.url("acme/app"), &copy]);
        let lines: Vec<&str> = said.err.lines().filter(|line| line.ends_with("[expires-soon]")).collect();
        assert_eq!((said.code, lines.len()), (Some(0), 1), "{said:?}");
        assert!(lines[0].starts_with("warning: key acme/soon (SHA256:"), "{lines:?}");
        assert!(lines[0].contains(", in 13 days; ask an administrator of acme to extend or rotate it"), "{lines:?}");
        let quiet = gateway.git(&later, &["-c", &config, "ls-remote", &gateway.url("acme/app")]);
        assert_eq!((quiet.code, quiet.err.as_str()), (Some(0), ""));
    }
}

#[test]
fn nobody_is_warned_where_it_is_switched_off() {
    let gateway = Gateway::start_with(with("expiry_warning_days = 14", "expiry_warning_days = 0"));
    gateway.repo("acme/app");
    let key = gateway.keygen("soon", &["ed25519"]);
    let public = key.with_extension("pub");
    let args = ["key", "add", "acme", "soon", "--grant", "acme/app", "--expires", "1d", "--key"];
    gateway.pullgate(args.into_iter().chain([public.to_str().unwrap()])).ok();
    let said = gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
}
