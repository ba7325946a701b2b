//! What `check` says of keys, grants and repositories, and that its remedies mend it.

use std::process::Command;

use crate::daemon::Daemon;
use crate::support::Site;

/// What `check` found, without what is well: severity, subject, fact, remedy.
fn found(site: &Site, code: i32) -> Vec<[String; 4]> {
    let ran = site.run(&["check", "--json"]);
    assert_eq!(ran.code, code, "{ran}");
    let all: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let text = |finding: &serde_json::Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let all = all.as_array().unwrap().iter();
    let all = all.map(|finding| ["severity", "subject", "fact", "remedy"].map(|name| text(finding, name)));
    all.filter(|[severity, ..]| severity != "ok").collect()
}

/// The first command in a remedy.
fn command(remedy: &str) -> Vec<String> {
    let line = remedy.split('`').nth(1).unwrap().strip_prefix("pullgate ").unwrap();
    line.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
}

fn bare(site: &Site, name: &str) {
    let path = site.path(&format!("repositories/{name}.git"));
    assert!(Command::new("git").args(["init", "-q", "--bare"]).arg(path).status().unwrap().success());
}

fn generate(site: &Site, label: &str, more: &[&str]) {
    let out = site.path(label);
    let args = ["key", "generate", "acme", label, "--out", out.to_str().unwrap()];
    site.ok(&args.iter().chain(more).copied().collect::<Vec<_>>());
}

#[test]
fn check_tells_of_keys_that_are_over_or_soon_will_be() {
    let site = Site::with_acme();
    assert_eq!(found(&site, 0), [[""; 4]; 0]);
    for n in 0..7 {
        generate(&site, &format!("over{n}"), &["--expires", "1s"]);
    }
    generate(&site, "week", &["--expires", "5d"]);
    generate(&site, "month", &["--expires", "20d"]);
    generate(&site, "far", &["--expires", "90d"]);
    generate(&site, "turned", &["--expires", "3d"]);
    // It ends soon because somebody saw to it.
    site.ok(&[
        "key",
        "rotate",
        "acme/turned",
        "--generate",
        "--out",
        site.path("new").to_str().unwrap(),
        "--expires",
        "90d",
    ]);
    let end = std::time::Instant::now() + std::time::Duration::from_millis(1200);
    std::thread::sleep(end - std::time::Instant::now());
    let expected = [
        ("notice", "7 keys are over: acme/over0 (", "acme/over4 (", " and 2 more"),
        ("warning", "1 key ends within 7 days: acme/week (", "", ""),
        ("notice", "1 key ends within 30 days: acme/month (", "", ""),
    ];
    let look = || {
        let found = found(&site, 0);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for ([severity, subject, fact, remedy], (expected, starts, has, ends)) in found.iter().zip(expected) {
            assert_eq!((severity.as_str(), subject.as_str()), (expected, "keys"));
            assert!(fact.starts_with(starts) && fact.contains(has) && fact.ends_with(ends), "{fact}");
            assert!(remedy.contains("`pullgate key "), "{remedy}");
        }
    };
    look();
    let daemon = Daemon::start(&site);
    look();
    daemon.stop();
}

#[test]
fn check_tells_of_grants_that_reach_nothing_and_what_takes_them_away() {
    let site = Site::with_acme();
    bare(&site, "acme/app");
    for grant in ["acme/app", "acme/gone", "acme/a*", "acme/x-*"] {
        for key in ["a", "b"] {
            let file = format!("{key}.pub");
            let added = site.run(&["key", "add", "acme", key, "--key", &file]);
            assert!(added.code == 0 || added.err.contains("already registered"), "{added}");
            site.ok(&["key", "grant", &format!("acme/{key}"), grant]);
        }
    }
    site.ok(&["group", "add", "acme/@good", "acme/app", "acme/gone"]);
    site.ok(&["group", "add", "acme/@bad", "acme/none"]);
    site.ok(&["key", "grant", "acme/a", "acme/@bad", "acme/@good"]);
    let expected = [
        "the group acme/@bad has no repository that is in the store",
        "acme/gone, which acme/a and one more may fetch, is not in the store",
        "acme/x-*, which acme/a and one more may fetch, fits no repository in the store",
    ];
    let look = || {
        let found = found(&site, 0);
        let facts: Vec<&str> = found.iter().map(|[_, _, fact, _]| fact.as_str()).collect();
        assert_eq!(facts, expected);
        assert!(found.iter().all(|[severity, subject, ..]| severity == "warning" && subject == "grants"));
        found
    };
    look();
    let daemon = Daemon::start(&site);
    let before = look();
    daemon.stop();
    // What it says to do, done, until there is nothing more to say.
    let mut left = before;
    for _ in 0..5 {
        for [.., remedy] in &left {
            let mut words = command(remedy);
            if words[0] == "group" {
                words = vec!["group".into(), "remove".into(), "acme/@bad".into()];
            }
            words.extend((words[0] != "key").then(|| "--yes".to_owned()));
            site.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        left = found(&site, 0);
    }
    assert_eq!(left, [[""; 4]; 0]);
}

#[test]
fn files_that_are_none_are_errors() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let site = Site::new();
    for (n, file) in ["HEAD", "config", "packed-refs"].iter().enumerate() {
        let name = format!("acme/app{n}");
        bare(&site, &name);
        let path = site.path(&format!("repositories/{name}.git/{file}"));
        std::fs::remove_file(&path).ok();
        match n {
            2 => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            _ => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
        }
    }
    let facts: Vec<String> = found(&site, 2).into_iter().map(|[severity, _, fact, _]| severity + " " + &fact).collect();
    assert_eq!(
        facts,
        [
            "error acme/app0: its HEAD is a FIFO, for whose writer git waits until the client is turned away",
            "error acme/app1: its config is a FIFO, for whose writer git waits until the client is turned away",
            "error acme/app2: its packed-refs is a socket",
        ]
    );
}

/// A client hears that the repository cannot be served, or is not granted; whoever put it there hears why.
#[test]
fn what_is_named_like_a_repository_and_is_none_is_told_of() {
    let site = Site::new();
    bare(&site, "acme/app");
    let at = |name: &str| site.path("repositories/acme").join(name);
    std::os::unix::fs::symlink(at("app.git"), at("link.git")).unwrap();
    std::fs::create_dir_all(at("work.git/.git")).unwrap();
    std::fs::write(at("file.git"), "gitdir: elsewhere").unwrap();
    let found = found(&site, 0);
    let named: Vec<_> = found.iter().map(|[severity, _, fact, _]| format!("{severity} {fact}")).collect();
    let names = ["acme/file", "acme/link", "acme/work"];
    assert!(named.len() == 3 && named.iter().zip(names).all(|(said, name)| said.contains(name)), "{named:?}");
    assert!(!site.ok(&["repo", "list"]).out.contains("acme/link"), "it is none");
}

/// Whoever writes the config decides what is served.
#[test]
fn a_config_that_others_can_write_is_told_of() {
    let site = Site::with_acme();
    let found = |name: &str, mode| {
        std::fs::set_permissions(site.path(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        found(&site, if mode & 2 > 0 { 2 } else { 0 })
            .into_iter()
            .map(|[severity, subject, ..]| severity + " " + &subject)
    };
    let none = [""; 0];
    assert_eq!(found("config.toml", 0o666).collect::<Vec<_>>(), ["error config"]);
    assert_eq!(found("config.toml", 0o660).collect::<Vec<_>>(), ["warning config"]);
    assert_eq!(found("config.toml", 0o644).collect::<Vec<_>>(), none);
    assert_eq!(found("repositories", 0o777).collect::<Vec<_>>(), ["error store.root"]);
    assert_eq!(found("repositories", 0o775).collect::<Vec<_>>(), none, "a group that pushes");
}

/// It says what `serve` would say.
#[test]
fn check_sees_whether_the_journal_takes_records() {
    let site = Site::new();
    let config = site.path("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("to = \"file\"", "to = \"journald\"")).unwrap();
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let listens = socket.connect("/run/systemd/journal/socket").is_ok();
    let found = found(&site, if listens { 0 } else { 2 });
    let told: Vec<_> = found.iter().filter(|[_, subject, ..]| subject == "audit.to").collect();
    assert_eq!(told.is_empty(), listens, "{found:?}");
    assert!(told.iter().all(|[severity, _, fact, _]| severity == "error" && fact.contains("cannot be reached")));
}

/// Whoever may not read the journal knows nothing of it, and is not told to put another in its place. Root may read everything, so this
/// runs as somebody else.
#[test]
fn without_the_right_to_read_nobody_is_told_to_restore() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let site = Site::with_acme();
    let open = |name: &str, mode| std::fs::set_permissions(site.path(name), PermissionsExt::from_mode(mode)).unwrap();
    open("", 0o755);
    open("config.toml", 0o644);
    open("state", 0o755);
    open("state/registry", 0o700);
    let Ok(output) = site.command(&["check"]).uid(65534).output() else { return };
    let said = String::from_utf8(output.stdout).unwrap();
    let of_journal: Vec<&str> = said.lines().skip_while(|line| !line.contains("journal:")).take(2).collect();
    assert!(of_journal[0].contains("cannot be read") && of_journal[1].contains("as root"), "{said}");
    assert!(!said.contains("pullgate restore"), "{said}");
}

/// Whoever may write there can put another registry in place of this one.
#[test]
fn a_state_that_others_can_write_is_not_served_from() {
    let site = Site::with_acme();
    for (name, mode) in [("state", 0o770), ("state/registry", 0o702)] {
        let open = |mode| {
            std::fs::set_permissions(site.path(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap()
        };
        open(mode);
        let served = site.run(&["serve"]);
        let words = format!("others than its owner can write to {}", site.path(name).display());
        assert!(served.code == 6 && served.err.contains(&words) && served.err.contains("hint: "), "{served}");
        open(0o700);
    }
}

/// A name that is mistyped is no gateway that knows nobody.
#[test]
fn a_state_that_is_not_there_is_not_served_from() {
    let site = Site::with_acme();
    let config = format!(
        "state_dir = \"{0}\"\n[control]\nsocket = \"{1}\"\n",
        site.path("stat").display(),
        site.path("s").display()
    );
    std::fs::write(site.path("config.toml"), config).unwrap();
    for verb in ["serve", "check"] {
        let ran = site.run(&[verb]);
        assert_ne!(ran.code, 0, "{ran}");
        assert!(format!("{ran}").contains("stat cannot be looked at: No such file"), "{ran}");
        assert!(format!("{ran}").contains("`pullgate init DIR` makes what is missing"), "{ran}");
    }
    assert!(!site.path("stat").exists());
}

/// A registry that cannot grow would not be opened.
#[test]
fn a_state_that_its_owner_cannot_write_is_found() {
    let site = Site::with_acme();
    let open = |mode| {
        std::fs::set_permissions(site.path("state"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap()
    };
    open(0o500);
    let ran = site.run(&["check"]);
    open(0o700);
    let words = format!("error    state_dir: its owner may not write to {} (mode 500)", site.path("state").display());
    assert!(ran.code == 2 && ran.out.contains(&words) && ran.out.contains("chmod 700 "), "{ran}");
    assert!(!site.run(&["check"]).out.contains("may not write"));
}

/// `serve` says that `check` looks at host keys.
#[test]
fn a_host_key_that_is_none_is_found() {
    let site = Site::with_acme();
    site.ok(&["host-key", "next"]);
    for name in ["ssh_host_ed25519_key.next", "ssh_host_ed25519_key"] {
        let file = site.path("keys").join(name);
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let ran = site.run(&["check"]);
        let words = format!("error    ssh.host_keys: {} is no host key: an OpenSSH private key cannot", file.display());
        assert!(ran.code == 2 && ran.out.contains(&words), "{ran}");
    }
    let ran = site.run(&["serve"]);
    assert!(ran.code == 6 && ran.err.contains("is no host key") && ran.err.contains("`pullgate check`"), "{ran}");
}

/// What `serve` would refuse, `check` tells before.
#[test]
fn what_serve_refuses_is_found_before() {
    let site = Site::with_acme();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let same = format!("[ssh]\nlisten = [\"127.0.0.1:{port}\"]\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    std::fs::write(site.path("config.toml"), same).unwrap();
    std::fs::write(site.path("state/control.sock"), "").unwrap();
    let ran = site.run(&["check"]);
    let collide = format!("error    metrics.listen: 127.0.0.1:{port} is among the addresses of ssh.listen");
    assert!(ran.code == 2 && ran.out.contains(&collide), "{ran}");
    assert!(ran.out.contains("control.sock is there and is not a socket"), "{ran}");
}

/// A key that root makes in the folder of the daemon's user is that user's.
#[test]
fn host_keys_belong_to_who_serves() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let site = Site::with_acme();
    site.ok(&["host-key", "next"]);
    let next = site.path("keys/ssh_host_ed25519_key.next");
    let owner = || std::fs::metadata(&next).unwrap().uid();
    assert_eq!(owner(), rustix::process::geteuid().as_raw());
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for folder in ["keys", "state"] {
        chown(site.path(folder), Some(65534), Some(65534)).unwrap();
    }
    let found = site.run(&["check"]);
    assert!(found.code == 2 && found.out.contains("ssh_host_ed25519_key.next cannot be read by the daemon"), "{found}");
    std::fs::remove_file(&next).unwrap();
    site.ok(&["host-key", "next"]);
    assert_eq!(owner(), 65534);
    assert!(!site.run(&["check"]).out.contains("cannot be read by the daemon"));
}
