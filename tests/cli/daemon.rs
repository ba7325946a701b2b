//! The same verbs while a daemon has the registry.

use std::sync::Arc;

use pullgate::admin::{Admin, chain};
use pullgate::audit::Audit;
use pullgate::daemon::config::Config;
use pullgate::front::control::listener::Listener;
use pullgate::registry;
use tokio::runtime::Runtime;
use tokio::sync::oneshot::{Sender, channel};
use tokio::task::JoinHandle;

use crate::support::Site;

/// What the daemon does about administration: the registry, and the control socket.
pub(crate) struct Daemon {
    runtime: Runtime,
    stop: Sender<()>,
    served: JoinHandle<()>,
}

impl Daemon {
    pub(crate) fn start(site: &Site) -> Self {
        let config = Config::load(&site.path("config.toml")).unwrap();
        let (lookup, amend) = registry::open(&config.registry_dir()).unwrap();
        let audit = Audit::open(&config.audit_file).unwrap();
        chain::begin(&audit, &config.audit_chain(), &config.registry_dir(), &lookup).unwrap();
        let admin = Admin::new(lookup, amend, audit);
        let runtime = Runtime::new().unwrap();
        let (stop, stopped) = channel();
        let listener = runtime.block_on(async { Listener::bind(config.control) }).unwrap();
        let served = runtime.spawn(Arc::new(listener).serve(admin, async { drop(stopped.await) }));
        Self { runtime, stop, served }
    }

    pub(crate) fn stop(self) {
        self.stop.send(()).unwrap();
        self.runtime.block_on(self.served).unwrap();
    }
}

#[test]
fn the_daemon_answers_as_the_registry_itself_does() {
    let site = Site::with_acme();
    let local = site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app"]);
    let listed = site.ok(&["key", "list", "--json"]);
    let daemon = Daemon::start(&site);
    assert_eq!(site.ok(&["key", "list", "--json"]).out, listed.out);
    site.ok(&["key", "remove", "acme/ci"]);
    assert_eq!(site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app"]).out, local.out);
    let conflict = site.run(&["key", "add", "acme", "other", "--key", "a.pub"]);
    assert!(conflict.code == 4 && conflict.err.contains("already registered as acme/ci"), "{conflict}");
    let check = site.ok(&["check"]);
    assert!(check.out.contains("a daemon answers at"), "{check}");
    daemon.stop();
    assert!(!site.path("state/control.sock").exists());
    assert!(site.ok(&["key", "list"]).out.contains("acme/ci"));
}

#[test]
fn many_keys_are_listed_across_pages() {
    let site = Site::with_acme();
    let daemon = Daemon::start(&site);
    let grants: Vec<String> = (0..200).map(|n| format!("acme/{}-{n}", "g".repeat(95))).collect();
    for n in 0..30 {
        let mut args = vec!["key", "generate", "acme"];
        let label = format!("k{n:02}");
        args.push(&label);
        grants.iter().for_each(|grant| args.extend(["--grant", grant]));
        site.ok(&args);
    }
    let listed: serde_json::Value = serde_json::from_str(&site.ok(&["key", "list", "acme", "--json"]).out).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 30);
    daemon.stop();
}

#[test]
fn a_registry_that_is_open_elsewhere_without_an_answer_is_told() {
    let site = Site::with_acme();
    let config = Config::load(&site.path("config.toml")).unwrap();
    let _held = registry::open(&config.registry_dir()).unwrap();
    let ran = site.run(&["account", "list"]);
    assert_eq!(ran.code, 6);
    assert!(ran.err.contains("another process has the registry open"), "{ran}");
    assert!(ran.err.contains("no daemon answers at the control socket") && ran.err.contains("--config"), "{ran}");
}

#[test]
fn commands_at_the_same_moment_wait_for_each_other() {
    let site = Site::with_acme();
    let all: Vec<_> = (0..4)
        .map(|n| {
            site.command(&["account", "add", &format!("n{n}")]).stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in all {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(site.ok(&["account", "list"]).out.lines().count(), 6);
}

/// Of a question it does not matter whether it was heard.
#[test]
fn a_daemon_that_does_not_answer_is_told_by_what_was_at_stake() {
    let site = Site::with_acme();
    let listener = std::os::unix::net::UnixListener::bind(site.path("state/control.sock")).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let asked = site.run(&["key", "list"]);
    assert!(asked.code == 6 && asked.err.contains("nothing was to be changed"), "{asked}");
    let changed = site.run(&["account", "add", "beta"]);
    assert!(changed.code == 6 && changed.err.contains("whether it was done is not known"), "{changed}");
}
