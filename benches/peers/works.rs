//! The works: what clients ask, how many at once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{Client, Door, Fault, Pack, Wish};
use super::repos::Repo;
use super::servers::Server;

/// How long one client may take, before it counts as failed: so long for each that asks at the same time, and at least so long.
/// sshd was seen to need 1.3 s for each of depth 1, on two cores.
const PATIENCE_EACH: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(170);

/// What one client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// `git ls-remote` of branches and tags in version 2.
    Poll,
    /// The advertisement of version 0.
    PollV0,
    /// Everything.
    Full,
    /// HEAD without its history, as build agents ask.
    Depth1,
    /// The same in version 0.
    Depth1V0,
    /// What came since ten commits ago.
    Fetch,
    /// The real git: `ls-remote`, `clone --depth=1`, `clone`.
    GitPoll,
    GitDepth1,
    GitFull,
}

/// A row of the table.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) name: String,
    pub(crate) repo: Repo,
    pub(crate) ask: Ask,
    /// How many do it, and how many of them at once.
    pub(crate) clients: usize,
    pub(crate) at_once: usize,
    pub(crate) rounds: usize,
    /// What a server keeps is forgotten before each round.
    pub(crate) fresh: bool,
    /// With sshd and the gateway alone: gitolite costs what sshd costs, plus its polls' price.
    pub(crate) two: bool,
}

/// One round on one server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    /// Milliseconds of the server's processor time for one client.
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
    pub(crate) peak: u64,
    pub(crate) failed: usize,
    pub(crate) why: Option<String>,
    pub(crate) clients: usize,
}

impl Work {
    /// What is asked, with an answer that is known to be whole.
    fn wish(&self) -> Wish {
        let repo = &self.repo;
        match self.ask {
            Ask::Full | Ask::GitFull => {
                Wish { wants: repo.all.clone(), haves: Vec::new(), depth: None, include_tag: false }
            }
            Ask::Fetch => {
                Wish { wants: vec![repo.tip.clone()], haves: vec![repo.older.clone()], depth: None, include_tag: true }
            }
            _ => Wish { wants: vec![repo.tip.clone()], haves: Vec::new(), depth: Some(1), include_tag: true },
        }
    }

    /// The fewest objects that a right answer has.
    fn least(&self) -> u32 {
        match self.ask {
            Ask::Full => u32::try_from(self.repo.all.len()).unwrap_or(u32::MAX),
            Ask::Fetch => 10,
            _ => 3,
        }
    }

    /// Runs it with at most this many clients at once.
    pub(crate) fn run(&self, server: &Server, runtime: &tokio::runtime::Runtime, most: usize) -> Round {
        if self.fresh {
            server.forget();
        }
        server.tree.rest();
        server.tree.forget_peak();
        let (cpu, start) = (server.tree.cpu(), Instant::now());
        let at_once = self.at_once.min(most.max(1));
        let clients = if at_once < self.at_once { at_once } else { self.clients };
        let results: Vec<Result<(), Fault>> = match self.ask {
            Ask::GitPoll | Ask::GitDepth1 | Ask::GitFull => (0..clients).map(|n| self.real(server, n)).collect(),
            _ => runtime.block_on(self.raw(server, clients, at_once)),
        };
        let wall = start.elapsed().as_secs_f64();
        server.tree.rest();
        let cpu = (server.tree.cpu() - cpu) / clients as f64;
        let why = results.iter().find_map(|result| result.as_ref().err().cloned());
        let failed = results.iter().filter(|result| result.is_err()).count();
        Round { cpu, wall, peak: server.tree.peak(), failed, why, clients }
    }

    async fn raw(&self, server: &Server, clients: usize, at_once: usize) -> Vec<Result<(), Fault>> {
        let (path, ask, least) = (server.path(&self.repo.name), self.ask, self.least());
        let wish = self.wish();
        let request = Arc::new(if ask == Ask::Depth1V0 { wish.v0() } else { wish.v2() });
        let slots = Arc::new(tokio::sync::Semaphore::new(at_once));
        let refs = self.repo.refs;
        let patience = PATIENCE.max(PATIENCE_EACH * u32::try_from(at_once).unwrap_or(u32::MAX));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..clients {
            let (door, path, request) = (server.door.clone(), path.clone(), Arc::clone(&request));
            let slots = Arc::clone(&slots);
            all.spawn(async move {
                let _slot = slots.acquire().await.map_err(|e| e.to_string())?;
                let one = one(&door, &path, ask, &request, refs, least);
                tokio::time::timeout(patience, one).await.map_err(|_| format!("not within {patience:?}"))?
            });
        }
        let mut results = Vec::new();
        while let Some(result) = all.join_next().await {
            results.push(result.unwrap_or_else(|e| Err(e.to_string())));
        }
        results
    }

    fn real(&self, server: &Server, n: usize) -> Result<(), Fault> {
        let home = tempfile::tempdir().map_err(|e| e.to_string())?;
        let url = format!("ssh://{}@{}/{}", server.door.user, server.door.address, server.path(&self.repo.name));
        let ssh = format!(
            "ssh -F none -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=no -o LogLevel=ERROR \
             -o UserKnownHostsFile=/dev/null -o Ciphers=aes128-gcm@openssh.com -o KexAlgorithms=curve25519-sha256 -i {}",
            server.key.display()
        );
        let to = home.path().join(format!("clone{n}"));
        let mut git = Command::new("git");
        git.env("GIT_SSH_COMMAND", ssh).env("GIT_CONFIG_GLOBAL", "/dev/null").current_dir(home.path());
        match self.ask {
            Ask::GitPoll => git.args(["ls-remote", &url, "refs/heads/main"]),
            Ask::GitDepth1 => git.args(["clone", "-q", "--bare", "--depth=1", &url]).arg(&to),
            _ => git.args(["clone", "-q", "--bare", &url]).arg(&to),
        };
        let output = git.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
        let ok = output.status.success() && (self.ask == Ask::GitPoll || whole(&to, &self.repo.tip));
        if ok { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    }
}

fn whole(clone: &Path, tip: &str) -> bool {
    let git = Command::new("git").arg("-C").arg(clone).args(["rev-parse", "HEAD"]).output();
    git.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == tip)
}

async fn one(door: &Door, path: &str, ask: Ask, request: &[u8], refs: usize, least: u32) -> Result<(), Fault> {
    let client = Client::connect(door).await?;
    let version = if matches!(ask, Ask::PollV0 | Ask::Depth1V0) { 0 } else { 2 };
    let mut talk = client.upload_pack(path, version).await?;
    let lines = if version == 2 {
        talk.capabilities().await?;
        talk.ls_refs(&["HEAD", "refs/heads/", "refs/tags/"]).await?
    } else {
        talk.advertisement().await?
    };
    if lines.len() < refs {
        return Err(format!("{} refs of {refs}", lines.len()));
    }
    let pack = match ask {
        Ask::Poll | Ask::PollV0 => {
            talk.flush_and_end().await?;
            client.close().await;
            return Ok(());
        }
        Ask::Depth1V0 => talk.fetch_v0(request.to_vec(), true).await?,
        _ => talk.fetch(request.to_vec()).await?,
    };
    let Pack { bytes, objects } = pack;
    if objects < least || bytes < 100 {
        return Err(format!("a pack of {objects} objects and {bytes} bytes is not all"));
    }
    talk.end().await?;
    client.close().await;
    Ok(())
}

/// The works, in the order of the table; `storms`: those too whose storms take minutes.
pub(crate) fn all(repos: &[Repo], quick: bool, storms: bool) -> Vec<Work> {
    let mut works = Vec::new();
    let large = &repos[repos.len() - 1];
    let megabytes = large.pack_bytes / 1_000_000;
    let mut add = |name: String, repo: &Repo, ask, clients, at_once, rounds, two| {
        let fresh = !matches!(ask, Ask::Poll | Ask::PollV0 | Ask::GitPoll);
        works.push(Work { name, repo: repo.clone(), ask, clients, at_once, rounds, fresh, two });
    };
    for repo in &repos[..repos.len() - 1] {
        let clients = if repo.refs > 50_000 { 4 } else { 20 };
        add(format!("poll, {} refs", repo.refs), repo, Ask::Poll, clients, 1, if quick { 3 } else { 7 }, false);
    }
    let middle = &repos[1];
    add(
        format!("poll in version 0, {} refs", middle.refs),
        middle,
        Ask::PollV0,
        10,
        1,
        if quick { 1 } else { 5 },
        false,
    );
    let of = format!("{megabytes} MB, {} refs", large.refs);
    let rounds = if quick { 1 } else { 5 };
    add(format!("one full clone, {of}"), large, Ask::Full, 1, 1, rounds, false);
    add(format!("one clone of depth 1, {of}"), large, Ask::Depth1, 1, 1, rounds, false);
    add(
        "fetch of 10 commits with equal haves, 20 at once".to_owned(),
        large,
        Ask::Fetch,
        20,
        20,
        if quick { 1 } else { 3 },
        false,
    );
    let sizes: &[usize] = match (quick, storms) {
        (true, false) => &[10],
        (true, true) => &[10, 40],
        (false, false) => &[50],
        (false, true) => &[50, 200],
    };
    for clients in sizes {
        let at_once = format!("{clients} at once");
        add(format!("depth 1, {at_once}"), large, Ask::Depth1, *clients, *clients, 1, true);
        add(format!("full clone, {at_once}"), large, Ask::Full, *clients, *clients, 1, true);
    }
    let v0 = if quick { 10 } else { 50 };
    add(format!("depth 1 in version 0, {v0} at once"), large, Ask::Depth1V0, v0, v0, 1, true);
    add(
        format!("real git: ls-remote, {} refs", middle.refs),
        middle,
        Ask::GitPoll,
        5,
        1,
        if quick { 1 } else { 3 },
        false,
    );
    add("real git: clone --depth=1, two in turn".to_owned(), large, Ask::GitDepth1, 2, 1, 1, false);
    if !quick {
        add("real git: clone".to_owned(), large, Ask::GitFull, 1, 1, 1, false);
    }
    works
}
