//! `key generate`: the private key exists once.

use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use russh::keys::ssh_key::PrivateKey;

use crate::support::Site;

#[test]
fn to_a_file_that_is_new_and_private() {
    let site = Site::with_acme();
    let ran = site.ok(&["key", "generate", "acme", "ci", "--out", "ci_key", "--grant", "acme/*", "--expires", "90d"]);
    let text = std::fs::read_to_string(site.path("ci_key")).unwrap();
    assert_eq!(std::fs::metadata(site.path("ci_key")).unwrap().mode() & 0o777, 0o600);
    let key = PrivateKey::from_openssh(&text).unwrap();
    let fingerprint = key.fingerprint(russh::keys::ssh_key::HashAlg::Sha256).to_string();
    assert!(ran.out.contains(&fingerprint), "{ran}");
    let shown = site.ok(&["whereis", &fingerprint]);
    assert!(shown.out.contains("acme/ci (deploy key, active)") && shown.out.contains("acme/*"), "{shown}");

    // Never over a file that is there; and then nothing is registered either.
    let again = site.run(&["key", "generate", "acme", "other", "--out", "ci_key"]);
    assert_eq!(again.code, 4, "{again}");
    assert_eq!(std::fs::read_to_string(site.path("ci_key")).unwrap(), text);
    assert_eq!(site.run(&["key", "show", "acme/other"]).code, 3);
}

#[test]
fn the_file_goes_again_when_the_key_is_not_registered() {
    let site = Site::with_acme();
    let ran = site.run(&["key", "generate", "nobody", "ci", "--out", "ci_key"]);
    assert_eq!(ran.code, 3, "{ran}");
    assert!(!site.path("ci_key").exists());
    assert_eq!(site.run(&["key", "generate", "acme", "ci", "--out", "no/such/folder"]).code, 6);
    assert_eq!(site.run(&["key", "show", "acme/ci"]).code, 3);
}

#[test]
fn to_standard_output_and_nothing_else_there() {
    let site = Site::with_acme();
    let ran = site.ok(&["key", "generate", "acme", "ci"]);
    let key = PrivateKey::from_openssh(&ran.out).unwrap();
    assert!(ran.err.starts_with("added key acme/ci (SHA256:"), "{ran}");
    let shown = site.ok(&["key", "show", "acme/ci", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    let public = key.public_key().to_openssh().unwrap();
    assert!(public.starts_with(shown["public_key"].as_str().unwrap()));
    // A failure prints no key at all.
    let failed = site.run(&["key", "generate", "acme", "ci"]);
    assert_eq!((failed.code, failed.out.as_str()), (4, ""));
}

#[test]
fn a_key_that_nobody_got_is_taken_back() {
    let site = Site::with_acme();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = site.command(&["key", "generate", "acme", "ci"]);
    let ran = command.stdout(Stdio::from(full)).output().unwrap();
    assert_eq!(ran.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("removed from the registry again"));
    assert_eq!(site.run(&["key", "show", "acme/ci"]).code, 3);
}

#[test]
fn the_private_key_is_in_no_file_but_its_own() {
    let site = Site::with_acme();
    site.ok(&["key", "generate", "acme", "ci", "--out", "ci_key"]);
    let key = PrivateKey::from_openssh(std::fs::read(site.path("ci_key")).unwrap()).unwrap();
    let seed = key.key_data().ed25519().unwrap().private.to_bytes();
    let mut looked = 0;
    let mut folders = vec![site.path("state")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(seed.len()).any(|window| window == seed), "{}", path.display());
            looked += 1;
        }
    }
    assert!(looked >= 2, "the state folder was not read");
}

#[test]
fn a_rotation_makes_the_new_key_too() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/*"]);
    let ran = site.ok(&["key", "rotate", "acme/ci", "--generate", "--out", "new_key", "--overlap", "2d"]);
    let listed = site.ok(&["key", "list", "--expiring", "3d"]).out;
    assert!(listed.contains("acme/ci ") && !listed.contains("active  never"), "its end is the overlap's: {listed}");
    assert_eq!(std::fs::metadata(site.path("new_key")).unwrap().mode() & 0o777, 0o600);
    let key = PrivateKey::from_openssh(std::fs::read_to_string(site.path("new_key")).unwrap()).unwrap();
    let fingerprint = key.fingerprint(russh::keys::ssh_key::HashAlg::Sha256).to_string();
    assert!(ran.out.contains(&fingerprint) && ran.out.contains("wrote the private key to new_key"), "{ran}");
    let shown = site.ok(&["whereis", &fingerprint]);
    assert!(shown.out.contains("acme/ci-2") && shown.out.contains("acme/*"), "{shown}");
    // To standard output, and nothing else there.
    let ran = site.ok(&["key", "rotate", "acme/ci-2", "--generate"]);
    PrivateKey::from_openssh(&ran.out).unwrap();
    assert!(ran.err.contains("takes the place of acme/ci-2"), "{ran}");
    // A failure makes no file and prints no key.
    let failed = site.run(&["key", "rotate", "acme/ci-2", "--generate", "--out", "third"]);
    assert!(failed.code == 4 && failed.out.is_empty() && !site.path("third").exists(), "{failed}");
    assert_eq!(site.run(&["key", "rotate", "acme/ci-3", "--generate", "--key", "b.pub"]).code, 2);
    assert_eq!(site.run(&["key", "rotate", "acme/ci-3"]).code, 2);
    // When nobody gets it, the old key goes on, and what to do is said.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = site.command(&["key", "rotate", "acme/ci-3", "--generate"]).stdout(Stdio::from(full)).output().unwrap();
    assert_eq!(ran.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("is useless"));
}

#[test]
fn for_scripts_the_new_key_is_in_the_object() {
    let site = Site::with_acme();
    let json = |ran: crate::support::Ran| serde_json::from_str::<serde_json::Value>(&ran.out).unwrap();
    let made = json(site.ok(&["key", "generate", "acme", "ci", "--json"]));
    let key = PrivateKey::from_openssh(made["private_key"].as_str().unwrap()).unwrap();
    assert_eq!(made["public_key"], key.public_key().to_openssh().unwrap());
    assert_eq!(made["changed"], true);
    let made = json(site.ok(&["key", "rotate", "acme/ci", "--generate", "--out", "new", "--json"]));
    assert_eq!((&made["private_key"], &made["private_key_file"]), (&serde_json::Value::Null, &"new".into()));
    assert!(site.path("new").exists());
}

#[test]
fn the_public_half_lies_beside_the_private_one() {
    let site = Site::with_acme();
    site.ok(&["key", "generate", "acme", "ci", "--out", "ci.key"]);
    let public = std::fs::read_to_string(site.path("ci.key.pub")).unwrap();
    let private = PrivateKey::from_openssh(std::fs::read_to_string(site.path("ci.key")).unwrap()).unwrap();
    assert_eq!(public, format!("{}\n", private.public_key().to_openssh().unwrap()));
    assert!(site.ok(&["whereis", "ci.key.pub"]).out.contains("acme/ci"));
    // Neither is written over, and neither is left when the key is not registered.
    std::fs::remove_file(site.path("ci.key")).unwrap();
    let again = site.run(&["key", "generate", "acme", "other", "--out", "ci.key"]);
    assert!(again.code == 4 && again.err.contains("ci.key.pub cannot be made"), "{again}");
    assert!(!site.path("ci.key").exists() && std::fs::read_to_string(site.path("ci.key.pub")).unwrap() == public);
    assert_eq!(site.run(&["key", "generate", "acme", "ci", "--out", "x"]).code, 4);
    assert!(!site.path("x").exists() && !site.path("x.pub").exists());
    let told = site.ok(&["key", "rotate", "acme/ci", "--generate", "--out", "new", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((&told["private_key_file"], &told["public_key_file"]), (&"new".into(), &"new.pub".into()));
    assert!(site.path("new.pub").exists());
}

#[test]
fn a_secret_does_not_go_where_others_can_read_it() {
    use std::os::unix::fs::OpenOptionsExt as _;
    let site = Site::with_acme();
    let to = |name: &str, mode: u32| {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(site.path(name)).unwrap();
        let ran = site.command(&["key", "generate", "acme", "ci"]).stdout(Stdio::from(file)).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap(), std::fs::read_to_string(site.path(name)).unwrap())
    };
    let (code, err, file) = to("open", 0o644);
    assert!(code == Some(2) && file.is_empty() && err.contains("hint: name the file with --out FILE"), "{err}");
    assert_eq!(site.run(&["key", "show", "acme/ci"]).code, 3, "nothing was registered");
    let (code, err, file) = to("closed", 0o600);
    assert!(code == Some(0) && PrivateKey::from_openssh(file).is_ok(), "{err}");
}
