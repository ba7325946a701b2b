//! What each CI tool sends for a checkout, in its order, with real git: one test for each tool. The pages in `docs/ci` are
//! run by `ci_pages`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Gateway, Said, plain_git, run};
use crate::ssh_agent::Agent;

/// A gateway with `acme/app`, which has the submodule `../lib.git`, and a key for both.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    key: PathBuf,
    pub(crate) tip: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        let gateway = Gateway::start();
        let (app, lib) = (gateway.repo("acme/app"), gateway.repo("acme/lib"));
        let key = gateway.key("ci", &["acme/*"]);
        let edit = gateway.path("edit");
        run(plain_git(&gateway.path("")).args(["clone", "-q", app.to_str().unwrap(), "edit"])).ok();
        std::fs::write(edit.join(".gitmodules"), "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n").unwrap();
        let tip = run(plain_git(&lib).args(["rev-parse", "main"])).ok();
        let entry = format!("160000,{},lib", tip.trim());
        for args in [
            &["add", ".gitmodules"][..],
            &["update-index", "--add", "--cacheinfo", &entry],
            &["commit", "-q", "-m", "Use lib"],
            &["push", "-q"],
        ] {
            run(plain_git(&edit).args(args)).ok();
        }
        let tip = run(plain_git(&app).args(["rev-parse", "main"])).ok().trim().to_owned();
        Self { gateway, key, tip }
    }

    fn url(&self) -> String {
        self.gateway.url("acme/app.git")
    }

    fn known_hosts(&self) -> String {
        self.gateway.path("known_hosts").display().to_string()
    }
}

/// A build in a folder of its own: commands, with what the tool sets in their environment.
struct Build<'a> {
    dir: PathBuf,
    env: Vec<(&'a str, String)>,
}

impl<'a> Build<'a> {
    fn new(site: &Site, name: &str, env: Vec<(&'a str, String)>) -> Self {
        let dir = site.gateway.path(name);
        std::fs::create_dir(&dir).unwrap();
        Self { dir, env }
    }

    #[track_caller]
    fn try_git(&self, args: &[&str]) -> Said {
        run(plain_git(&self.dir).envs(self.env.iter().map(|(name, value)| (*name, value))).args(args))
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        self.try_git(args).ok()
    }

    #[track_caller]
    fn is_checked_out(&self, site: &Site) {
        assert_eq!(self.git(&["rev-parse", "HEAD"]).trim(), site.tip);
        assert!(self.dir.join("file3").exists());
    }

    #[track_caller]
    fn has_submodule(&self) {
        assert!(self.dir.join("lib/file3").exists());
    }
}

/// Jenkins' script for `GIT_SSH`: the user name by `-l`, and no `IdentitiesOnly`.
fn jenkins_env(site: &Site, name: &str, host_key: &str, agent: Option<&Agent>) -> Vec<(&'static str, String)> {
    let script = site.gateway.path(name);
    let text = format!(
        "#!/bin/sh\nexec ssh -F none -i \"$JENKINS_GIT_SSH_KEYFILE\" -l \"$JENKINS_GIT_SSH_USERNAME\" {host_key} \"$@\"\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    vec![
        ("GIT_SSH", script.display().to_string()),
        ("GIT_SSH_VARIANT", "ssh".to_owned()),
        ("SSH_ASKPASS", "/bin/false".to_owned()),
        ("DISPLAY", ":".to_owned()),
        ("JENKINS_GIT_SSH_KEYFILE", site.key.display().to_string()),
        ("JENKINS_GIT_SSH_USERNAME", "jenkins".to_owned()),
        ("SSH_AUTH_SOCK", agent.map_or_else(String::new, |agent| agent.socket.clone())),
    ]
}

#[test]
fn jenkins() {
    let site = Site::new();
    let manual = format!("-o StrictHostKeyChecking=yes -o UserKnownHostsFile={}", site.known_hosts());
    let build = Build::new(&site, "jenkins", jenkins_env(&site, "git-ssh", &manual, None));
    let url = site.url();
    // Polling, on the controller.
    assert!(build.git(&["ls-remote", "-h", &url]).contains("refs/heads/stable"));
    assert!(build.git(&["ls-remote", "-h", &url, "main"]).starts_with(&site.tip));
    assert!(build.git(&["ls-remote", "-h", "--", &url, "refs/heads/main"]).starts_with(&site.tip));
    assert!(build.git(&["ls-remote", "--symref", &url, "HEAD"]).contains("ref: refs/heads/main\tHEAD"));
    assert!(build.git(&["ls-remote", "-t", &url]).contains("refs/tags/v1"));
    // The checkout: first the wide refspec, then the narrow one.
    build.git(&["init"]);
    let wide = "+refs/heads/*:refs/remotes/origin/*";
    build.git(&["fetch", "--tags", "--force", "--progress", "--prune", "--", &url, wide]);
    build.git(&["config", "remote.origin.url", &url]);
    build.git(&["config", "--add", "remote.origin.fetch", wide]);
    let narrow = "+refs/heads/main:refs/remotes/origin/main";
    build.git(&["fetch", "--tags", "--force", "--progress", "--", &url, narrow]);
    let commit = build.git(&["rev-parse", "origin/main^{commit}"]);
    build.git(&["checkout", "-f", commit.trim()]);
    build.is_checked_out(&site);
    // Submodules by relative URL, with the same credential.
    build.git(&["submodule", "init"]);
    build.git(&["submodule", "sync"]);
    build.git(&["submodule", "update", "--init", "--recursive"]);
    build.has_submodule();
    // A shallow checkout, as the "shallow clone" box makes it.
    let shallow = Build::new(&site, "jenkins-shallow", jenkins_env(&site, "git-ssh", &manual, None));
    shallow.git(&["init"]);
    shallow.git(&["fetch", "--no-tags", "--force", "--progress", "--depth=1", "--", &url, narrow]);
    shallow.git(&["config", "remote.origin.url", &url]);
    shallow.git(&["checkout", "-f", "refs/remotes/origin/main"]);
    shallow.git(&["submodule", "update", "--init", "--recursive", "--depth=1"]);
    shallow.is_checked_out(&site);
    shallow.has_submodule();
    // "Tag builds": a push, which is refused in one line.
    build.git(&["tag", "-a", "-f", "-m", "Jenkins Build #1", "jenkins-app-1"]);
    let pushed = build.try_git(&["push", &url, "jenkins-app-1"]).failed();
    assert!(pushed.starts_with("fatal: remote error: this gateway is read-only: git push"), "{pushed}");
}

/// What git-lfs shows of the gateway's answer.
pub(crate) const LFS_IS_TOLD: &str = "batch request: git-lfs-authenticate: not found: exit status 127";

/// "Git LFS pull after checkout": the checkout is good, with a pointer; the pull after it fails with a sentence, and with it
/// the build.
#[test]
fn jenkins_with_large_files() {
    if run(plain_git(Path::new("/")).args(["lfs", "version"])).code != Some(0) {
        let required = std::env::var_os("PULLGATE_INTEROP").is_some_and(|value| value == "require");
        assert!(!required, "git-lfs is not installed");
        eprintln!("git-lfs is not installed: not tested");
        return;
    }
    let site = Site::new();
    let bare = site.gateway.path("repositories/acme/app.git");
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n", "ab".repeat(32));
    site.gateway.commit(&bare, "big.bin", &pointer);
    site.gateway.commit(&bare, ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let manual = format!("-o StrictHostKeyChecking=yes -o UserKnownHostsFile={}", site.known_hosts());
    let mut env = jenkins_env(&site, "git-ssh", &manual, None);
    env.push(("GIT_LFS_SKIP_SMUDGE", "1".to_owned()));
    let build = Build::new(&site, "jenkins", env);
    build.git(&["init"]);
    // A distribution's git-lfs does this for everybody, where the tests do not look.
    build.git(&["lfs", "install", "--local"]);
    let narrow = "+refs/heads/main:refs/remotes/origin/main";
    build.git(&["fetch", "--no-tags", "--force", "--progress", "--", &site.url(), narrow]);
    build.git(&["config", "remote.origin.url", &site.url()]);
    build.git(&["checkout", "-f", "refs/remotes/origin/main"]);
    let tip = run(plain_git(&bare).args(["rev-parse", "main"])).ok();
    let is_good = || {
        assert_eq!(build.git(&["rev-parse", "HEAD"]), tip);
        assert_eq!(std::fs::read_to_string(build.dir.join("big.bin")).unwrap(), pointer);
        assert_eq!(build.git(&["status", "--porcelain"]), "");
    };
    is_good();
    let pulled = build.try_git(&["lfs", "pull", "origin"]).failed();
    assert!(pulled.lines().any(|line| line == LFS_IS_TOLD), "{pulled}");
    is_good();
}

/// The four strategies of the Git client plugin.
#[test]
fn jenkins_host_key_strategies() {
    let site = Site::new();
    let (empty, known) = (site.gateway.path("empty").display().to_string(), site.known_hosts());
    for (name, options, strict) in [
        ("file", format!("-o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}"), true),
        ("first", format!("-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={empty}"), false),
        ("none", "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null".to_owned(), false),
    ] {
        let build = Build::new(&site, &format!("build-{name}"), jenkins_env(&site, name, &options, None));
        let said = build.try_git(&["ls-remote", "-h", &site.url()]);
        assert_eq!(
            (said.code, said.err.contains("Warning: Permanently added")),
            (Some(0), !strict),
            "{name}: {said:?}"
        );
    }
    // What "accept first connection" kept is one of our keys.
    let kept = std::fs::read_to_string(&empty).unwrap();
    assert!(kept.lines().all(|line| std::fs::read_to_string(&known).unwrap().contains(line)), "{kept}");
    let nobody = format!("-o StrictHostKeyChecking=yes -o UserKnownHostsFile={}", "/dev/null");
    let build = Build::new(&site, "build-unknown", jenkins_env(&site, "unknown", &nobody, None));
    assert!(build.try_git(&["ls-remote", "-h", &site.url()]).failed().contains("Host key verification failed"));
}

/// An agent with twelve keys of other systems, all offered before the right one: it works, and costs next to nothing.
#[test]
fn jenkins_with_twelve_wrong_keys_first() {
    let site = Site::new();
    let manual = format!("-o StrictHostKeyChecking=yes -o UserKnownHostsFile={}", site.known_hosts());
    let agent = Agent::start(&site.gateway);
    for n in 0..12 {
        agent.add(&site.gateway.keygen(&format!("stray{n}"), &["ed25519"]));
    }
    let time = |name: &str, agent: Option<&Agent>| -> Duration {
        let build = Build::new(&site, &format!("build-{name}"), jenkins_env(&site, name, &manual, agent));
        let mut times: Vec<Duration> = (0..3)
            .map(|_| {
                let start = Instant::now();
                assert!(build.git(&["ls-remote", "-h", &site.url()]).starts_with(&site.tip));
                start.elapsed()
            })
            .collect();
        times.sort();
        times[1]
    };
    // Each of them is really offered, and before the right one.
    let chatty = jenkins_env(&site, "chatty", &format!("{manual} -v"), Some(&agent));
    let said = Build::new(&site, "build-chatty", chatty).try_git(&["ls-remote", "-h", &site.url()]);
    let before = said.err.split_once("Server accepts key").unwrap_or_else(|| panic!("{said:?}")).0;
    let offered: Vec<_> = before.lines().filter(|line| line.contains("Offering public key")).collect();
    assert_eq!(offered.len(), 13, "{offered:#?}");
    assert!(offered[..12].iter().all(|line| line.contains(" agent")), "{offered:#?}");
    assert!(!offered[12].contains(" agent"), "{offered:#?}");
    let (alone, behind) = (time("alone", None), time("behind", Some(&agent)));
    let line = format!("one poll: {alone:.0?} with the right key alone, {behind:.0?} behind twelve wrong ones\n");
    // Not by a macro, whose words a test that passes would keep to itself.
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    // The library's own way would be a second for each.
    assert!(behind < alone + Duration::from_secs(3), "{alone:?} {behind:?}");
}

/// A native git with a key in a PEM file, which is all that its built-in JGit can read too.
#[test]
fn bamboo() {
    let site = Site::new();
    let key = site.gateway.keygen("bamboo", &["ecdsa", "-b", "256", "-m", "PEM"]);
    let public = key.with_extension("pub");
    let args = ["key", "add", "acme", "bamboo", "--grant", "acme/*", "--key", public.to_str().unwrap()];
    site.gateway.pullgate(args).ok();
    assert!(std::fs::read_to_string(&key).unwrap().contains("BEGIN EC PRIVATE KEY"));
    let ssh = site.gateway.ssh_line(&key);
    let build = Build::new(&site, "bamboo-build", vec![("GIT_SSH_COMMAND", ssh)]);
    let url = site.url();
    assert!(build.git(&["ls-remote", &url]).contains("refs/heads/main"));
    build.git(&["init"]);
    build.git(&["fetch", &url, "+refs/heads/main:refs/heads/main", "--update-head-ok", "--depth=1"]);
    build.git(&["checkout", "-f", "main"]);
    build.git(&["submodule", "sync", "--recursive"]);
    build.git(&["-c", &format!("remote.origin.url={url}"), "submodule", "update", "--init", "--recursive"]);
    build.is_checked_out(&site);
    build.has_submodule();
}

#[test]
fn argo_cd() {
    let site = Site::new();
    let ssh = format!(
        "ssh -F none -i {} -o StrictHostKeyChecking=yes -o UserKnownHostsFile={}",
        site.key.display(),
        site.known_hosts()
    );
    let build = Build::new(&site, "argo", vec![("GIT_SSH_COMMAND", ssh), ("SSH_AUTH_SOCK", String::new())]);
    assert!(build.git(&["ls-remote", &site.url(), "HEAD"]).starts_with(&site.tip));
    build.git(&["init", "-q"]);
    build.git(&["remote", "add", "origin", &site.url()]);
    build.git(&["fetch", "origin", "--tags", "--force", "--prune"]);
    build.git(&["fetch", "origin", &site.tip, "--tags", "--force", "--prune"]);
    build.git(&["checkout", "--force", &site.tip]);
    build.git(&["submodule", "update", "--init", "--recursive"]);
    build.git(&["clean", "-ffdx"]);
    build.is_checked_out(&site);
    build.has_submodule();
}

/// Its library speaks version 0, asks for one branch, and makes a new connection for each operation.
#[test]
fn flux() {
    let site = Site::new();
    let build = Build::new(&site, "flux", vec![("GIT_SSH_COMMAND", site.gateway.ssh_line(&site.key))]);
    for interval in 0..3 {
        let copy = format!("artifact{interval}");
        assert!(
            build.git(&["-c", "protocol.version=0", "ls-remote", &site.url(), "refs/heads/main"]).contains(&site.tip)
        );
        let clone =
            ["-c", "protocol.version=0", "clone", "-q", "--depth=1", "--single-branch", "--no-tags", "-b", "main"];
        build.git(&[&clone[..], &[&site.url(), &copy]].concat());
        assert_eq!(build.git(&["-C", &copy, "rev-parse", "HEAD"]).trim(), site.tip);
    }
}

#[test]
fn gitlab_runner() {
    let site = Site::new();
    // before_script: an agent with the one key, and known_hosts from a variable.
    let agent = Agent::start(&site.gateway);
    agent.add(&site.key);
    let ssh = format!("ssh -F none -o StrictHostKeyChecking=yes -o UserKnownHostsFile={}", site.known_hosts());
    let build = Build::new(&site, "runner", vec![("GIT_SSH_COMMAND", ssh), ("SSH_AUTH_SOCK", agent.socket.clone())]);
    build.git(&["init", "."]);
    build.git(&["remote", "add", "origin", &site.url()]);
    let pipeline = format!("+{}:refs/pipelines/1", site.tip);
    let branch = "+refs/heads/main:refs/remotes/origin/main";
    let fetch = ["fetch", "origin", "--no-recurse-submodules", "--refmap", "", "--depth", "20", "--prune", "--quiet"];
    build.git(&[&fetch[..], &[&pipeline, branch]].concat());
    build.git(&["checkout", "-f", "-q", &site.tip]);
    build.git(&["clean", "-ffdx"]);
    build.git(&["submodule", "sync", "--recursive"]);
    build.git(&["submodule", "update", "--init", "--recursive", "--depth", "20", "--force"]);
    build.is_checked_out(&site);
    build.has_submodule();
}

#[test]
fn buildkite() {
    let site = Site::new();
    // It asks the host itself for its keys before the first checkout.
    let port = site.gateway.port().to_string();
    let scanned =
        run(Command::new("ssh-keyscan").args(["-T", "20", "-p", &port, "-t", "ed25519,ecdsa", "localhost"])).ok();
    let sorted = |text: &str| -> Vec<String> {
        let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&scanned), sorted(&std::fs::read_to_string(site.known_hosts()).unwrap()));
    let env = || vec![("GIT_SSH_COMMAND", site.gateway.ssh_line(&site.key))];
    let build = Build::new(&site, "buildkite", env());
    build.git(&["clone", "-v", "--", &site.url(), "."]);
    build.git(&["clean", "-ffxdq"]);
    build.git(&["fetch", "-v", "--prune", "--", "origin", "main"]);
    build.git(&["fetch", "-v", "--", "origin", &site.tip]);
    build.git(&["checkout", "-f", &site.tip]);
    build.git(&["submodule", "sync", "--recursive"]);
    build.git(&["submodule", "update", "--init", "--recursive", "--force"]);
    build.is_checked_out(&site);
    build.has_submodule();
    // With git mirrors: a mirror on the agent, and clones that refer to it.
    let mirror = Build::new(&site, "mirrors", env());
    mirror.git(&["clone", "--mirror", "-v", "--", &site.url(), "app"]);
    mirror.git(&["-C", "app", "fetch", "origin", "main"]);
    mirror.git(&["clone", "-v", "--reference", "app", "--", &site.url(), "work"]);
}

#[test]
fn shell_script() {
    let site = Site::new();
    // A host alias in a config file of ssh, and the short form of a URL.
    let config = site.gateway.path("ssh_config");
    let text = format!(
        "Host gateway\n  HostName localhost\n  Port {}\n  User git\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
         HostKeyAlias [localhost]:{0}\n  UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n",
        site.gateway.port(),
        site.key.display(),
        site.known_hosts()
    );
    std::fs::write(&config, text).unwrap();
    let build = Build::new(&site, "script", vec![("GIT_SSH_COMMAND", format!("ssh -F {}", config.display()))]);
    let args = ["clone", "-q", "--depth=1", "--recurse-submodules", "--shallow-submodules", "gateway:acme/app", "."];
    build.git(&args);
    build.is_checked_out(&site);
    build.has_submodule();
    build.git(&["pull", "-q", "--ff-only"]);
    let tags = build.git(&["ls-remote", "--tags", "--refs", "gateway:acme/app.git"]);
    assert!(tags.ends_with("refs/tags/v1\n"), "{tags}");
}
