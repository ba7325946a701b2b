//! libgit2 with libssh2 (pygit2), and dulwich with paramiko: libraries, driven by a script each.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Check;
use crate::exercise::{Client, Site, exercise, first_line};
use crate::harness::{Said, run};

/// A script that does one verb, and the modules that it needs.
#[derive(Clone, Copy)]
pub(crate) struct Python {
    name: &'static str,
    script: &'static str,
    modules: &'static str,
    /// The version of git's protocol that it speaks.
    protocol: u8,
}

pub(crate) const LIBGIT2: Python =
    Python { name: "libgit2 + libssh2", script: "libgit2.py", modules: "pygit2", protocol: 0 };
pub(crate) const DULWICH: Python =
    Python { name: "dulwich + paramiko", script: "dulwich_paramiko.py", modules: "dulwich, paramiko", protocol: 2 };
/// The same, which asks for the older protocols when it looks.
pub(crate) const DULWICH_V0: Python = Python { protocol: 0, ..DULWICH };
pub(crate) const DULWICH_V1: Python = Python { protocol: 1, ..DULWICH };

pub(crate) fn checks() -> Vec<Check> {
    [LIBGIT2, DULWICH]
        .into_iter()
        .map(|client| {
            let run = move || exercise(&client, &Site::new(&["ed25519"]));
            let Python { name, .. } = client;
            Check { name: name.to_owned(), missing: client.missing(), run: Box::new(run) }
        })
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

/// Python, with what `just interop-python` installed.
fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci/python"));
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

impl Python {
    pub(crate) fn missing(&self) -> Option<String> {
        let there =
            python().args(["-c", &format!("import {}", self.modules)]).output().is_ok_and(|o| o.status.success());
        (!there).then(|| format!("{} for python3 (just interop-python)", self.modules))
    }

    fn verb(&self, site: &Site, home: &Path, verb: &str, args: &[&str]) -> Said {
        let mut python = python();
        python.arg(folder().join(self.script)).arg(verb).args(args).current_dir(site.gateway.path(""));
        let protocol = self.protocol.to_string();
        run(python.env("HOME", home).env("KEY", &site.key).env("PROTOCOL", protocol))
    }

    /// An archive of a repository, which of these only dulwich can ask for.
    pub(crate) fn archive(&self, site: &Site, home: &Path) -> Said {
        self.verb(site, home, "archive", &[&site.url("acme/app.git")])
    }
}

impl Client for Python {
    fn version(&self) -> String {
        first_line(python().arg(folder().join(self.script)).arg("version"))
    }

    fn ls_remote(&self, site: &Site, home: &Path, repo: &str) -> Said {
        self.verb(site, home, "ls-remote", &[&site.url(repo)])
    }

    fn clone(&self, site: &Site, home: &Path, target: &Path, depth: Option<u32>) -> Said {
        let depth = depth.unwrap_or(0).to_string();
        self.verb(site, home, "clone", &[&site.url("acme/app.git"), target.to_str().unwrap(), &depth])
    }

    fn fetch(&self, site: &Site, home: &Path, work: &Path) -> Said {
        self.verb(site, home, "fetch", &[work.to_str().unwrap()])
    }

    fn push(&self, site: &Site, home: &Path, work: &Path) -> Said {
        self.verb(site, home, "push", &[work.to_str().unwrap()])
    }

    fn protocol(&self) -> Option<u8> {
        Some(self.protocol)
    }
}
