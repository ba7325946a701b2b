//! `known-hosts` for every client, and a host key's life.

use std::process::Command;

use crate::support::Site;

const FORMATS: [&str; 7] = ["openssh", "openssh-hashed", "jenkins", "argocd", "bamboo", "sshfp", "fingerprints"];

/// A site whose host keys are there; `serve` makes them.
fn site() -> Site {
    let site = Site::new();
    let config = std::fs::read_to_string(site.path("config.toml")).unwrap();
    std::fs::write(site.path("config.toml"), config.replace("nist_curves = false", "nist_curves = true")).unwrap();
    for (name, kind) in [("ssh_host_ed25519_key", "ed25519"), ("ssh_host_ecdsa_key", "ecdsa")] {
        let file = site.path("keys").join(name);
        keygen(&["-q", "-N", "", "-t", kind, "-f", file.to_str().unwrap()]);
    }
    site
}

fn keygen(args: &[&str]) -> String {
    let output = Command::new("ssh-keygen").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// With what differs from run to run taken out.
fn normal(text: &str) -> String {
    let word = |word: &str| -> String {
        match word {
            _ if word.starts_with("AAAA") => "KEY".to_owned(),
            _ if word.starts_with("SHA256:") => "SHA256:FINGERPRINT".to_owned(),
            _ if word.starts_with("|1|") => "|1|SALT|HASH".to_owned(),
            _ if word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) => "HEX".to_owned(),
            _ => word.to_owned(),
        }
    };
    text.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn known_hosts_in_every_format() {
    let site = site();
    let mut all = String::new();
    for format in FORMATS {
        let args = ["known-hosts", "--format", format, "--host", "git.example.org", "--host", "git.example.org:2222"];
        all.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), normal(&site.ok(&args).out)));
    }
    site.snapshot("known_hosts_formats", &all);
    assert!(!site.run(&["known-hosts", "--format", "sshfp", "--host", "192.0.2.1"]).err.is_empty());
    assert_eq!(site.run(&["known-hosts", "--host", "-oProxyCommand=x"]).code, 2);
}

/// What ssh-keygen finds in the lines, plain and hashed.
#[test]
fn openssh_finds_its_hosts() {
    let site = site();
    for format in ["openssh", "openssh-hashed"] {
        let file = site.path(format);
        let args = ["known-hosts", "--format", format, "--host", "git.example.org", "--host", "other.example.org:2222"];
        std::fs::write(&file, site.ok(&args).out).unwrap();
        for host in ["git.example.org", "[other.example.org]:2222"] {
            let found = keygen(&["-F", host, "-f", file.to_str().unwrap()]);
            let keys: Vec<&str> = found.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(keys.len(), 2, "{format} {host}: {found}");
        }
        let hidden = std::fs::read_to_string(&file).unwrap();
        assert_eq!(hidden.contains("example.org"), format == "openssh", "{hidden}");
    }
}

#[test]
fn sshfp_records_are_those_of_ssh_keygen() {
    let site = site();
    let ours = site.ok(&["known-hosts", "--format", "sshfp", "--host", "git.example.org:2222"]).out;
    let mut theirs = String::new();
    for name in ["ssh_host_ed25519_key", "ssh_host_ecdsa_key"] {
        let public = site.path("keys").join(format!("{name}.pub"));
        // It takes the name as it is, and a zone file one without a final dot for one below its own.
        let records = keygen(&["-r", "git.example.org.", "-f", public.to_str().unwrap()]);
        // Type 1 is SHA-1, which we do not publish.
        theirs
            .extend(records.lines().filter(|line| line.split(' ').nth(4) == Some("2")).map(|line| format!("{line}\n")));
    }
    assert_eq!(ours, theirs);
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    let site = site();
    let ours = site.ok(&["known-hosts", "--format", "fingerprints"]).out;
    for name in ["ssh_host_ed25519_key", "ssh_host_ecdsa_key"] {
        let listed = keygen(&["-l", "-f", site.path("keys").join(name).to_str().unwrap()]);
        assert!(ours.contains(listed.split(' ').nth(1).unwrap()), "{ours}");
    }
}

#[test]
fn a_next_key_is_published_then_used_and_the_old_one_is_warned_of() {
    let site = site();
    let lines = |site: &Site| site.ok(&["known-hosts"]).out.lines().map(str::to_owned).collect::<Vec<_>>();
    let first = lines(&site);
    assert_eq!(site.run(&["host-key", "promote"]).code, 3);
    site.ok(&["host-key", "next"]);
    let both = lines(&site);
    assert_eq!((both.len(), &both[..2]), (4, &first[..]));
    site.ok(&["host-key", "promote"]);
    assert_eq!(lines(&site), both[2..]);
    let listed = site.ok(&["host-key", "list"]).out;
    assert_eq!((listed.matches("in use").count(), listed.matches("retired").count()), (2, 2), "{listed}");
    let checked = site.run(&["check"]);
    assert_eq!(checked.out.matches("is no longer announced: clients that know only it").count(), 2, "{checked}");
    // A kind that is switched off is announced no more either.
    let config = std::fs::read_to_string(site.path("config.toml")).unwrap();
    std::fs::write(site.path("config.toml"), config.replace("nist_curves = true", "nist_curves = false")).unwrap();
    assert_eq!(lines(&site).len(), 1);
    assert!(site.run(&["check"]).out.contains("is no longer announced: nist_curves is false"));
}

/// As every change says it: one object, and nothing beside it.
#[test]
fn a_host_keys_life_for_scripts() {
    let site = site();
    let mut story = String::new();
    for verb in ["promote", "next", "promote", "list"] {
        let ran = site.run(&["host-key", verb, "--json"]);
        if ran.code == 0 {
            assert_eq!(ran.err, "");
            drop(serde_json::from_str::<serde_json::Value>(&ran.out).unwrap());
        } else {
            assert_eq!(ran.out, "");
        }
        story.push_str(&format!("$ pullgate host-key {verb} --json\n{ran}\n"));
    }
    let story = story.lines().map(|line| match line.split_once("SHA256:") {
        Some((before, _)) => format!("{before}FINGERPRINT\"\n"),
        None => format!("{line}\n"),
    });
    site.snapshot("host_key_json", &story.collect::<String>());
}
