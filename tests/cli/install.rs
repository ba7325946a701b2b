//! `init`, `check`, `--config`, help.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::support::Site;

fn mode(site: &Site, name: &str) -> u32 {
    std::fs::metadata(site.path(name)).unwrap().mode() & 0o777
}

#[test]
fn init_makes_a_site_that_check_likes_and_leaves_it_alone_the_second_time() {
    let site = Site::empty();
    site.snapshot("init", &site.ok(&["init", "here"]).to_string());
    assert_eq!(
        std::fs::read_to_string(site.path("here/config.toml")).unwrap(),
        include_str!("../../config.example.toml")
    );
    assert_eq!((mode(&site, "here/state"), mode(&site, "here/keys")), (0o700, 0o700));
    let ignore = std::fs::read_to_string(site.path("here/keys/.gitignore")).unwrap();
    assert!(ignore.starts_with("*\n"), "{ignore}");
    let text = std::fs::read_to_string(site.path("here/config.toml")).unwrap();
    std::fs::write(site.path("here/config.toml"), text.replace("127.0.0.1:2222", "127.0.0.1:0")).unwrap();
    site.snapshot("check_good", &site.ok(&["--config", "here/config.toml", "check"]).to_string());

    std::fs::write(site.path("here/config.toml"), "state_dir = 'other'\n").unwrap();
    let again = site.ok(&["init", "here"]);
    assert!(again.out.contains("left here/config.toml as it is"), "{again}");
    assert_eq!(std::fs::read_to_string(site.path("here/config.toml")).unwrap(), "state_dir = 'other'\n");
    assert_eq!(mode(&site, "here/other"), 0o700);
}

#[test]
fn the_commands_that_init_prints_work() {
    let site = Site::empty();
    let printed = site.ok(&["init", "a b"]).out;
    let commands: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("  pullgate ")).collect();
    assert_eq!(commands.len(), 4, "{printed}");
    // Whoever runs the tests may have a gateway there.
    let config = std::fs::read_to_string(site.path("a b/config.toml")).unwrap();
    std::fs::write(site.path("a b/config.toml"), config.replace("127.0.0.1:2222", "127.0.0.1:0")).unwrap();
    // The last one stays; that it serves is what other tests are about.
    assert!(commands[3].ends_with("serve"), "{printed}");
    for command in &commands[..3] {
        let program = assert_cmd::cargo::cargo_bin!("pullgate");
        let script = format!("exec '{}' {command}", program.display());
        let ran = std::process::Command::new("sh").args(["-c", &script]).current_dir(site.path("")).output().unwrap();
        assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    assert!(site.path("ci_key").exists());
}

#[test]
fn check_finds_everything_at_once() {
    let site = Site::new();
    std::fs::set_permissions(site.path("state"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(site.path("keys/ssh_host_ed25519_key"), "secret").unwrap();
    std::fs::set_permissions(site.path("keys/ssh_host_ed25519_key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::remove_dir(site.path("repositories")).unwrap();
    let ran = site.run(&["check"]);
    assert_eq!(ran.code, 2);
    site.snapshot("check_bad", &ran.to_string());
    let json: serde_json::Value = serde_json::from_str(&site.run(&["check", "--json"]).out).unwrap();
    let errors = json.as_array().unwrap().iter().filter(|finding| finding["severity"] == "error").count();
    assert_eq!(errors, 2, "{json}");
}

#[test]
fn a_bad_config_is_told_whole() {
    let site = Site::empty();
    std::fs::write(site.path("config.toml"), "colour = 1\n[ssh]\nlisten = ['here']\n[log]\nlevel = 'loud'\n").unwrap();
    let ran = site.run(&["key", "list"]);
    assert_eq!(ran.code, 2);
    site.snapshot("config_bad", &ran.to_string());
    site.snapshot("check_config_bad", &site.run(&["check"]).to_string());
}

#[test]
fn config_is_taken_before_and_after_any_verb_and_from_the_environment() {
    let site = Site::empty();
    let none = site.run(&["account", "list"]);
    assert!(none.code == 3 || std::path::Path::new("/etc/pullgate/config.toml").exists(), "{none}");
    site.ok(&["init", "here"]);
    site.ok(&["--config", "here/config.toml", "account", "add", "one"]);
    site.ok(&["account", "add", "two", "--config", "here/config.toml"]);
    site.ok(&["account", "--config", "here/config.toml", "add", "three"]);
    let listed = site.command(&["account", "list"]).env("PULLGATE_CONFIG", "here/config.toml").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(["one", "two", "three"].iter().all(|name| listed.contains(name)), "{listed}");
    assert_eq!(site.run(&["--config", "none.toml", "account", "list"]).code, 6);
}

#[test]
fn no_state_is_told_with_the_remedy() {
    let site = Site::new();
    std::fs::remove_dir_all(site.path("state")).unwrap();
    let ran = site.run(&["account", "list"]);
    assert_eq!(ran.code, 6);
    assert!(ran.err.contains("no daemon runs") && ran.err.contains("pullgate init"), "{ran}");
}

#[test]
fn help_is_a_reference() {
    let site = Site::empty();
    let mut all = String::new();
    let nouns: &[&[&str]] = &[
        &[],
        &["quickstart"],
        &["init"],
        &["serve"],
        &["check"],
        &["account"],
        &["account", "add"],
        &["account", "list"],
        &["account", "remove"],
        &["key"],
        &["key", "add"],
        &["key", "generate"],
        &["key", "list"],
        &["key", "show"],
        &["key", "rename"],
        &["key", "note"],
        &["key", "grant"],
        &["key", "ungrant"],
        &["key", "remove"],
        &["key", "expire"],
        &["key", "suspend"],
        &["key", "resume"],
        &["key", "sources"],
        &["key", "rotate"],
        &["account-key"],
        &["account-key", "add"],
        &["account-key", "list"],
        &["account-key", "remove"],
        &["cache"],
        &["cache", "show"],
        &["cache", "clear"],
        &["repo"],
        &["repo", "list"],
        &["repo", "show"],
        &["repo", "publish"],
        &["repo", "unpublish"],
        &["repo", "remove"],
        &["group"],
        &["group", "list"],
        &["group", "add"],
        &["group", "remove"],
        &["explain"],
        &["apply"],
        &["export"],
        &["whereis"],
        &["known-hosts"],
        &["backup"],
        &["restore"],
        &["host-key"],
        &["host-key", "list"],
        &["host-key", "next"],
        &["host-key", "promote"],
    ];
    for noun in nouns {
        let help = site.ok(&[*noun, &["--help"]].concat()).out;
        all.push_str(&format!("$ pullgate {}\n{help}\n", [*noun, &["--help"]].concat().join(" ")));
    }
    site.snapshot("help", &all);
    let key = site.ok(&["key", "--help"]).out;
    assert!(key.contains("Example:\n  pullgate key add "), "{key}");
    // What the shell asks next takes a line too.
    assert!(key.lines().count() < 24 && key.lines().all(|line| line.chars().count() <= 80), "no screen: {key}");
    let version = site.ok(&["--version"]).out;
    assert!(version.starts_with("pullgate ") && version.contains(", no optional features)"), "{version}");
    let wrong = site.run(&["key", "fly"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
}

#[test]
fn check_tells_of_repositories_that_are_dear_to_serve_and_how_to_mend_them() {
    let site = Site::new();
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(args).current_dir(site.path("repositories")).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "Tester").env(format!("GIT_{who}_EMAIL"), "tester@localhost");
        }
        let output = git.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let check = || site.ok(&["check"]).out;
    assert!(check().contains("repositories: there are none yet"));
    git(&["init", "-q", "--bare", "acme/app.git"]);
    let tree = git(&["-C", "acme/app.git", "hash-object", "-t", "tree", "-w", "/dev/null"]);
    let commit = git(&["-C", "acme/app.git", "commit-tree", &tree, "-m", "First"]);
    for n in 0..=1000 {
        std::fs::write(site.path(&format!("repositories/acme/app.git/refs/heads/b{n}")), format!("{commit}\n"))
            .unwrap();
    }
    // As large as a pack that costs, and no pack; the look goes by names and sizes.
    let pack = site.path("repositories/acme/app.git/objects/pack/pack-0.pack");
    std::fs::File::create(&pack).unwrap().set_len(10_000_000).unwrap();
    git(&["init", "-q", "--bare", "acme/good.git"]);
    std::os::unix::fs::symlink(site.path("state"), site.path("repositories/acme/good.git/commondir")).unwrap();

    let told = check();
    site.snapshot("check_repositories", &told);
    std::fs::remove_file(pack).unwrap();
    std::fs::remove_file(site.path("repositories/acme/good.git/commondir")).unwrap();
    let remedy = told.lines().find_map(|line| line.split_once("&& ").map(|(_, last)| last)).unwrap();
    let last = remedy.rsplit("&& ").next().unwrap();
    let ran = std::process::Command::new("sh").args(["-c", last]).output().unwrap();
    assert!(ran.status.success(), "{last}: {}", String::from_utf8_lossy(&ran.stderr));
    assert!(check().contains("repositories: 2 of 2 are in good shape"), "{}", check());
    let json: serde_json::Value = serde_json::from_str(&site.ok(&["check", "--json"]).out).unwrap();
    assert!(json.as_array().unwrap().iter().any(|finding| finding["subject"] == "repositories"), "{json}");
}

#[test]
fn check_finds_a_port_that_is_taken() {
    let site = Site::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let text = std::fs::read_to_string(site.path("config.toml")).unwrap();
    std::fs::write(site.path("config.toml"), text.replace("127.0.0.1:0", &address)).unwrap();
    let ran = site.run(&["check"]);
    assert!(ran.code == 2 && ran.out.contains(&format!("{address} is taken by another program")), "{ran}");
    drop(held);
    site.ok(&["check"]);
}
