//! Every command that the documents show, run as it stands: the lines of `sh` and `cron` blocks, and each `pullgate …`
//! within a line of text. That every one of them is spelled as the program knows it is a test of `src/cli/manual`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Gateway, Said, plain_git, program, run};
use crate::scene::id;

/// What cannot be run here, word for word as the page has it, and why. One that no page has any more fails.
const NOT_RUN: &[(&str, &str)] = &[
    ("apt install ./pullgate_0.1.0-1_amd64.deb", "root on a Debian of its own: .ci/package-test installs it"),
    ("cargo build", "what built this test"),
    ("cargo test", "what runs this test"),
    ("just ci", "what runs this test, and hours of others"),
    ("pullgate upgrade", "it leaves a daemon that nobody here knows of: tests/gateway/upgrades.rs runs it"),
];

/// What a page calls otherwise than the sample does. One that no page has any more fails.
fn names(gateway: &Gateway, refusal: &str) -> Vec<(&'static str, String)> {
    let path = |name: &str| gateway.path(name).display().to_string();
    vec![
        ("/srv/git/.ssh/authorized_keys", path("page/authorized_keys")),
        ("/srv/git/", path("repositories/")),
        ("/backup/", path("")),
        ("/root/pullgate-audit.pub", path("audit.pub")),
        ("/etc/pullgate/config.toml", path("config.toml")),
        ("…/registry/journal", path("state/registry/journal")),
        ("git.example.org", "localhost".to_owned()),
        ("6befc06704", refusal.to_owned()),
        ("KEY", "acme/ci".to_owned()),
        ("REPO", "acme/app".to_owned()),
        ("ADDR", "192.0.2.7".to_owned()),
        // It goes on until Ctrl-C.
        (" --follow", String::new()),
        // When cron does it.
        ("15 3 * * *  ", String::new()),
    ]
}

/// Programs that would ask another machine or the service manager, and what stands in for them: the far end is this machine.
const STAND_INS: &[(&str, &str)] = &[
    ("ssh", "shift; exec sh -c \"$*\""),
    // One user does it all here.
    ("sudo", "shift 2; exec \"$@\""),
    ("gh", "echo \"$(cut -d' ' -f1,2 gh.pub) a title\""),
    (
        "curl",
        "jq -Rn '{values: [{key: {text: (input | split(\" \")[0:2] | join(\" \")), label: \"a label\"}}]}' < curl.pub",
    ),
    ("journalctl", "cat \"${PULLGATE_CONFIG%/*}/state/audit.jsonl\""),
];

/// A command and where it stands.
#[derive(Debug)]
struct Shown {
    page: String,
    text: String,
    /// Within a line of text, where a verb may be spoken of without what it needs.
    inline: bool,
}

/// The pages, and whether another test runs their blocks.
fn pages() -> Vec<(PathBuf, bool)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![(root.join("README.md"), true), (root.join("keys/README.md"), false)];
    pages.extend(["SECURITY.md", "CONTRIBUTING.md"].map(|name| (root.join(name), false)));
    for folder in ["docs", "docs/ci", "docs/decisions"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        // What `--help` says is held to the program in another way.
        let files =
            files.filter(|file| file.extension().is_some_and(|end| end == "md") && !file.ends_with("commands.md"));
        pages.extend(files.map(|file| (file, folder == "docs/ci")));
    }
    pages.sort();
    pages
}

/// The commands of a page, in its order.
fn shown(file: &Path, blocks_elsewhere: bool) -> Vec<Shown> {
    let page = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
    let text = std::fs::read_to_string(file).unwrap();
    let (mut all, mut block, mut open) = (Vec::new(), None, String::new());
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (&block, fence) {
            (None, Some(language)) => block = Some(language.to_owned()),
            (Some(_), Some(_)) => {
                assert_eq!(open, "", "{page}: no whole command");
                block = None;
            }
            (Some(language), None) if matches!(language.as_str(), "sh" | "console" | "cron") => {
                if blocks_elsewhere || line.trim().is_empty() {
                    continue;
                }
                open.push_str(line);
                if is_whole(&open) {
                    let text = std::mem::take(&mut open);
                    all.push(Shown { page: page.clone(), text, inline: false });
                } else {
                    open.push('\n');
                }
            }
            (Some(_), None) => {
                let line = line.trim_start().trim_start_matches("$ ");
                assert!(!line.starts_with("pullgate "), "{page}: a block of commands is marked `sh`: {line}");
            }
            (None, None) => {
                let inline = line.split('`').skip(1).step_by(2);
                let inline = inline.filter(|text| text.starts_with("pullgate ") || text.contains("| pullgate "));
                all.extend(inline.map(|text| Shown { page: page.clone(), text: text.to_owned(), inline: true }));
            }
        }
    }
    all
}

/// Whether a shell has a whole command; a list that goes on has none.
fn is_whole(text: &str) -> bool {
    text.starts_with("15 3 * * *") || Command::new("bash").args(["-nc", text]).output().unwrap().status.success()
}

/// A gateway, and around it what the pages take for granted.
struct Sample {
    gateway: Gateway,
    dir: PathBuf,
    stand_ins: PathBuf,
    names: Vec<(&'static str, String)>,
}

impl Sample {
    /// What the page adds itself is not there yet.
    fn new(commands: &[Shown]) -> Self {
        let gateway = Gateway::start();
        gateway.repo("acme/app");
        let dir = gateway.path("page");
        let stand_ins = gateway.path("stand-ins");
        for folder in [&dir, &stand_ins] {
            std::fs::create_dir(folder).unwrap();
        }
        for (name, does) in STAND_INS {
            std::fs::write(stand_ins.join(name), format!("#!/bin/bash\n{does}\n")).unwrap();
            std::fs::set_permissions(stand_ins.join(name), Permissions::from_mode(0o755)).unwrap();
        }
        for label in ["ci", "ci-agent-7"] {
            let add = format!("key add acme {label} ");
            if !commands.iter().any(|shown| shown.text.contains(&add)) {
                gateway.key(label, &["acme/app"]);
            }
        }
        for name in ["ci", "new", "jo", "gh", "curl", "authorized_keys", "admin"] {
            gateway.keygen(&format!("page/{name}"), &["ed25519"]);
        }
        std::fs::rename(dir.join("authorized_keys.pub"), dir.join("authorized_keys")).unwrap();
        let admin = gateway.path("gitolite-admin");
        std::fs::create_dir_all(admin.join("keydir")).unwrap();
        std::fs::rename(dir.join("admin.pub"), admin.join("keydir/alice.pub")).unwrap();
        for args in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "keys"]] {
            run(plain_git(&admin).args(args)).ok();
        }
        let public = gateway.pullgate(["audit", "key"]).ok();
        std::fs::write(gateway.path("audit.pub"), public).unwrap();
        // Something to read in the audit: a fetch, and a refusal with an id.
        let key = gateway.key("sample", &["acme/app"]);
        gateway.git(&key, &["ls-remote", &gateway.url("acme/app.git")]).ok();
        let refused = gateway.git(&key, &["ls-remote", &gateway.url("acme/none.git")]).failed();
        let audit = gateway.path("state/audit.jsonl");
        run(Command::new("sh").args(["-c", "gzip -c \"$0\" > audit.jsonl.2.gz"]).arg(audit).current_dir(&dir)).ok();
        let names = names(&gateway, &id(&refused));
        Self { gateway, dir, stand_ins, names }
    }

    /// Runs one command as the page has it, in the page's folder.
    fn run(&mut self, text: &str, used: &mut Vec<&'static str>) -> Said {
        // The service manager of the sample is this test.
        match text {
            "systemctl stop pullgate" => {
                self.gateway.stop();
                // The machine on which a backup is restored is a new one.
                std::fs::remove_dir_all(self.gateway.path("state/registry")).unwrap();
                return Said { code: Some(0), out: String::new(), err: String::new() };
            }
            "systemctl start pullgate" => {
                self.gateway.resume();
                return Said { code: Some(0), out: String::new(), err: String::new() };
            }
            _ => {}
        }
        let mut script = text.to_owned();
        for (from, to) in &self.names {
            if script.contains(from) {
                used.push(from);
                script = script.replace(from, to);
            }
        }
        // A registry that is open cannot be replaced; the page says so above its table.
        let in_between = text.contains("restore --force") && text.contains("journal");
        if in_between {
            self.gateway.stop();
        }
        let path = [&self.stand_ins, Path::new(program()).parent().unwrap()].map(|dir| dir.display().to_string());
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(&self.dir)
            .envs(plain_git(&self.dir).get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("PATH", format!("{}:{}", path.join(":"), std::env::var("PATH").unwrap()))
            .env("PULLGATE_CONFIG", self.gateway.config())
            // Where gitolite was is a folder here.
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", format!("url.{}.insteadOf", self.gateway.path("").display()))
            .env("GIT_CONFIG_VALUE_0", "git@old:");
        let said = run(&mut shell);
        if in_between {
            self.gateway.resume();
        }
        said
    }
}

/// A verb that a sentence speaks of, without what it would need: the program knows it, and says what is missing.
fn only_spoken_of(shown: &Shown, said: &Said) -> bool {
    let bare = shown.text.split(' ').all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
    let missing = said.err.contains("required arguments were not provided") || said.err.contains("Usage: pullgate");
    shown.inline && bare && said.code == Some(2) && missing && !said.err.contains("unrecognized subcommand")
}

#[test]
fn every_command_of_the_documents_runs() {
    let with_jq = Command::new("jq").arg("--version").output().is_ok();
    let required = std::env::var_os("PULLGATE_INTEROP").is_some_and(|value| value == "require");
    assert!(with_jq || !required, "jq is not installed");
    let (mut wrong, mut ran, mut spoken) = (Vec::new(), 0, 0);
    let (mut used, mut excepted, mut all_names) = (Vec::new(), Vec::new(), Vec::new());
    for (file, blocks_elsewhere) in pages() {
        let commands = shown(&file, blocks_elsewhere);
        if commands.is_empty() {
            continue;
        }
        let mut sample: Option<Sample> = None;
        for shown in &commands {
            let text = shown.text.split(" #").next().unwrap().trim();
            if let Some((text, _)) = NOT_RUN.iter().find(|(not, _)| *not == text) {
                excepted.push(*text);
                continue;
            }
            if !with_jq && text.contains("jq") {
                eprintln!("jq is not installed: not run: {text}");
                continue;
            }
            let said = sample.get_or_insert_with(|| Sample::new(&commands)).run(text, &mut used);
            ran += 1;
            if all_names.is_empty() {
                all_names.extend(sample.iter().flat_map(|sample| sample.names.iter().map(|(name, _)| *name)));
            }
            match said.code {
                Some(0) => {}
                _ if only_spoken_of(shown, &said) => spoken += 1,
                _ => wrong.push(format!("{}: {}\n{said:?}", shown.page, shown.text)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(ran - spoken > 50, "{ran} commands were run, of which {spoken} are only spoken of");
    for (text, why) in NOT_RUN {
        assert!(excepted.contains(text), "no page has the exception any more: {text} ({why})");
    }
    for name in all_names.iter().filter(|_| with_jq) {
        assert!(used.contains(name), "no page has the name any more: {name}");
    }
}
