//! The way to the registry: through the daemon, or the registry itself when no daemon runs.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tracing::Level;

use crate::admin::fault::{Fault, Kind};
use crate::admin::group::GroupView;
use crate::admin::operator::{NotAllowed, Operator};
use crate::admin::view::Page;
use crate::admin::{Admin, Done, Faults, chain};
use crate::audit::Audit;
use crate::daemon::config::Config;
use crate::daemon::house::connected;
use crate::daemon::{log, stopping};
use crate::front::control::client::{CallError, Client};
use crate::front::control::protocol::{Answer, Request};
use crate::front::control::service;
use crate::registry::change::Change;
use crate::registry::{self, OpenError};
use crate::usage::Usage;

/// How long to wait for another command that has the registry open, or for a daemon that is about to listen.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look in that time.
const LOOK: Duration = Duration::from_millis(50);

/// A way to the registry. Both ways go through the same service.
#[derive(Debug)]
pub enum Session {
    /// Through the daemon at this control socket.
    Socket(PathBuf),
    /// The registry itself, which nobody else has open.
    Local(Box<Admin>, Operator),
}

impl Session {
    /// The daemon if it listens, else the registry.
    ///
    /// # Errors
    /// The socket or the registry cannot be used, or may not be by this user.
    pub fn open(config: &Config) -> Result<Self, Faults> {
        let begin = Instant::now();
        loop {
            if Client::connect(&config.control.socket)?.is_some() {
                return Ok(Self::Socket(config.control.socket.clone()));
            }
            let by = Operator::local(&config.state_dir)
                .map_err(|error| stops(config).unwrap_or_else(|| not_local(error)))?;
            start_log(config);
            match registry::open(&config.registry_dir()) {
                Ok((lookup, amend)) => {
                    let audit = Audit::open(&config.audit_file).map_err(|error| no_audit(config, &error))?;
                    chain::begin(&audit, &config.audit_chain(), &config.registry_dir(), &lookup)
                        .map_err(|error| no_chain(&error))?;
                    let usage = Usage::open(&config.usage_file()).map_err(|error| no_usage(config, &error))?;
                    let admin = connected(Admin::new(lookup.clone(), amend, audit), lookup, usage, config);
                    return Ok(Self::Local(Box::new(admin), by));
                }
                Err(error) if is_locked(&error) && begin.elapsed() < PATIENCE => sleep(LOOK),
                Err(error) => return Err(closed(&error, config).into()),
            }
        }
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn call(&self, request: Request) -> Result<Answer, CallError> {
        match self {
            // A connection for each request: between two of them a person may think for longer than the daemon waits.
            Self::Socket(socket) => match Client::connect(socket) {
                Ok(Some(mut client)) => client.call(&request),
                Ok(None) => Err(CallError::Refused(gone().into())),
                Err(fault) => Err(CallError::Refused(fault.into())),
            },
            Self::Local(admin, by) => {
                let answer = service::handle(admin, by, request);
                // There is no daemon that would do so later.
                if let Err(error) = admin.write_down() {
                    tracing::warn!(%error, "when keys were used cannot be written");
                }
                answer.map_err(CallError::Refused)
            }
        }
    }

    /// Has changes committed together, however many. Says how many were sent.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn apply(&self, changes: Vec<Change>, dry_run: bool, sent: impl FnMut(usize)) -> Result<Done, CallError> {
        let answer = match self {
            Self::Socket(socket) => match Client::connect(socket) {
                Ok(Some(mut client)) => client.apply(changes, dry_run, sent)?,
                Ok(None) => return Err(CallError::Refused(gone().into())),
                Err(fault) => return Err(CallError::Refused(fault.into())),
            },
            Self::Local(..) => self.call(Request::Apply { changes, more: false, dry_run })?,
        };
        let Answer::Done(done) = answer else { return Err(CallError::Refused(unexpected(&answer).into())) };
        Ok(done)
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn change(&self, request: Request) -> Result<Done, CallError> {
        let answer = self.call(request)?;
        let Answer::Done(done) = answer else { return Err(CallError::Refused(unexpected(&answer).into())) };
        Ok(done)
    }

    /// All groups of all accounts.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn groups(&self) -> Result<Vec<GroupView>, CallError> {
        self.all(
            |after| Request::GroupList { account: None, after },
            |answer| {
                let Answer::Groups(page) = answer else { return Err(unexpected(&answer)) };
                Ok(page)
            },
        )
    }

    /// Asks for page after page of a listing.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn all<T>(
        &self,
        request: impl Fn(Option<String>) -> Request,
        page: impl Fn(Answer) -> Result<Page<T>, Fault>,
    ) -> Result<Vec<T>, CallError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let answer = self.call(request(after))?;
            let Page { items, next } = page(answer).map_err(|fault| CallError::Refused(fault.into()))?;
            all.extend(items);
            match next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }
}

/// What goes wrong inside the registry or with an audit record is told in the log, which a daemon would have. Warnings are
/// left out: that the index is built again, for example, says nothing to somebody who runs one command.
fn start_log(config: &Config) {
    if log::start(log::Settings { level: Level::ERROR, ..config.log }).is_err() {
        tracing::debug!("the log was started before");
    }
}

/// The answer is not one to what was asked: the daemon is of another make.
pub(super) fn unexpected(answer: &Answer) -> Fault {
    let kind = match answer {
        Answer::Done(_) => "a change",
        Answer::Accounts(_) => "accounts",
        Answer::Keys(_) => "keys",
        Answer::Key(_) => "a key",
        Answer::Repos(_) => "repositories",
        Answer::Repo(_) => "a repository",
        Answer::Groups(_) => "groups",
        Answer::Public(_) => "public repositories",
        Answer::Explained(_) => "an explanation",
        Answer::Cache(_) => "what is kept",
    };
    Fault::new(Kind::Internal, format!("the daemon answered with {kind}, which was not asked for"))
}

fn is_locked(error: &OpenError) -> bool {
    matches!(error, OpenError::Locked)
}

fn closed(error: &OpenError, config: &Config) -> Fault {
    if is_locked(error) {
        if let Some(stops) = stops(config) {
            return stops;
        }
        let socket = config.control.socket.display();
        return Fault::new(Kind::Unavailable, format!("{error}, but no daemon answers at the control socket {socket}"))
            .hint(match config.control.socket.exists() {
                true => "does the daemon run with another config file? name that one with --config",
                false => {
                    "that file is not there: a daemon with another config file is asked with --config; one whose socket somebody \
                     removed makes it again when it is started anew"
                }
            });
    }
    Fault::new(Kind::Unavailable, error.to_string()).hint("`pullgate check` looks at the whole installation")
}

/// The daemon is stopping, if it says so.
pub(super) fn stops(config: &Config) -> Option<Fault> {
    let stopping::Stopping { process, until } = stopping::of(&config.control.socket)?;
    let fact = format!(
        "the daemon (process {process}) is stopping: it takes no commands any more, and lets what runs finish until {}",
        until.strftime("%Y-%m-%d %H:%M:%S UTC")
    );
    let hint = "start it again when it has ended, as `systemctl restart` does, or try again then: without a daemon, commands work \
                on the registry itself";
    Some(Fault::new(Kind::Unavailable, fact).hint(hint))
}

fn gone() -> Fault {
    Fault::new(Kind::Unavailable, "the daemon stopped").hint("start the command again")
}

fn no_audit(config: &Config, error: &std::io::Error) -> Fault {
    let file = config.audit_file.display();
    Fault::new(Kind::Unavailable, format!("the audit file {file} cannot be opened: {error}"))
        .hint("without it no change would be recorded, so none is made: mend its folder or `file` under [audit]")
}

pub(super) fn no_chain(error: &chain::BeginError) -> Fault {
    const HINT: &str =
        "without it changes would have no place in the audit record, so none is made: mend what it names";
    Fault::new(Kind::Unavailable, error.to_string()).hint(error.hint().unwrap_or(HINT))
}

fn no_usage(config: &Config, error: &std::io::Error) -> Fault {
    let file = config.usage_file();
    Fault::new(Kind::Unavailable, format!("the file {} cannot be read: {error}", file.display()))
        .hint("mend it; or delete it: all it holds is when keys were used")
}

pub(super) fn not_local(error: NotAllowed) -> Fault {
    let fact = error.to_string();
    match error {
        NotAllowed::Uid { .. } | NotAllowed::Unknown(_) => Fault::new(Kind::Denied, fact),
        NotAllowed::NotOwner { owner, .. } => Fault::new(Kind::Denied, format!("no daemon runs, and {fact}"))
            .hint(format!("start the daemon, or run the command as {owner}: sudo -u {owner} pullgate …")),
        NotAllowed::Open { folder } => {
            Fault::new(Kind::Denied, fact).hint(format!("close it: chmod go-w {}", folder.display()))
        }
        NotAllowed::Folder { .. } => Fault::new(Kind::Unavailable, format!("no daemon runs, and {fact}"))
            .hint("`pullgate init DIR` makes what is missing beside DIR/config.toml"),
    }
}
