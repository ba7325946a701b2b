//! git itself, over OpenSSH, Dropbear's client and PuTTY's.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Check;
use crate::exercise::{Client, Site, exercise, find, first_line, missing};
use crate::harness::{Said, plain_git, run};
use crate::table;

/// The distribution's git, which may be older than the first on the PATH.
const SYSTEM_GIT: &str = "/usr/bin/git";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ssh {
    OpenBsd,
    /// One connection for all commands.
    Shared,
    Dropbear,
    Plink,
}

struct Git {
    program: PathBuf,
    ssh: Ssh,
    kind: &'static str,
    /// `protocol.version`; `None` where git cannot say it to this SSH, and speaks version 0.
    version: Option<u8>,
}

pub(crate) fn checks() -> Vec<Check> {
    let newest = find("git").unwrap_or_else(|| SYSTEM_GIT.into());
    let system = Path::new(SYSTEM_GIT);
    let mut checks = Vec::new();
    for version in [0, 1, 2] {
        let mut newer = check(&newest, Ssh::OpenBsd, "ed25519", Some(version), "newest ");
        // One git, called by two names, is one client.
        if newer.missing.is_none() && version_of(&newest) == version_of(system) {
            newer.missing = Some(format!("a git other than the distribution's {}", version_of(system)));
        }
        checks.push(newer);
        checks.push(check(system, Ssh::OpenBsd, "ed25519", Some(version), "distribution's "));
    }
    for kind in ["ecdsa", "rsa"] {
        checks.push(check(&newest, Ssh::OpenBsd, kind, Some(2), ""));
    }
    checks.push(check(&newest, Ssh::Shared, "ed25519", Some(2), ""));
    checks.push(check(&newest, Ssh::Dropbear, "ed25519", None, ""));
    checks.push(check(&newest, Ssh::Plink, "ed25519", None, ""));
    checks
}

fn check(program: &Path, ssh: Ssh, kind: &'static str, version: Option<u8>, which: &str) -> Check {
    let git = Git { program: program.to_owned(), ssh, kind, version };
    let missing = match ssh {
        _ if !program.is_file() => Some(program.display().to_string()),
        Ssh::OpenBsd | Ssh::Shared => missing(&["ssh"]),
        Ssh::Dropbear => missing(&["dbclient", "dropbearconvert"]),
        Ssh::Plink => missing(&["plink", "puttygen"]),
    };
    let version = version.map_or_else(String::new, |version| format!(", v{version}"));
    let name = format!("{which}{}, {kind}{version}", git.over());
    let run = move || {
        let site = Site::new(&[git.kind]);
        exercise(&git, &site);
        if git.ssh == Ssh::Shared {
            table::step("one connection");
            let close = format!("ssh -O exit -o ControlPath={} git@localhost", socket(&site));
            run(Command::new("sh").args(["-c", &close]));
            assert_eq!(site.gateway.audit().matches("\"event\":\"login\"").count(), 1, "it was not one connection");
        }
    };
    Check { name, missing, run: Box::new(run) }
}

/// What a git says of itself; nothing, if it is not there.
fn version_of(git: &Path) -> String {
    if !git.is_file() {
        return String::new();
    }
    first_line(Command::new(git).arg("--version")).replace("git version ", "")
}

fn socket(site: &Site) -> String {
    site.gateway.path("s").display().to_string()
}

impl Git {
    fn over(&self) -> &'static str {
        match self.ssh {
            Ssh::OpenBsd => "git + OpenSSH",
            Ssh::Shared => "git + OpenSSH ControlMaster",
            Ssh::Dropbear => "git + dbclient",
            Ssh::Plink => "git + plink",
        }
    }

    fn command(&self, site: &Site, home: &Path, dir: &Path) -> Command {
        let known_hosts = home.join(".ssh/known_hosts").display().to_string();
        let (key, port) = (site.key.display(), site.port());
        let fooled = home.ends_with("fooled");
        let strict = format!(
            "ssh -F none -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known_hosts} -i {key}"
        );
        let (line, variant) = match self.ssh {
            Ssh::OpenBsd => (strict, "ssh"),
            // A fooled client must not find the connection that is open already.
            Ssh::Shared if fooled => (strict, "ssh"),
            Ssh::Shared => {
                let socket = socket(site);
                (format!("{strict} -o ControlMaster=auto -o ControlPersist=30 -o ControlPath={socket}"), "ssh")
            }
            Ssh::Dropbear => {
                let own = format!("{key}.dropbear");
                if !Path::new(&own).exists() {
                    let key = key.to_string();
                    run(Command::new("dropbearconvert").args(["openssh", "dropbear", &key, &own])).ok();
                }
                (format!("dbclient -p {port} -i {own}"), "simple")
            }
            Ssh::Plink => {
                let own = format!("{key}.ppk");
                if !Path::new(&own).exists() {
                    run(Command::new("puttygen").args([&key.to_string(), "-o", &own])).ok();
                }
                (format!("plink -batch -i {own} -hostkey {}", fingerprint(&known_hosts)), "plink")
            }
        };
        // The environment of a git without anybody's configuration, and another program.
        let mut command = Command::new(&self.program);
        command.current_dir(dir).envs(plain_git(dir).get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("HOME", home).env("GIT_SSH_COMMAND", line).env("GIT_SSH_VARIANT", variant);
        command.args(["-c", &format!("protocol.version={}", self.version.unwrap_or(2))]);
        command
    }

    fn url(&self, site: &Site, repo: &str) -> String {
        match self.ssh {
            // A simple ssh cannot be told a port by git.
            Ssh::Dropbear => format!("git@localhost:{repo}"),
            Ssh::OpenBsd | Ssh::Shared | Ssh::Plink => site.url(repo),
        }
    }
}

/// The fingerprint of the ed25519 key in a known_hosts file.
fn fingerprint(known_hosts: &str) -> String {
    let listed = run(Command::new("ssh-keygen").args(["-l", "-f", known_hosts])).ok();
    let line = listed.lines().find(|line| line.ends_with("(ED25519)")).unwrap();
    line.split(' ').nth(1).unwrap().to_owned()
}

impl Client for Git {
    fn version(&self) -> String {
        version_of(&self.program)
    }

    fn ls_remote(&self, site: &Site, home: &Path, repo: &str) -> Said {
        let dir = site.gateway.path("");
        run(self.command(site, home, &dir).args(["ls-remote", &self.url(site, repo)]))
    }

    fn clone(&self, site: &Site, home: &Path, target: &Path, depth: Option<u32>) -> Said {
        let dir = site.gateway.path("");
        let mut git = self.command(site, home, &dir);
        git.args(["clone", "-q"]).args(depth.map(|depth| format!("--depth={depth}")));
        run(git.arg(self.url(site, "acme/app.git")).arg(target))
    }

    fn fetch(&self, site: &Site, home: &Path, work: &Path) -> Said {
        run(self.command(site, home, work).args(["fetch", "-q", "origin"]))
    }

    fn push(&self, site: &Site, home: &Path, work: &Path) -> Said {
        run(self.command(site, home, work).args(["push", "origin", "HEAD:refs/heads/main"]))
    }

    fn protocol(&self) -> Option<u8> {
        Some(self.version.unwrap_or(0))
    }
}
