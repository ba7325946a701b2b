//! The pages in `docs/ci`, run: every `sh` block in its order, every configuration parsed and its URLs fetched from, every
//! line of a log held to what git really shows.

use std::path::{Path, PathBuf};
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

use crate::ci_tools::{LFS_IS_TOLD, Site};
use crate::harness::{Said, plain_git, program, run};

/// Each page has a test here; `every_page_is_run` sees to it.
const PAGES: [&str; 7] = ["jenkins", "bamboo", "argo-cd", "flux", "gitlab-runner", "buildkite", "shell"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci")
}

/// A page that was run.
struct Page {
    site: Site,
    dir: PathBuf,
    blocks: Vec<(String, String)>,
}

impl Page {
    /// Runs the page's commands in a new folder. What it calls the gateway is replaced by a real one.
    fn run(name: &str) -> Self {
        let site = Site::new();
        let dir = site.gateway.path("page");
        std::fs::create_dir(&dir).unwrap();
        let text = std::fs::read_to_string(folder().join(format!("{name}.md"))).unwrap();
        let text = text.replace("git.example.org:2222", &format!("localhost:{}", site.gateway.port()));
        let page = Self { site, dir, blocks: blocks(&text) };
        let commands: String = page.of("sh").into_iter().collect();
        assert!(commands.lines().count() > 3, "{name} has no commands");
        page.sh(&commands).ok();
        page
    }

    fn of(&self, language: &str) -> Vec<&str> {
        self.blocks.iter().filter(|(l, _)| l == language).map(|(_, text)| text.as_str()).collect()
    }

    fn sh(&self, script: &str) -> Said {
        let mut sh = Command::new("sh");
        let path = format!("{}:{}", Path::new(program()).parent().unwrap().display(), std::env::var("PATH").unwrap());
        sh.current_dir(&self.dir)
            .envs(plain_git(&self.dir).get_envs().filter_map(|(name, value)| Some((name, value?))));
        sh.env("PATH", path).env("PULLGATE_CONFIG", self.site.gateway.config()).env_remove("SSH_AUTH_SOCK");
        run(sh.args(["-euc", script]))
    }

    fn look(&self, key: &str, url: &str) -> Said {
        let key = self.dir.join(key);
        run(self.site.gateway.git_command(&key).args(["ls-remote", "-h", url]))
    }

    /// What every page comes to: a checkout with its submodule, a new key that works, an old one that is refused.
    fn is_green(&self, key: &str) {
        assert_eq!(run(plain_git(&self.dir.join("work")).args(["rev-parse", "HEAD"])).ok().trim(), self.site.tip);
        assert!(self.dir.join("work/lib/file3").exists(), "no submodule");
        let url = self.site.gateway.url("acme/app.git");
        self.look(&format!("{key}_2"), &url).ok();
        assert!(self.look(key, &url).failed().contains("Permission denied (publickey)"));
        let log = format!("{}  {LFS_IS_TOLD}\n", include_str!("snapshots/messages_git.snap"));
        let shown = self.of("text");
        assert!(!shown.is_empty(), "no refusal is shown");
        for line in shown.iter().flat_map(|block| block.lines()) {
            assert!(log.contains(&format!("  {line}\n")), "git does not say: {line}");
        }
        for (language, text) in self.blocks.iter().filter(|(language, _)| !matches!(language.as_str(), "sh" | "text")) {
            let urls = match language.as_str() {
                "yaml" => yaml(text).iter().flat_map(strings).filter(|text| text.starts_with("ssh://")).collect(),
                "groovy" => groovy(text),
                other => panic!("nothing runs a block of {other}"),
            };
            // A block of YAML may have its address inside of a command, which is run elsewhere.
            assert!(language != "groovy" || !urls.is_empty(), "nothing is fetched: {text}");
            for url in urls {
                self.look(&format!("{key}_2"), &url).ok();
            }
        }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap()
    }
}

/// The fenced blocks of a page, with their language.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => blocks.push((language.to_owned(), String::new())),
            (Some(rest), true) => assert_eq!(rest, "", "a block that does not end"),
            (None, true) => blocks.last_mut().unwrap().1.push_str(&format!("{line}\n")),
            (None, false) => continue,
        }
        inside ^= line.starts_with("```");
    }
    assert!(!inside, "a block that does not end");
    blocks
}

#[track_caller]
fn yaml(text: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Every text in a document.
fn strings(yaml: &Yaml) -> Vec<String> {
    match yaml {
        Yaml::String(text) => vec![text.clone()],
        Yaml::Array(all) => all.iter().flat_map(strings).collect(),
        Yaml::Hash(map) => map.values().flat_map(strings).collect(),
        Yaml::Real(_) | Yaml::Integer(_) | Yaml::Boolean(_) | Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => {
            Vec::new()
        }
    }
}

/// The address that a step of a Jenkins pipeline is given: run by the real language, with stand-ins for the steps. Where it
/// is not installed, the addresses in quotes.
fn groovy(text: &str) -> Vec<String> {
    const STEPS: &str = "def scmGit(Map m) { assert m.branches[0].name == 'main'; m }\n\
        def cloneOption(Map m) { assert m.keySet() == ['depth', 'shallow'] as Set; m }\n\
        def submodule(Map m) { assert m.parentCredentials && m.recursiveSubmodules; m }\n\
        def checkout(Map m) { m.userRemoteConfigs.each { println it.url } }\n";
    let required = std::env::var_os("PULLGATE_INTEROP").is_some_and(|value| value == "require");
    let java = std::fs::canonicalize("/usr/bin/java");
    if let (Ok(java), true) = (java, Path::new("/usr/bin/groovy").exists()) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("step.groovy");
        std::fs::write(&file, format!("{STEPS}{text}")).unwrap();
        let home = java.parent().unwrap().parent().unwrap();
        let said = run(Command::new("groovy").arg(&file).env("JAVA_HOME", home).env("HOME", dir.path())).ok();
        return said.lines().map(str::to_owned).collect();
    }
    assert!(!required, "groovy is not installed");
    eprintln!("groovy is not installed: its block is not parsed");
    text.split('\'').filter(|part| part.starts_with("ssh://")).map(str::to_owned).collect()
}

#[test]
fn jenkins() {
    let page = Page::run("jenkins");
    page.is_green("jenkins_key");
    let configured = &yaml(&page.file("jenkins.yaml"))[0]["security"]["gitHostKeyVerificationConfiguration"];
    let strategy = &configured["sshHostKeyVerificationStrategy"]["manuallyProvidedKeyVerificationStrategy"];
    assert_eq!(strategy["approvedHostKeys"].as_str().unwrap(), page.file("known_hosts").trim_end());
}

#[test]
fn bamboo() {
    let page = Page::run("bamboo");
    page.is_green("bamboo_key");
    let trusted = page.file("trusted-keys.txt");
    for line in page.file("known_hosts").lines() {
        let (_, key) = line.split_once(' ').unwrap();
        assert!(trusted.contains(&format!("host: localhost\nkey:  {key}\n")), "{trusted}");
    }
}

#[test]
fn argo_cd() {
    let page = Page::run("argo-cd");
    page.is_green("argocd_key");
    let map = &yaml(&page.file("argocd.yaml"))[0];
    assert_eq!(map["metadata"]["name"].as_str(), Some("argocd-ssh-known-hosts-cm"));
    assert_eq!(map["data"]["ssh_known_hosts"].as_str().unwrap(), page.file("known_hosts"));
}

#[test]
fn flux() {
    let page = Page::run("flux");
    page.is_green("flux_key");
    let documents = yaml(page.of("yaml")[0]);
    assert_eq!(documents[1]["spec"]["secretRef"]["name"], documents[0]["metadata"]["name"]);
}

/// The job's script is run with its variables, as a runner does.
#[test]
fn gitlab_runner() {
    let page = Page::run("gitlab-runner");
    page.is_green("runner_key");
    let job = &yaml(page.of("yaml")[0])[0]["build"];
    let variables = job["variables"].as_hash().unwrap();
    let mut script = "DEPLOY_KEY=$PWD/runner_key_2 GATEWAY_KNOWN_HOSTS=$PWD/known_hosts\n".to_owned();
    for (name, value) in variables {
        script.push_str(&format!("export {}=\"{}\"\n", name.as_str().unwrap(), value.as_str().unwrap()));
    }
    for line in job["script"].as_vec().unwrap() {
        script.push_str(&format!("{}\n", line.as_str().unwrap()));
    }
    page.sh(&script).ok();
    assert!(page.dir.join("app/lib/file3").exists());
}

#[test]
fn buildkite() {
    let page = Page::run("buildkite");
    page.is_green("buildkite_key");
    let pipeline = &yaml(page.of("yaml")[0])[0];
    let flags = |name: &str| pipeline["env"][name].as_str().unwrap().split(' ');
    let url = page.site.gateway.url("acme/app.git");
    let (clone, fetch) = (flags("BUILDKITE_GIT_CLONE_FLAGS"), flags("BUILDKITE_GIT_FETCH_FLAGS"));
    let git = |args: &[&str]| page.site.gateway.git(&page.dir.join("buildkite_key_2"), args).ok();
    git(&["clone"].into_iter().chain(clone).chain(["--", &url, "flags"]).collect::<Vec<_>>());
    let bare = page.site.gateway.path("repositories/acme/app.git");
    page.site.gateway.commit(&bare, "later", "a later build\n");
    git(&["-C", "flags", "fetch"].into_iter().chain(fetch).chain(["--", "origin", "main"]).collect::<Vec<_>>());
    let tips = |dir: &str, name: &str| run(plain_git(&page.site.gateway.path(dir)).args(["rev-parse", name])).ok();
    assert_eq!(tips("flags", "FETCH_HEAD"), tips("repositories/acme/app.git", "main"));
    // Both flags kept it small.
    let commits = run(plain_git(&page.site.gateway.path("flags")).args(["rev-list", "--count", "FETCH_HEAD"])).ok();
    assert_eq!(commits, "1\n");
}

fn logins(page: &Page) -> usize {
    page.site.gateway.audit().matches("\"event\":\"login\"").count()
}

#[test]
fn shell() {
    let page = Page::run("shell");
    page.is_green("script_key");
    // Each git of the page had a connection of its own, and each submodule, but for the two that shared one.
    let shared: Vec<_> = page.of("sh").into_iter().filter(|block| block.contains("ControlPath")).collect();
    let before = logins(&page);
    page.sh(&format!(
        "export GIT_SSH_COMMAND='{}'\n{}",
        page.site.gateway.ssh_line(&page.dir.join("script_key_2")),
        shared[0]
    ))
    .ok();
    assert_eq!(logins(&page) - before, 1, "one connection for both");
}

/// The page that the others share: its commands, and a row for every code that there is.
#[test]
fn the_shared_page() {
    let page = Page::run("README");
    assert_eq!(page.file("known_hosts_both").lines().count(), 2);
    assert_eq!(page.file("records.zone").lines().count(), 2);
    let text = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for code in pullgate::gate::Code::ALL {
        assert!(text.contains(&format!("`[{}]`", code.as_str())), "{} is not explained", code.as_str());
    }
}

#[test]
fn every_page_is_run() {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut there: Vec<String> = entries.collect();
    there.sort();
    let mut expected: Vec<String> = PAGES.iter().chain(&["README"]).map(|name| format!("{name}.md")).collect();
    expected.sort();
    assert_eq!(there, expected);
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let source = include_str!("ci_pages.rs");
    for name in PAGES {
        let test = name.replace('-', "_");
        let page = std::fs::read_to_string(folder().join(format!("{name}.md"))).unwrap();
        assert!(page.contains(&format!("This page is run by `ci_pages::{test}`")), "{name} does not name its test");
        // The tests set it; without it the commands find no gateway, unless its config file is where a package puts it.
        assert!(page.contains("`export PULLGATE_CONFIG="), "{name} does not say which gateway");
        assert!(readme.contains(&format!("({name}.md) | `ci_pages::{test}`")), "{name} is not listed with its test");
        assert!(source.contains(&format!("fn {test}()")), "{name} has no test");
    }
}
