//! Every "no", word for word, as git and ssh show it.

use crate::harness::{Gateway, plain_git, run};

/// What git prints, without the id that differs each time.
fn words(text: &str) -> String {
    let text = text.trim_end();
    let start = text.find(" (id ").unwrap_or_else(|| panic!("no id in {text:?}"));
    let end = start + text[start..].find(')').unwrap() + 1;
    assert_eq!(end - start, " (id 0123456789)".len(), "{text}");
    format!("{}{}", &text[..start], &text[end..])
}

fn fingerprint(gateway: &Gateway, name: &str) -> String {
    let line = run(std::process::Command::new("ssh-keygen").arg("-lf").arg(gateway.path(&format!("{name}.pub")))).ok();
    line.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_push_is_refused_in_one_clean_line() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "work"]).ok();
    run(plain_git(&gateway.path("work")).args(["commit", "-q", "--allow-empty", "-m", "mine"])).ok();
    for version in ["0", "1", "2"] {
        let config = format!("protocol.version={version}");
        let said = gateway.git(&key, &["-C", "work", "-c", &config, "push"]).failed();
        assert_eq!(
            words(&said),
            "fatal: remote error: this gateway is read-only: git push to acme/app is not possible here [read-only]"
        );
    }
    // Whatever the path: nothing is looked up for a push.
    let said = gateway.git(&key, &["-C", "work", "push", &gateway.url("nobody/none"), "main"]).failed();
    assert!(said.contains("git push to nobody/none is not possible here [read-only]"), "{said}");
}

#[test]
fn what_is_not_granted_is_not_found() {
    let gateway = Gateway::start();
    for name in ["acme/app", "acme/other", "foreign/app"] {
        gateway.repo(name);
    }
    let key = gateway.key("ci", &["acme/app", "acme/gone"]);
    let print = fingerprint(&gateway, "ci");
    for repo in ["acme/other", "foreign/app", "acme/gone", "nobody/none"] {
        for version in ["0", "1", "2"] {
            let config = format!("protocol.version={version}");
            let said = gateway.git(&key, &["-c", &config, "ls-remote", &gateway.url(repo)]).failed();
            assert_eq!(
                words(&said),
                format!(
                    "fatal: remote error: {repo}: repository not found, or not granted to key acme/ci ({print}) [not-granted]"
                )
            );
        }
    }
}

#[test]
fn an_unknown_key_is_refused_at_authentication() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let stranger = gateway.keygen("stranger", &["ed25519"]);
    let said = gateway.git(&stranger, &["ls-remote", &gateway.url("acme/app")]).failed();
    assert!(said.contains("Permission denied (publickey)"), "{said}");
    crate::harness::wait_until("the record", || gateway.audit().contains("\"event\":\"login-refused\""));
    // It is refused when it is offered, before anybody has the work of a signature.
    let offered = gateway.ssh(&stranger, &["-v"], &[]).failed();
    assert!(offered.contains("Offering public key") && !offered.contains("Server accepts key"), "{offered}");
}

#[test]
fn an_expired_key_is_told_so() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.keygen("old", &["ed25519"]);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let public = key.with_extension("pub");
    let (public, soon_text) = (public.to_str().unwrap(), soon.to_string());
    gateway
        .pullgate(["key", "add", "acme", "old", "--key", public, "--grant", "acme/app", "--expires", &soon_text])
        .ok();
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
    crate::harness::wait_until("the expiry", || jiff::Timestamp::now() > soon);
    let said = gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).failed();
    assert_eq!(
        words(&said),
        format!(
            "fatal: remote error: key acme/old ({}) expired on {}; ask an administrator of acme to extend or rotate it [expired]",
            fingerprint(&gateway, "old"),
            soon.strftime("%Y-%m-%d")
        )
    );
    // The record names what was asked for, though nothing of it was looked at.
    crate::harness::wait_until("the record", || gateway.audit().contains("\"code\":\"expired\""));
    let found = gateway.pullgate(["audit", "--repo", "acme/app", "--code", "expired"]).ok();
    assert!(found.contains("acme/app [expired]"), "{found}");
    let greeted = gateway.ssh(&key, &["-T"], &[]);
    assert!(greeted.err.contains("[expired]") && greeted.code == Some(128), "{greeted:?}");
}

#[test]
fn a_key_from_the_wrong_address_is_told_so() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.keygen("far", &["ed25519"]);
    let public = key.with_extension("pub");
    let args = ["key", "add", "acme", "far", "--grant", "acme/app", "--from", "192.0.2.0/24", "--key"];
    gateway.pullgate(args.into_iter().chain([public.to_str().unwrap()])).ok();
    let said = gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).failed();
    assert!(said.contains("may not be used from 127.0.0.1") || said.contains("may not be used from ::1"), "{said}");
    assert!(said.contains("[source-address]"), "{said}");
}

#[test]
fn hostile_paths_open_nothing() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    std::os::unix::fs::symlink(gateway.path("repositories/acme/app.git"), gateway.path("repositories/acme/link.git"))
        .unwrap();
    let key = gateway.key("ci", &["acme/*"]);
    for path in [
        "../acme/app.git",
        "acme/../acme/app.git",
        "acme/app.git/hooks",
        "--help",
        "-x",
        "--upload-pack=touch PWNED",
        "/etc",
        "acme/..%2fapp",
        "acme/app\\",
        "~root/app",
    ] {
        let said = gateway.ssh(&key, &[], &[&format!("git-upload-pack '{path}'")]);
        assert_eq!(said.code, Some(128), "{path}: {said:?}");
        assert!(said.out.contains("ERR ") && said.out.contains("[bad-path]"), "{path}: {said:?}");
    }
    let said = gateway.ssh(&key, &[], &["git-upload-pack 'acme/link.git'"]);
    assert!(said.out.contains("[repository]"), "{said:?}");
    let base = gateway.path("");
    assert!(!said.out.contains(base.to_str().unwrap()) && !said.err.contains(base.to_str().unwrap()));
    assert!(gateway.audit().contains("there is a symbolic link on the way to it"));
}

#[test]
fn a_broken_repository_is_refused_without_its_place() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    std::fs::write(bare.join("config"), "[core\nbroken").unwrap();
    let said = gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).failed();
    assert!(said.contains("fatal: remote error: acme/app: the repository cannot be served as it is"), "{said}");
    assert!(!said.contains(gateway.path("").to_str().unwrap()), "{said}");
    crate::harness::wait_until("git's complaint in the log", || gateway.log().contains("git complained"));
}

#[test]
fn other_services_are_refused_in_words() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let archive = gateway.git(&key, &["archive", &format!("--remote={}", gateway.url("acme/app")), "HEAD"]).failed();
    assert!(words(&archive).contains("fatal: remote error: git archive: not served here"), "{archive}");
    crate::harness::wait_until("the record", || gateway.audit().contains("git archive"));
    let found = gateway.pullgate(["audit", "--repo", "acme/app", "--code", "not-served"]).ok();
    assert!(found.contains("git archive of acme/app [not-served]"), "{found}");
    for verb in ["git-lfs-authenticate acme/app.git download", "git-lfs-transfer /acme/app.git download"] {
        let said = gateway.ssh(&key, &[], &[verb]);
        let name = verb.split(' ').next().unwrap();
        assert_eq!(
            (said.code, said.out.as_str(), said.err.as_str()),
            (Some(127), "", &*format!("{name}: not found\n"))
        );
    }
    for command in
        ["rm -rf /", "sh", "scp -t /tmp", "git-shell", "pullgate key list", "git-upload-pack 'a' ; id", "`id`"]
    {
        let said = gateway.ssh(&key, &[], &[command]);
        assert_eq!((said.code, said.out.as_str()), (Some(128), ""), "{command}");
        assert!(said.err.contains("[not-served]"), "{command}: {said:?}");
    }
}

/// git dies of it, and tells a client over SSH nothing that is of use.
#[test]
fn bounds_without_anything_in_them_are_told_as_such() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let url = gateway.url("acme/app");
    for version in ["protocol.version=0", "protocol.version=2"] {
        for bounds in ["--shallow-since=2099-01-01", "--shallow-exclude=none"] {
            let said = gateway.git(&key, &["-c", version, "clone", bounds, &url, "copy"]).failed();
            let words =
                "no commit is as new as --shallow-since asks for, or no ref is called as --shallow-exclude says";
            assert!(said.contains(words) && said.contains("[repository]"), "{version} {bounds}: {said}");
        }
    }
    // What is broken is told as before to who sets no bounds.
    let pack = std::fs::read_dir(bare.join("objects")).unwrap().map(|entry| entry.unwrap().path());
    pack.filter(|path| path.file_name().unwrap().len() == 2).for_each(|path| std::fs::remove_dir_all(path).unwrap());
    for version in ["protocol.version=0", "protocol.version=2"] {
        let said = gateway.git(&key, &["-c", version, "clone", &url, "copy"]).failed();
        assert!(said.contains("[repository]") && !said.contains("--shallow"), "{version}: {said}");
    }
}
