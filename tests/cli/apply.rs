//! The registry as a file: difference, application, and back.

use crate::support::{KEY_A, KEY_B, Site};

fn file(site: &Site, text: &str) {
    let text = text.replace("KEY_A", KEY_A.trim_end()).replace("KEY_B", KEY_B.trim_end());
    std::fs::write(site.path("registry.toml"), text).unwrap();
}

const FIRST: &str = r#"
accounts = ["acme", "beta"]
public = ["acme/docs"]

[[group]]
account = "acme"
name = "backend"
repositories = ["acme/api", "acme/worker"]

[[key]]
name = "acme/ci"
key = "KEY_A"
grants = ["acme/@backend", "acme/lib-*"]
from = ["::ffff:10.0.0.0/104"]
expires = "2099-03-01"
note = "agent 7"

[[key]]
name = "beta/jo"
key = "KEY_B"
kind = "account-key"
"#;

const SECOND: &str = r#"
accounts = ["acme"]

[[group]]
account = "acme"
name = "backend"
repositories = ["acme/api", "acme/queue"]

[[key]]
name = "acme/agent"
key = "KEY_A"
grants = ["acme/@backend", "acme/app"]
from = ["10.0.0.0/8"]
suspended = true
"#;

#[test]
fn a_file_is_planned_applied_once_and_pruned_only_when_that_is_said() {
    let site = Site::new();
    let mut story = String::new();
    let mut run = |args: &[&str]| story.push_str(&format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args)));
    file(&site, FIRST);
    run(&["apply", "registry.toml", "--dry-run"]);
    run(&["apply", "registry.toml"]);
    run(&["apply", "registry.toml"]);
    run(&["export"]);
    file(&site, SECOND);
    run(&["apply", "registry.toml", "--dry-run", "--json"]);
    run(&["apply", "registry.toml"]);
    run(&["apply", "registry.toml", "--prune"]);
    run(&["apply", "registry.toml", "--prune", "--yes"]);
    run(&["apply", "registry.toml", "--prune"]);
    run(&["export", "--json"]);
    run(&["apply", "none.toml"]);
    file(&site, "accounts = [\"-acme\"]");
    run(&["apply", "registry.toml"]);
    file(&site, "accounts = []\n[[key]]\nname = \"acme/x\"\nkey = \"KEY_B\"\nwrite = true");
    run(&["apply", "registry.toml"]);
    file(&site, "[[key]]\nname = \"acme/x\"\nkey = \"KEY_B\"\ngrants = [\"nobody/x\", \"acme/@none\"]");
    run(&["apply", "registry.toml"]);
    file(&site, "[[key]]\nname = \"nobody/x\"\nkey = \"KEY_B\"");
    run(&["apply", "registry.toml"]);
    file(&site, "[[key]]\nname = \"acme/x\"\nkey = \"KEY_B\"\n[[key]]\nname = \"acme/y\"\nkey = \"KEY_B\"");
    run(&["apply", "registry.toml"]);
    site.snapshot("apply", &story);
}

#[test]
fn what_is_exported_makes_the_same_registry_elsewhere() {
    let (here, there) = (Site::new(), Site::new());
    file(&here, FIRST);
    here.ok(&["apply", "registry.toml"]);
    let exported = here.ok(&["export"]).out;
    std::fs::write(there.path("registry.toml"), &exported).unwrap();
    there.ok(&["apply", "registry.toml"]);
    assert_eq!(there.ok(&["export"]).out, exported);
    assert!(here.path("registry.toml").exists() && exported.contains("acme/lib-*"));
}

/// All of it or nothing: a file whose last key stands against a rule leaves no trace of its first.
#[test]
fn an_application_is_one_transaction() {
    let site = Site::with_acme();
    let before = site.ok(&["export"]).out;
    file(
        &site,
        "accounts = [\"new\"]\n[[key]]\nname = \"new/a\"\nkey = \"KEY_A\"\n[[key]]\nname = \"nobody/b\"\nkey = \"KEY_B\"",
    );
    assert_eq!(site.run(&["apply", "registry.toml"]).code, 3);
    assert_eq!(site.ok(&["export"]).out, before);
}

/// What a build relies on: a plan that is shown without a fault can be carried out.
#[test]
fn a_dry_run_says_what_applying_would() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "a", "--key", "a.pub"]);
    let before = site.ok(&["export"]).out;
    let files = [
        "[[key]]\nname = \"acme/b\"\nkey = \"KEY_B\"\ngrants = [\"nobody/x\", \"acme/@none\"]",
        "[[key]]\nname = \"acme/a\"\nkey = \"KEY_B\"",
        "public = [\"nobody/x\"]",
        "[[key]]\nname = \"nobody/b\"\nkey = \"KEY_B\"",
    ];
    for text in files {
        file(&site, text);
        let dry = site.run(&["apply", "registry.toml", "--dry-run"]);
        assert_ne!(dry.code, 0, "{dry}");
        let applied = site.run(&["apply", "registry.toml"]);
        assert_eq!((dry.code, &dry.out, &dry.err), (applied.code, &applied.out, &applied.err));
        assert_eq!(site.run(&["apply", "registry.toml", "--dry-run", "--json"]).code, dry.code);
    }
    file(&site, "[[key]]\nname = \"acme/b\"\nkey = \"KEY_B\"");
    assert!(site.ok(&["apply", "registry.toml", "--dry-run"]).out.contains("1 to add"));
    assert_eq!(site.ok(&["export"]).out, before, "and it changes nothing");
}

#[test]
fn keys_swap_their_labels_in_one_file() {
    const SWAPPED: &str = "accounts = [\"acme\"]\n[[key]]\nname = \"acme/b\"\nkey = \"KEY_A\"\n[[key]]\nname = \"acme/a\"\nkey = \"KEY_B\"";
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "a", "--key", "a.pub"]);
    site.ok(&["key", "add", "acme", "b", "--key", "b.pub"]);
    file(&site, SWAPPED);
    let ran = site.ok(&["apply", "registry.toml"]);
    assert!(ran.out.contains("label: a -> b") && ran.out.contains("label: b -> a"), "{ran}");
    assert!(ran.out.contains("0 to add, 2 to change"), "{ran}");
    assert!(site.ok(&["whereis", "a.pub"]).out.contains("acme/b"));
    assert!(site.ok(&["whereis", "b.pub"]).out.contains("acme/a"));
    assert!(site.ok(&["apply", "registry.toml"]).out.starts_with("No changes"));
    // And a new key gets the label that another one gives up.
    site.ok(&["key", "remove", "acme/a"]);
    file(&site, &SWAPPED.replace("acme/b", "acme/c").replace("acme/a", "acme/b"));
    site.ok(&["apply", "registry.toml"]);
    assert!(site.ok(&["whereis", "a.pub"]).out.contains("acme/c"));
    assert!(site.ok(&["whereis", "b.pub"]).out.contains("acme/b"));
}

/// A file says until when a key is good, and a rotation does not make it say anything else: neither the expiry that the key
/// had before nor the end of its overlap is a difference, and any other time moves the end of the overlap.
#[test]
fn a_rotated_key_is_no_difference_and_another_end_of_it_is_one_once() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app"]);
    std::fs::write(site.path("registry.toml"), site.ok(&["export"]).out).unwrap();
    site.ok(&["key", "rotate", "acme/ci", "--key", "b.pub"]);
    std::fs::write(site.path("after.toml"), site.ok(&["export"]).out).unwrap();
    for name in ["registry.toml", "after.toml"] {
        let ran = site.ok(&["apply", name]);
        assert!(ran.out.starts_with("No changes"), "{name}: {ran}");
    }
    // A limit of lifetimes does not stand against a file that changes nothing.
    let config = std::fs::read_to_string(site.path("config.toml")).unwrap();
    std::fs::write(site.path("config.toml"), limited(&config)).unwrap();
    assert!(site.ok(&["apply", "registry.toml"]).out.starts_with("No changes"));
    std::fs::write(site.path("config.toml"), config).unwrap();
    let end = |text: &str| {
        file(&site, &format!("[[key]]\nname = \"acme/ci\"\nkey = \"KEY_A\"\nexpires = \"{text}\""));
        site.run(&["apply", "registry.toml"])
    };
    let ran = end("2098-05-06");
    assert!(ran.code == 0 && ran.out.contains("-> 2098-05-07 00:00 UTC"), "{ran}");
    let shown = site.ok(&["key", "show", "acme/ci", "--json"]).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["replaced_by"]["until"], "2098-05-07T00:00:00Z");
    assert_eq!(shown["expires"], "2098-05-07T00:00:00Z");
    assert!(end("2098-05-06").out.starts_with("No changes"));
    // As the verb says it.
    let ran = end("never");
    assert!(
        ran.code != 0 && ran.err.contains("acme/ci was replaced by acme/ci-2, and a key that was replaced"),
        "{ran}"
    );
}

fn limited(config: &str) -> String {
    let limited: String = config
        .lines()
        .filter(|line| !line.contains("max_expiry ="))
        .flat_map(|line| [line, if line == "[keys]" { "max_expiry = \"90d\"" } else { "" }])
        .map(|line| format!("{line}\n"))
        .collect();
    match limited.contains("max_expiry") {
        true => limited,
        false => format!("{limited}[keys]\nmax_expiry = \"90d\"\n"),
    }
}

/// More than one frame of the control socket has: with a daemon and without one it is one transaction.
#[test]
fn a_large_file_is_one_transaction() {
    const KEYS: u32 = 9000;
    let mut text = "accounts = [\"acme\"]\n".to_owned();
    for number in 0..KEYS {
        let key = numbered(number);
        text.push_str(&format!(
            "[[key]]\nname = \"acme/k{number}\"\nkey = \"{key}\"\ngrants = [\"acme/app\", \"acme/lib-*\"]\n"
        ));
    }
    for with_daemon in [true, false] {
        let site = Site::new();
        let daemon = with_daemon.then(|| crate::daemon::Daemon::start(&site));
        // The last one stands against a rule.
        std::fs::write(
            site.path("bad.toml"),
            format!("{text}[[key]]\nname = \"nobody/x\"\nkey = \"{}\"", numbered(KEYS)),
        )
        .unwrap();
        let ran = site.run(&["apply", "bad.toml"]);
        assert!(ran.code == 3 && ran.err.contains("there is no account nobody"), "{}", ran.err);
        assert_eq!(site.ok(&["account", "list", "--json"]).out, "[]\n");
        std::fs::write(site.path("good.toml"), &text).unwrap();
        let ran = site.ok(&["apply", "good.toml"]);
        assert!(ran.out.ends_with(&format!("Plan: {} to add, 0 to change, 0 to remove.\nApplied.\n", KEYS + 1)));
        assert!(site.ok(&["apply", "good.toml"]).out.starts_with("No changes"));
        let accounts = site.ok(&["account", "list"]).out;
        assert!(accounts.contains(&format!("acme     {KEYS}")), "{accounts}");
        if let Some(daemon) = daemon {
            daemon.stop();
        }
    }
}

fn numbered(number: u32) -> String {
    use base64::Engine as _;
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([5; 28]);
    blob.extend(number.to_be_bytes());
    format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob))
}

#[test]
fn a_declaration_may_come_from_standard_input() {
    let site = Site::with_acme();
    let export = site.ok(&["export"]).out;
    let more = export.replace("accounts = [\"acme\"]", "accounts = [\"acme\", \"beta\"]");
    let ran = site.run_with(&["apply", "-"], &more);
    assert!(ran.code == 0 && ran.out.contains("+ account beta"), "{ran}");
    let missing = site.run(&["apply", "none.toml"]);
    assert!(missing.code == 3 && missing.err.contains("hint: name the file, or - for standard input"), "{missing}");
    std::fs::write(site.path("latin-1.toml"), b"accounts = [\"acme\"] # caf\xe9\n").unwrap();
    let latin = site.run(&["apply", "latin-1.toml"]);
    assert!(latin.code == 2 && latin.err.contains("latin-1.toml is not UTF-8"), "{latin}");
    let wrong = site.run_with(&["apply", "-"], "nonsense");
    assert!(wrong.code == 2 && wrong.err.contains("-, line 1: "), "{wrong}");
}
