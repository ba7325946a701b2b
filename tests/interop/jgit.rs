//! JGit with JSch, as Debian has them: old enough to need an ECDSA host key, and a key in a PEM file.

use std::path::Path;
use std::process::Command;

use crate::Check;
use crate::exercise::{Client, Site, exercise, missing};
use crate::harness::{Said, run};

pub(crate) struct JGit;

pub(crate) fn checks() -> Vec<Check> {
    let run = || exercise(&JGit, &site("ecdsa"));
    vec![Check { name: "JGit + JSch, ecdsa".to_owned(), missing: missing(&["jgit"]), run: Box::new(run) }]
}

/// What JSch of that age cannot do without: of its host keys (`ssh-rsa`, `ssh-dss`, and ECDSA over the NIST curves) these are
/// the only ones without SHA-1.
pub(crate) fn nist_curves(config: String) -> String {
    assert!(config.contains("nist_curves = false"), "{config}");
    config.replace("nist_curves = false", "nist_curves = true")
}

/// A site whose key JSch can read: PEM, and where it looks for one.
pub(crate) fn site(kind: &str) -> Site {
    site_with(kind, nist_curves)
}

/// The same, with the gateway's config file edited in another way.
pub(crate) fn site_with(kind: &str, edit: fn(String) -> String) -> Site {
    let site = Site::with(&[kind, "-m", "PEM"], edit);
    for home in ["home", "fooled"] {
        place_key(&site, &site.gateway.path(home), kind);
    }
    site
}

/// Puts the site's key where JSch looks for it.
pub(crate) fn place_key(site: &Site, home: &Path, kind: &str) {
    std::fs::copy(&site.key, home.join(".ssh").join(format!("id_{kind}"))).unwrap();
    // JGit of that age looks for RSA and DSA keys only, unless it is told.
    let config = format!("Host *\n\tStrictHostKeyChecking yes\n\tIdentityFile ~/.ssh/id_{kind}\n");
    std::fs::write(home.join(".ssh/config"), config).unwrap();
}

impl JGit {
    fn command(home: &Path, dir: &Path) -> Command {
        let mut jgit = Command::new("jgit");
        jgit.current_dir(dir).env("HOME", home);
        // The package leaves out what its own program needs; and Java knows the home folder from the password file.
        jgit.env("JGIT_CLASSPATH", "/usr/share/java/*");
        jgit.env("JAVA_TOOL_OPTIONS", format!("-Duser.home={} -XX:TieredStopAtLevel=1 -Xshare:auto", home.display()));
        jgit
    }
}

impl Client for JGit {
    fn version(&self) -> String {
        let said = run(Self::command(Path::new("/"), Path::new("/")).arg("version")).out;
        said.trim().rsplit(' ').next().unwrap_or_default().to_owned()
    }

    fn ls_remote(&self, site: &Site, home: &Path, repo: &str) -> Said {
        run(Self::command(home, &site.gateway.path("")).args(["ls-remote", &site.url(repo)]))
    }

    fn clone(&self, site: &Site, home: &Path, target: &Path, _depth: Option<u32>) -> Said {
        let url = site.url("acme/app.git");
        run(Self::command(home, &site.gateway.path("")).args(["clone", &url]).arg(target))
    }

    fn fetch(&self, _site: &Site, home: &Path, work: &Path) -> Said {
        run(Self::command(home, work).args(["fetch", "origin"]))
    }

    fn push(&self, _site: &Site, home: &Path, work: &Path) -> Said {
        run(Self::command(home, work).args(["push", "origin", "HEAD:refs/heads/main"]))
    }

    fn shallow(&self) -> bool {
        false
    }

    fn protocol(&self) -> Option<u8> {
        Some(0)
    }
}
