//! What the gateway offers, as its first packet says it, and what becomes of clients that have nothing of it.

use crate::Check;
use crate::exercise::{Client as _, Site, logins, missing};
use crate::harness::{Said, run, wait_until};
use crate::jgit::{self, JGit};
use crate::listen_in::Offer;
use crate::scene::same_id_in_the_audit;

pub(crate) fn checks() -> Vec<Check> {
    let check = |name: &str, program: &str, run: fn()| Check {
        name: name.to_owned(),
        missing: missing(&[program]),
        run: Box::new(run),
    };
    vec![
        check("what is offered is what the page says, post-quantum first", "ssh", documented),
        check("JGit finds nothing in the default offer", "jgit", jgit_by_default),
        check("with an RSA host key too, JGit's SHA-1 signatures are told of", "jgit", sha1_beside_rsa),
        check("with an RSA host key too, OpenSSH is told of SHA-1", "ssh", openssh_sha1_beside_rsa),
    ]
}

fn both(config: String) -> String {
    let rsa = "rsa_host_key = false";
    assert!(config.contains(rsa), "{config}");
    jgit::nist_curves(config.replace(rsa, "rsa_host_key = true"))
}

/// One fetch by OpenSSH, with these options.
fn fetch(site: &Site, options: &[&str]) -> Said {
    let home = site.gateway.path("home");
    let known_hosts = format!("UserKnownHostsFile={}", home.join(".ssh/known_hosts").display());
    let mut ssh = std::process::Command::new("ssh");
    ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=yes", "-o", &known_hosts, "-o", "IdentitiesOnly=yes"]);
    ssh.args(["-o", "IdentityAgent=none", "-p", &site.port().to_string(), "-i"]).arg(&site.key);
    ssh.args(options.iter().flat_map(|option| ["-o", *option]));
    run(ssh.args(["git@localhost", "git-upload-pack 'acme/app'"]))
}

fn offer(site: &Site) -> Offer {
    let offers = site.wire.offers();
    offers.first().unwrap().clone()
}

const PAGE: &str = include_str!("../../docs/ci/README.md");

/// The names in a row of the page's table, in its column of what is offered: always (1), or by an option too (2).
pub(crate) fn row(name: &str, column: usize) -> Vec<String> {
    let row = PAGE.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
    let cell = row.split('|').nth(column + 1).unwrap();
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn documented() {
    let plain = Site::new(&["ed25519"]);
    assert!(fetch(&plain, &[]).out.contains("refs/heads/main"));
    let default = offer(&plain);
    assert_eq!(default.key_exchanges[0], "mlkem768x25519-sha256");
    let (methods, announcements): (Vec<String>, Vec<String>) = default
        .key_exchanges
        .iter()
        .cloned()
        .partition(|name| !name.starts_with("ext-info-") && !name.starts_with("kex-strict-"));
    assert_eq!(announcements, ["ext-info-s", "kex-strict-s-v00@openssh.com"]);
    assert_eq!(methods, row("key exchange", 1));
    assert_eq!(default.host_keys, row("host keys", 1));
    assert_eq!(default.ciphers, row("ciphers", 1));
    assert_eq!(default.macs, row("message codes", 1));

    // With both options there is what the page names for them, behind the rest, and nothing else.
    let open = Site::with(&["ed25519"], both);
    assert!(fetch(&open, &[]).out.contains("refs/heads/main"));
    let more = offer(&open);
    assert_eq!(more.key_exchanges[0], "mlkem768x25519-sha256");
    for (name, default, more) in [
        ("key exchange", &default.key_exchanges, &more.key_exchanges),
        ("host keys", &default.host_keys, &more.host_keys),
        ("ciphers", &default.ciphers, &more.ciphers),
        ("message codes", &default.macs, &more.macs),
    ] {
        let added: Vec<String> = more.iter().filter(|name| !default.contains(name)).cloned().collect();
        assert_eq!(added, row(name, 2), "{name}");
        assert_eq!(more.len(), default.len() + added.len(), "{name}");
    }
    let names = [more.key_exchanges, more.host_keys, more.ciphers, more.macs].concat();
    // The page says so; when the library has it, both have to change.
    assert!(!names.iter().any(|name| name.starts_with("sntrup761")), "{names:?}");
    // No exchange, host key or code rests on SHA-1, and no cipher chains blocks.
    let old = |name: &&String| name.ends_with("sha1") || *name == "ssh-rsa" || name.ends_with("-cbc");
    assert_eq!(names.iter().find(old), None);
}

/// Of host keys it knows `ssh-rsa`, `ssh-dss` and ECDSA over the NIST curves only. It never logs in; what it prints is on the
/// page, and what the gateway's log says is the remedy.
fn jgit_by_default() {
    let site = jgit::site_with("ecdsa", |config| config);
    let said = JGit.ls_remote(&site, &site.gateway.path("home"), "acme/app.git");
    let printed = said.failed();
    let quoted = PAGE.lines().find(|line| line.contains("Algorithm negotiation fail")).unwrap().trim();
    let expected = quoted.replace("git.example.org:2222", &format!("localhost:{}", site.port()));
    assert!(printed.lines().any(|line| line.ends_with(&expected)), "{printed}");
    assert_eq!(logins(&site), 0);
    let remedy = "a client has nothing in common with us: it can be served with nist_curves = true under [ssh]";
    wait_until("the log", || site.gateway.log().contains(remedy));
    assert!(PAGE.contains(remedy), "the page does not quote the log");
}

/// What a client that signs with SHA-1 only has to be told, whatever host keys there are.
const SHA1: &str = "signatures with SHA-1 (ssh-rsa) are not accepted: use an ed25519 or ECDSA key, or a client that signs with \
                    rsa-sha2-256 [sha1-signature]";

/// It does not ask which signatures are taken, as no client that knows nothing better.
fn sha1_beside_rsa() {
    let site = jgit::site_with("rsa", both);
    let said = JGit.ls_remote(&site, &site.gateway.path("home"), "acme/app.git");
    assert!(!said.out.contains("refs/heads/main"), "{said:?}");
    let printed = said.failed();
    assert!(printed.contains(SHA1), "{printed}");
    same_id_in_the_audit(&site.gateway, &printed, "sha1-signature");
}

/// It asks, and signs with what it was told to use where that is taken; our own host key never does.
fn openssh_sha1_beside_rsa() {
    let site = Site::with(&["rsa", "-b", "3072"], both);
    assert!(fetch(&site, &[]).out.contains("refs/heads/main"));
    let said = fetch(&site, &["PubkeyAcceptedAlgorithms=ssh-rsa"]);
    assert!(!said.out.contains("refs/heads/main") && said.code == Some(128), "{said:?}");
    assert!(said.out.contains(SHA1), "{said:?}");
    same_id_in_the_audit(&site.gateway, &said.out, "sha1-signature");
    let host_key = fetch(&site, &["HostKeyAlgorithms=ssh-rsa"]).failed();
    assert!(host_key.contains("no matching host key type found. Their offer: ssh-ed25519,"), "{host_key}");
    assert!(!host_key.contains("ssh-rsa") && !host_key.contains("invalid"), "{host_key}");
}
