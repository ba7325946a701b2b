//! What a build does: clone, fetch, poll, in every protocol version.

use crate::harness::{Gateway, can_init, plain_git, run};

#[test]
fn a_granted_key_clones_in_every_protocol_version() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    for version in ["0", "1", "2"] {
        let config = format!("protocol.version={version}");
        let url = gateway.url("acme/app.git");
        for (name, more) in [("full", &[][..]), ("shallow", &["--depth=1"]), ("blobless", &["--filter=blob:none"])] {
            if name == "blobless" && version != "2" {
                continue;
            }
            let target = format!("{name}{version}");
            let mut args = vec!["-c", &config, "clone", "-q"];
            args.extend(more);
            args.extend([url.as_str(), &target]);
            gateway.git(&key, &args).ok();
            run(plain_git(&gateway.path(&target)).args(["fsck", "--strict"])).ok();
        }
        let refs = gateway.git(&key, &["-c", &config, "ls-remote", &url]).ok();
        assert_eq!(refs, gateway.refs(&bare), "protocol {version}");
        assert!(gateway.audit().contains(&format!("\"protocol\":{version},\"outcome\":\"served\"")));
    }
    assert!(!gateway.path("PWNED").exists() && !bare.join("PWNED").exists(), "the daemon's environment reached git");
}

#[test]
fn every_form_of_url_is_understood() {
    let gateway = Gateway::start();
    gateway.repo("acme/backend/app");
    let key = gateway.key("ci", &["acme/**"]);
    let port = gateway.port();
    for path in ["acme/backend/app.git", "acme/backend/app", "/acme/backend/app.git", "acme/backend/app.git/"] {
        gateway.git(&key, &["ls-remote", &format!("ssh://git@localhost:{port}/{path}")]).ok();
    }
    let scp = format!("GIT_SSH_COMMAND={} -p {port}", gateway.ssh_line(&key));
    let (name, value) = scp.split_once('=').unwrap();
    for path in ["acme/backend/app.git", "/acme/backend/app"] {
        run(plain_git(&gateway.path("")).env(name, value).args(["ls-remote", &format!("anyone@localhost:{path}")]))
            .ok();
    }
}

#[test]
fn a_fetch_brings_what_is_new() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "work"]).ok();
    gateway.commit(&bare, "new", "fresh\n");
    gateway.git(&key, &["-C", "work", "pull", "-q"]).ok();
    assert_eq!(std::fs::read_to_string(gateway.path("work/new")).unwrap(), "fresh\n");
    for version in ["0", "2"] {
        gateway.commit(&bare, &format!("more{version}"), "x\n");
        let config = format!("protocol.version={version}");
        gateway.git(&key, &["-C", "work", "-c", &config, "pull", "-q"]).ok();
        assert!(gateway.path(&format!("work/more{version}")).exists());
    }
}

#[test]
fn a_large_clone_arrives_whole() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/large");
    // Random, so that nothing is saved by compression: 12 MB through windows, pieces and pipes.
    let mut noise = vec![0u8; 12 << 20];
    getrandom::fill(&mut noise).unwrap();
    let work = gateway.path("noise");
    run(plain_git(&gateway.path("")).args(["clone", "-q", bare.to_str().unwrap(), "noise"])).ok();
    std::fs::write(work.join("noise"), &noise).unwrap();
    for args in [&["add", "."][..], &["commit", "-q", "-m", "noise"], &["push", "-q"]] {
        run(plain_git(&work).args(args)).ok();
    }
    let key = gateway.key("ci", &["acme/large"]);
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/large"), "copy"]).ok();
    assert!(std::fs::read(gateway.path("copy/noise")).unwrap() == noise);
    run(plain_git(&gateway.path("copy")).args(["fsck", "--strict"])).ok();
}

#[test]
fn submodules_come_with_the_same_key() {
    let gateway = Gateway::start();
    let app = gateway.repo("acme/app");
    gateway.repo("acme/lib");
    let key = gateway.key("ci", &["acme/app", "acme/lib"]);
    let work = gateway.path("edit");
    run(plain_git(&gateway.path("")).args(["clone", "-q", app.to_str().unwrap(), "edit"])).ok();
    // A relative URL, which resolves to the gateway when the parent came from there.
    std::fs::write(work.join(".gitmodules"), "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n").unwrap();
    let tip = gateway.refs(&gateway.path("repositories/acme/lib.git"));
    let tip = tip.split_whitespace().next().unwrap();
    for args in [
        &["add", ".gitmodules"][..],
        &["update-index", "--add", "--cacheinfo", &format!("160000,{tip},lib")],
        &["commit", "-q", "-m", "Use lib"],
        &["push", "-q"],
    ] {
        run(plain_git(&work).args(args)).ok();
    }
    let url = gateway.url("acme/app.git");
    gateway.git(&key, &["clone", "-q", "--recurse-submodules", "--shallow-submodules", &url, "whole"]).ok();
    assert!(gateway.path("whole/lib/file3").exists());
}

#[test]
fn an_object_by_its_name_is_served_to_every_protocol() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let second = run(plain_git(&bare).args(["rev-parse", "main~1"])).ok();
    for version in ["0", "2"] {
        let dir = format!("pinned{version}");
        run(plain_git(&gateway.path("")).args(["init", "-q", &dir])).ok();
        let config = format!("protocol.version={version}");
        let url = gateway.url("acme/app");
        gateway.git(&key, &["-C", &dir, "-c", &config, "fetch", "-q", "--depth=1", &url, second.trim()]).ok();
    }
}

/// Objects that no ref leads to any more: old protocols give what protocol 2 gives by git's design, and neither gives more
/// than the one repository.
#[test]
fn a_name_opens_as_much_in_every_protocol_and_nothing_of_another_repository() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let other = gateway.repo("acme/other");
    gateway.commit(&other, "alone", "only there\n");
    let key = gateway.key("ci", &["acme/app"]);
    let name = |bare: &std::path::Path| run(plain_git(bare).args(["rev-parse", "main"])).ok().trim().to_owned();
    gateway.commit(&bare, "gone", "no ref leads here\n");
    let (gone, foreign) = (name(&bare), name(&other));
    run(plain_git(&bare).args(["update-ref", "refs/heads/main", "main~1"])).ok();
    for version in ["0", "1", "2"] {
        let dir = format!("named{version}");
        run(plain_git(&gateway.path("")).args(["init", "-q", &dir])).ok();
        let (config, url) = (format!("protocol.version={version}"), gateway.url("acme/app"));
        let fetch = |object: &str| gateway.git(&key, &["-C", &dir, "-c", &config, "fetch", "-q", &url, object]);
        fetch(&gone).ok();
        let said = fetch(&foreign).failed();
        assert!(said.contains("not our ref"), "version {version}: {said}");
    }
}

#[test]
fn what_libgit2_cannot_read_is_served_all_the_same() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &["acme/*"]);
    for (name, init) in [("acme/sha256", "--object-format=sha256"), ("acme/reftable", "--ref-format=reftable")] {
        // An older git has no reftable; then there is nothing to serve either.
        if !can_init(&[init]) {
            continue;
        }
        let bare = gateway.repo_with(name, &[init]);
        assert_eq!(gateway.git(&key, &["ls-remote", &gateway.url(name)]).ok(), gateway.refs(&bare));
        gateway.git(&key, &["clone", "-q", &gateway.url(name), &name.replace('/', "-")]).ok();
    }
}

#[test]
fn an_empty_repository_is_a_repository() {
    let gateway = Gateway::start();
    let bare = gateway.path("repositories/acme/empty.git");
    run(plain_git(&gateway.path("")).args(["init", "-q", "--bare", "-b", "trunk"]).arg(&bare)).ok();
    let key = gateway.key("ci", &["acme/empty"]);
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/empty"), "empty"]).ok();
    let head = run(plain_git(&gateway.path("empty")).args(["symbolic-ref", "HEAD"])).ok();
    assert_eq!(head.trim(), "refs/heads/trunk");
}

/// Foreign-owned repositories are served, and git's own complaint, which names the place, is never heard.
#[test]
fn a_repository_of_another_user_is_served() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can give a folder away");
        return;
    }
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let nobody = 65534;
    std::os::unix::fs::chown(&bare, Some(nobody), Some(nobody)).unwrap();
    let refused = gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).failed();
    assert!(refused.contains("[repository]") && !refused.contains(bare.to_str().unwrap()), "{refused}");
    // The owner of the store's root is trusted with what is in it.
    std::os::unix::fs::chown(gateway.path("repositories"), Some(nobody), Some(nobody)).unwrap();
    let mut gateway = gateway;
    gateway.stop();
    gateway.resume();
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
}
