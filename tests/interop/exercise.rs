//! What every client has to do: look, clone, clone shallowly, fetch what is new, hear why it cannot push, and turn away
//! from a server whose host key it does not know.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Gateway, Said, plain_git, run};
use crate::listen_in::Wire;
use crate::table;

/// A gateway behind a wire, with one repository and one key.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) wire: Wire,
    pub(crate) bare: PathBuf,
    /// The private key, as `ssh-keygen` wrote it.
    pub(crate) key: PathBuf,
}

impl Site {
    /// With a repository and a key of this kind, in words for `ssh-keygen -t`.
    pub(crate) fn new(kind: &[&str]) -> Self {
        Self::with(kind, |config| config)
    }

    /// The same, with the gateway's config file edited.
    pub(crate) fn with(kind: &[&str], edit: fn(String) -> String) -> Self {
        let site = Self::bare(kind, edit);
        site.gateway.repo("acme/app");
        let public = site.key.with_extension("pub");
        // Its end is near: every client has to take the warning of it on standard error for no more than that.
        let args = ["key", "add", "acme", "client", "--grant", "acme/app", "--expires", "7d", "--key"];
        site.gateway.pullgate(args.into_iter().chain([public.to_str().unwrap()])).ok();
        site
    }

    /// Without the repository, and with a key that is not registered.
    pub(crate) fn bare(kind: &[&str], edit: fn(String) -> String) -> Self {
        let wire = Wire::new();
        let gateway = Gateway::start_with(|config| {
            let public = format!("public_address = \"localhost:{}\"", wire.port());
            let lines = config.lines().map(|line| if line.starts_with("public_address") { &public } else { line });
            edit(lines.collect::<Vec<_>>().join("\n"))
        });
        wire.lead_to(gateway.port());
        let (bare, key) = (gateway.path("repositories/acme/app.git"), gateway.keygen("client", kind));
        let site = Self { gateway, wire, bare, key };
        site.home("home", &std::fs::read_to_string(site.gateway.path("known_hosts")).unwrap());
        site.home("fooled", &site.somebody_elses_keys());
        site
    }

    /// The port that clients connect to.
    pub(crate) fn port(&self) -> u16 {
        self.wire.port()
    }

    pub(crate) fn url(&self, repo: &str) -> String {
        format!("ssh://git@localhost:{}/{repo}", self.port())
    }

    /// A home folder whose known_hosts is this. Dropbear's client knows hosts without their ports.
    fn home(&self, name: &str, known_hosts: &str) {
        let ssh = self.gateway.path(name).join(".ssh");
        std::fs::create_dir_all(&ssh).unwrap();
        let plain = known_hosts.replace(&format!("[localhost]:{}", self.port()), "localhost");
        std::fs::write(ssh.join("known_hosts"), format!("{known_hosts}{plain}")).unwrap();
    }

    /// The lines of known_hosts as another server's would be.
    fn somebody_elses_keys(&self) -> String {
        let kinds = [("other25519", &["ed25519"][..]), ("other256", &["ecdsa", "-b", "256"])];
        let line = |(name, kind): (&str, &[&str])| {
            let public = std::fs::read_to_string(self.gateway.keygen(name, kind).with_extension("pub")).unwrap();
            let words: Vec<&str> = public.split(' ').take(2).collect();
            format!("[localhost]:{} {}\n", self.port(), words.join(" "))
        };
        kinds.into_iter().map(line).collect()
    }

    fn tip(&self, reference: &str) -> String {
        run(plain_git(&self.bare).args(["rev-parse", reference])).ok()
    }
}

/// A client: the same five verbs for each.
pub(crate) trait Client {
    fn version(&self) -> String;
    /// What `ls-remote` of `repo` says, with this home folder (and the known_hosts in it).
    fn ls_remote(&self, site: &Site, home: &Path, repo: &str) -> Said;
    fn clone(&self, site: &Site, home: &Path, target: &Path, depth: Option<u32>) -> Said;
    /// Fetches from `origin` in a clone.
    fn fetch(&self, site: &Site, home: &Path, work: &Path) -> Said;
    /// Pushes `main` of a clone.
    fn push(&self, site: &Site, home: &Path, work: &Path) -> Said;
    /// Whether it can clone shallowly at all.
    fn shallow(&self) -> bool {
        true
    }
    /// What the gateway's audit has to call the protocol; `None`: whatever the client chooses.
    fn protocol(&self) -> Option<u8> {
        None
    }
}

/// Runs through all of it, and fills in the client's row of the table on the way.
pub(crate) fn exercise(client: &dyn Client, site: &Site) {
    let (home, fooled) = (site.gateway.path("home"), site.gateway.path("fooled"));
    let version = client.version();
    table::know(|row| row.version = version);

    table::step("ls-remote");
    let looked = client.ls_remote(site, &home, "acme/app.git").ok();
    for (name, reference) in [("refs/heads/main", "main"), ("refs/heads/stable", "stable"), ("refs/tags/v1", "v1")] {
        let hash = site.tip(reference);
        let listed = looked.lines().any(|line| line.contains(hash.trim()) && line.trim_end().ends_with(name));
        assert!(listed, "{name} is not at {hash}: {looked}");
    }

    // What it agreed on is in its row from here on, whatever becomes of the rest.
    let agreed = site.wire.agreed().first().unwrap().clone();
    table::know(|row| {
        row.ssh = agreed.client;
        row.key_exchange = agreed.key_exchange;
        row.host_key = agreed.host_key;
        row.cipher = agreed.cipher;
    });

    table::step("clone");
    let full = site.gateway.path("full");
    client.clone(site, &home, &full, None).ok();
    run(plain_git(&full).args(["fsck", "--strict"])).ok();
    assert_eq!(run(plain_git(&full).args(["rev-parse", "HEAD"])).ok(), site.tip("main"));

    if client.shallow() {
        table::step("depth");
        let shallow = site.gateway.path("shallow");
        client.clone(site, &home, &shallow, Some(1)).ok();
        assert_eq!(run(plain_git(&shallow).args(["rev-list", "--count", "HEAD"])).ok(), "1\n");
    }

    table::step("fetch");
    site.gateway.commit(&site.bare, "new", "fresh\n");
    client.fetch(site, &home, &full).ok();
    assert_eq!(run(plain_git(&full).args(["rev-parse", "refs/remotes/origin/main"])).ok(), site.tip("main"));

    table::step("push refused");
    let pushed = client.push(site, &home, &full);
    let said = format!("{}{}", pushed.out, pushed.err);
    assert!(pushed.code != Some(0) && said.contains("git push to acme/app is not possible here [read-only]"), "{said}");

    table::step("strict host key");
    let (before, tip) = (logins(site), site.tip("main"));
    let deceived = client.ls_remote(site, &fooled, "acme/app.git");
    assert!(deceived.code != Some(0) && !deceived.out.contains(tip.trim()), "it trusts any host: {deceived:?}");
    assert_eq!(logins(site), before, "it logged in to a host that it does not know");

    table::step("protocol");
    let protocols: Vec<u8> =
        (0..=2).filter(|version| site.gateway.audit().contains(&format!("\"protocol\":{version},"))).collect();
    let words: Vec<String> = protocols.iter().map(|version| format!("v{version}")).collect();
    table::know(|row| row.protocol = words.join(" "));
    if let Some(expected) = client.protocol() {
        assert_eq!(protocols, [expected]);
    }
}

pub(crate) fn logins(site: &Site) -> usize {
    site.gateway.audit().matches("\"event\":\"login\"").count()
}

/// A program on the PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What is missing of these programs.
pub(crate) fn missing(programs: &[&str]) -> Option<String> {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// The first line that a program says about itself.
pub(crate) fn first_line(command: &mut Command) -> String {
    let said = run(command);
    format!("{}{}", said.out, said.err).lines().next().unwrap_or_default().to_owned()
}
