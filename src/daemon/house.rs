//! The house, built bottom-up from one config file.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::keys::{Algorithm, PrivateKey};

use super::config::{AuditTo, Config};
use super::explain::GateExplainer;
use super::keeper::GitKeeper;
use super::reload::Reloader;
use super::repos::StoreRepos;
use crate::admin::operator::others_write;
use crate::admin::{Admin, chain};
use crate::audit::Audit;
use crate::audit::journald::SOCKET;
use crate::cache::Cache;
use crate::front::ssh::Door;
use crate::front::ssh::host_keys::{self, HostKeyError};
use crate::gate::{Cut, Gate};
use crate::git::{Git, Program, ProgramError};
use crate::registry::{self, Amend, Lookup, OpenError};
use crate::sandbox::{CellError, Cells, Report, no_core_dumps};
use crate::store::{Store, is_shortage};
use crate::usage::Usage;

/// Why the house cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The backing store.
    #[error("the store {} cannot be read: {error}", root.display())]
    Store {
        /// Its root.
        root: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The folder of what is kept.
    #[error("the cache {} cannot be used: {error}", folder.display())]
    Cache {
        /// Which.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// git.
    #[error(transparent)]
    Git(#[from] ProgramError),
    /// The cell that git is to work in.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// The host keys.
    #[error(transparent)]
    HostKeys(#[from] HostKeyError),
    /// The audit file.
    #[error("the audit file {} cannot be opened: {error}", file.display())]
    Audit {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// systemd's journal, which is to have the audit records.
    #[error("systemd's journal cannot be reached at {SOCKET}: {0}")]
    Journal(std::io::Error),
    /// The chain of audit records.
    #[error(transparent)]
    Chain(#[from] chain::BeginError),
    /// The record of when keys were used.
    #[error("the file {} cannot be read: {error}", file.display())]
    Usage {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The registry.
    #[error(transparent)]
    Registry(#[from] OpenError),
    /// The folder of what is kept. Nobody who serves makes it: a name that is mistyped would be a gateway that knows no key.
    #[error("the state folder {} cannot be looked at: {error}", folder.display())]
    State {
        /// Which.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A folder of what is kept, in which others could put what they like in its place.
    #[error("others than its owner can write to {}", .0.display())]
    Open(PathBuf),
}

impl BuildError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Store { .. } => "make the folder, or name another one as `root` under [store]",
            Self::Cache { .. } => "mend its folder, name another one as `folder` under [cache], or switch it off there",
            Self::Git(_) => "install git 2.38 or newer, and see that it is on the PATH of the daemon",
            Self::Cell(CellError::Start(error)) if is_shortage(error) => {
                "the machine has no process or descriptor to spare: raise `TasksMax=` and `LimitNOFILE=` of its unit"
            }
            Self::Cell(_) => {
                "`pullgate check` tells more; a kernel from 5.13 on with Landlock and seccomp is needed, or, knowing what \
                 is lost, mode = \"prefer\" under [sandbox]"
            }
            Self::HostKeys(_) => "`pullgate check` looks at the folder of the host keys",
            Self::Audit { .. } => "mend its folder, or name another `file` under [audit]",
            Self::Journal(_) => "start systemd-journald, or write \"file\" or \"stdout\" as `to` under [audit]",
            Self::Chain(error) => error.hint().unwrap_or(
                "mend what it names; `pullgate audit verify` says how the chain is. A key that is lost is made anew when its \
                 file is gone, and the old one's public half is needed to verify what it signed",
            ),
            Self::Usage { .. } => "mend it; or delete it: all it holds is when keys were used",
            Self::Registry(OpenError::Locked) => {
                "a daemon with the same state_dir runs already: administer it with the other verbs, or stop it with SIGTERM"
            }
            Self::State { .. } => {
                "`pullgate init DIR` makes what is missing beside DIR/config.toml; or see what `state_dir` says"
            }
            Self::Open(_) => "take that right away (chmod go-w), and see what is in it: `pullgate check`",
            Self::Registry(_) => "`pullgate check` looks at the whole installation",
        }
    }
}

/// Everything of a house that needs no registry: what can fail without it has failed by then.
#[derive(Debug)]
pub struct Shell {
    config: Config,
    store: Store,
    git: Git,
    keys: Vec<PrivateKey>,
    audit: Audit,
}

/// Everything that a daemon serves with.
#[derive(Debug)]
pub struct House {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) door: Arc<Door>,
    pub(super) reloader: Arc<Reloader>,
    pub(super) admin: Admin,
    pub(super) usage: Usage,
    pub(super) audit: Audit,
    pub(super) git: Git,
    pub(super) lookup: Lookup,
    pub(super) cut: Cut,
}

impl House {
    /// The way to change what it serves by while it does.
    #[must_use]
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Builds it. `search` is where git is looked for, as `$PATH` is written.
    ///
    /// # Errors
    /// [`BuildError`]
    pub fn build(config: &Config, search: &OsStr) -> Result<Self, BuildError> {
        Shell::build(config, search, &[])?.furnish()
    }

    /// Goes on with the registry after all, for those who come from now on. Blocks while the disk does.
    pub(super) fn reopen(&mut self) -> Result<(), BuildError> {
        let Furniture { lookup, usage, gate, admin } =
            furnish(&self.config, &self.store, &self.git, &self.audit, &self.cut)?;
        self.reloader.replace_gate(gate);
        (self.lookup, self.usage, self.admin) = (lookup, usage, admin);
        Ok(())
    }
}

impl Shell {
    /// Builds it. `search` is where git is looked for, as `$PATH` is written; `shown` are the kinds of host key that clients of
    /// the daemon whose place is taken know, of which none is made anew.
    ///
    /// # Errors
    /// [`BuildError`]
    pub fn build(config: &Config, search: &OsStr, shown: &[Algorithm]) -> Result<Self, BuildError> {
        // Before the host keys are read.
        if let Err(error) = no_core_dumps() {
            tracing::warn!(%error, "core dumps cannot be switched off: one would hold the host keys");
        }
        raise_descriptors();
        if let Err(error) = config.state_dir.metadata() {
            return Err(BuildError::State { folder: config.state_dir.clone(), error });
        }
        for folder in [config.state_dir.clone(), config.registry_dir()] {
            // The registry's is made where there is none, for its owner alone.
            if folder.metadata().is_ok_and(|meta| others_write(meta.mode())) {
                return Err(BuildError::Open(folder));
            }
        }
        let settings = config.store.clone();
        let store = Store::new(&settings).map_err(|error| BuildError::Store { root: settings.root, error })?;
        let cache = match &config.cache {
            None => Cache::off(),
            Some(settings) => Cache::open(settings.clone())
                .map_err(|error| BuildError::Cache { folder: settings.folder.clone(), error })?,
        };
        let git = Git::new(Program::find(search)?, config.limits.git, Cells::new(config.sandbox), cache)?
            .with_packing(config.packing);
        tracing::info!(program = %git.program().path().display(), version = git.program().version(), "git serves");
        tell(git.report());
        if shown.is_empty() && config.has_served() && host_keys::is_gone(&config.ssh.host_keys) {
            tracing::warn!(
                folder = %config.ssh.host_keys.display(),
                "the host key is gone, and clients have been served: another is made, which each of them refuses as a changed host key; \
                 if the old one is in a backup, stop, put it back, and start"
            );
        }
        let keys = host_keys::load_or_make(&config.ssh.host_keys, config.ssh.host_key_kinds, shown)?;
        let audit = match config.audit_to {
            AuditTo::File => Audit::open_bounded(&config.audit_file, config.audit_strangers),
            AuditTo::Stdout => Audit::to_stdout(&config.audit_file, config.audit_strangers),
            AuditTo::Journal => Audit::to_journal(&config.audit_file, config.audit_strangers),
        };
        let audit = audit.map_err(|error| match config.audit_to {
            AuditTo::File | AuditTo::Stdout => BuildError::Audit { file: config.audit_file.clone(), error },
            AuditTo::Journal => BuildError::Journal(error),
        })?;
        Ok(Self { config: config.clone(), store, git, keys, audit })
    }

    /// Opens the registry, and makes a house of it.
    ///
    /// # Errors
    /// [`BuildError`]
    pub fn furnish(self) -> Result<House, BuildError> {
        let Self { config, store, git, keys, audit } = self;
        let cut = Cut::default();
        let Furniture { lookup, usage, gate, admin } = furnish(&config, &store, &git, &audit, &cut)?;
        let address = config.ssh.public_address.to_string();
        let door = Door::new(gate, git.clone(), keys, config.limits.ssh, address);
        let door = Arc::new(
            door.with_balancers(config.ssh.balancers.clone()).with_exempt(config.limits.guesses_exempt.clone()),
        );
        let reloader = Arc::new(Reloader::new(Arc::clone(&door), audit.clone(), config.clone()));
        Ok(House { config, store, door, reloader, admin, usage, audit, git, lookup, cut })
    }
}

/// What a house has of the registry.
struct Furniture {
    lookup: Lookup,
    usage: Usage,
    gate: Gate,
    admin: Admin,
}

fn furnish(config: &Config, store: &Store, git: &Git, audit: &Audit, cut: &Cut) -> Result<Furniture, BuildError> {
    let (lookup, amend) = open_registry(config)?;
    // With the registry's lock held: whoever had it has written down what it knew.
    let file = config.usage_file();
    let usage = Usage::open(&file).map_err(|error| BuildError::Usage { file, error })?;
    chain::begin(audit, &config.audit_chain(), &config.registry_dir(), &lookup)?;
    audit.checkpoint();
    let gate = Gate::new(lookup.clone(), store.clone(), audit.clone()).with_usage(usage.clone()).with_cut(cut.clone());
    let admin = connected(Admin::new(lookup.clone(), amend, audit.clone()), lookup.clone(), usage.clone(), config);
    let admin = admin.with_keeper(Arc::new(GitKeeper(git.clone())));
    Ok(Furniture { lookup, usage, gate, admin })
}

/// Administration with everything that it can tell about.
#[must_use]
pub fn connected(admin: Admin, lookup: Lookup, usage: Usage, config: &Config) -> Admin {
    admin
        .with_repos(Arc::new(StoreRepos::new(config.store.clone())))
        .with_explainer(Arc::new(GateExplainer::new(lookup, config.store.clone())))
        .with_usage(usage)
        .with_policy(config.keys)
}

/// Says what git is confined by; a warning at every start where that is not everything.
fn tell(report: Option<&Report>) {
    match report {
        None => tracing::warn!("git is NOT confined: mode is \"off\" under [sandbox]"),
        Some(report) if report.whole() => tracing::info!(cell = %report, "git is confined"),
        Some(report) => tracing::warn!(cell = %report, "git is NOT wholly confined: this kernel cannot do more"),
    }
}

/// Takes as many descriptors as the system allows: a fetch needs about six, and the usual soft limit of 1024 is reached
/// by two hundred agents at once.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the number of descriptors stays as it is");
    }
}

/// Opens the registry. A command that works without a daemon may have it open for a moment, and a daemon that starts just
/// then waits for it; another daemon, which answers at its socket, is not waited for.
fn open_registry(config: &Config) -> Result<(Lookup, Amend), OpenError> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const LOOK: Duration = Duration::from_millis(50);
    let begin = Instant::now();
    loop {
        match registry::open(&config.registry_dir()) {
            Err(OpenError::Locked)
                if begin.elapsed() < PATIENCE && UnixStream::connect(&config.control.socket).is_err() =>
            {
                std::thread::sleep(LOOK);
            }
            other => return other,
        }
    }
}
