//! `pullgate serve`

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use super::io::Stop;
use crate::admin::fault::{Fault, Kind};
use crate::daemon::config::Config;
use crate::daemon::house::{BuildError, House, Shell};
use crate::daemon::signals::Signals;
use crate::daemon::sockets::{Handed, Sockets};
use crate::daemon::upgrade::next::StartedBy;
use crate::daemon::upgrade::successor::{JoinError, Successor};
use crate::daemon::{log, means, serve, service};
use crate::front::ssh::host_keys;

/// How long what still waits for a disk may take when all else has ended.
const LAST_QUESTIONS: Duration = Duration::from_secs(2);

/// Run the gateway until SIGTERM or Ctrl-C
///
/// What runs when it is told to stop may finish, for `drain_seconds` in section `limits`. SIGHUP has it read its config and its
/// host keys once more, for connections from then on, and open the audit file anew, as log rotation wants it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Take the place of the daemon that started this one: what `pullgate upgrade` does
    #[arg(long, hide = true)]
    successor: bool,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        // Before the daemon whose place is to be taken is spoken to: a config that cannot be read is told to it as well.
        let config = context.load();
        // Before any thread.
        let inherited =
            service::inherited().map_err(serve::ServeError::Inherited).map_err(|error| cannot_open(&error))?;
        let started_by = started_by()?;
        if !self.successor {
            let config = config?;
            begin_log(&config);
            return begin(&config, Handed::by_manager(inherited))?.serve(started_by, None);
        }
        let (successor, handed) = Successor::join().map_err(|error| cannot_join(&error))?;
        let made = config.and_then(|config| {
            begin_log(&config);
            take_over(&config, handed, &successor)
        });
        if let Err(Stop::Faults(faults)) = &made
            && let Some(fault) = faults.list().first()
        {
            let field = fault.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
            successor.failed(format!("{field}{}", fault.fact), fault.hint.clone());
        }
        made?.serve(started_by, Some(successor))
    }
}

/// The program and its arguments, as they are to be started again: by the name that it was started by, so that another release
/// that has the name by then is what is started, also where the name is a link. Without a folder in it, the name was looked for
/// on a search path, and it is the file that counts.
fn started_by() -> Result<StartedBy, Fault> {
    let named = std::env::args_os().next().map(PathBuf::from).filter(|name| name.components().count() > 1);
    let program = named.map_or_else(std::env::current_exe, std::path::absolute);
    let program = program
        .map_err(|error| Fault::new(Kind::Unavailable, format!("the program's own file cannot be told: {error}")))?;
    Ok(StartedBy { program, arguments: std::env::args_os().skip(1).collect() })
}

fn cannot_join(error: &JoinError) -> Fault {
    Fault::new(Kind::Unavailable, error.to_string()).hint(match error {
        JoinError::NoLine => "a running daemon starts it so: ask it to with `pullgate upgrade`",
        JoinError::Line(_) => "the log of that daemon says more",
    })
}

/// What a daemon is made of.
struct Made {
    runtime: Runtime,
    house: House,
    sockets: Sockets,
    signals: Signals,
}

/// Nobody served before.
fn begin(config: &Config, handed: Handed) -> Result<Made, Stop> {
    enough()?;
    let house = build(config)?;
    let runtime = runtime()?;
    // Before the doors are open: a signal that comes at once is not lost.
    let signals = signals(&runtime)?;
    let sockets = runtime.block_on(Sockets::open(config, handed)).map_err(|error| cannot_open(&error))?;
    Ok(Made { runtime, house, sockets, signals })
}

/// Another daemon serves. What can fail without the registry has failed before it is closed there.
fn take_over(config: &Config, handed: Handed, successor: &Successor) -> Result<Made, Stop> {
    enough()?;
    let shell = Shell::build(config, &search(), &[host_keys::ALWAYS]).map_err(|error| cannot_build(&error))?;
    let runtime = runtime()?;
    let sockets = runtime.block_on(Sockets::open(config, handed)).map_err(|error| cannot_open(&error))?;
    successor.prepared().map_err(|error| cannot_join(&error))?;
    let house = shell.furnish().map_err(|error| cannot_build(&error))?;
    let signals = signals(&runtime)?;
    Ok(Made { runtime, house, sockets, signals })
}

impl Made {
    fn serve(self, started_by: StartedBy, successor: Option<Successor>) -> Result<(), Stop> {
        let Self { runtime, house, sockets, signals } = self;
        let open = serve::Open::new(house, sockets).with_successors(started_by);
        let served = runtime.block_on(open.serve(successor, signals));
        // A question to a disk that does not answer must not keep the process.
        runtime.shutdown_timeout(LAST_QUESTIONS);
        Ok(served.map_err(|error| cannot_open(&error))?)
    }
}

/// What a daemon needs of its machine can be had.
pub(super) fn enough() -> Result<(), Fault> {
    means::enough().map_err(|error| Fault::new(Kind::Unavailable, error.to_string()).hint(error.hint()))
}

pub(super) fn runtime() -> Result<Runtime, Fault> {
    let hint = "raise what bounds its descriptors: `ulimit -n`, or `LimitNOFILE=` of its unit";
    means::runtime()
        .map_err(|error| Fault::new(Kind::Unavailable, format!("the daemon cannot begin: {error}")).hint(hint))
}

fn begin_log(config: &Config) {
    if log::start(config.log).is_err() {
        tracing::debug!("the log was started before");
    }
}
/// Why the doors stay closed.
pub(super) fn cannot_open(error: &serve::ServeError) -> Fault {
    Fault::new(Kind::Unavailable, error.to_string()).hint(error.hint())
}

/// The house of a config, with git from the search path of this process.
pub(super) fn build(config: &Config) -> Result<House, Fault> {
    House::build(config, &search()).map_err(|error| cannot_build(&error))
}

fn search() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn cannot_build(error: &BuildError) -> Fault {
    Fault::new(Kind::Unavailable, error.to_string()).hint(error.hint())
}

/// Has the daemon hear of signals, for as long as the runtime lasts. SIGTERM and SIGINT stop it; SIGHUP has it read its config
/// anew.
pub(super) fn signals(runtime: &Runtime) -> Result<Signals, Fault> {
    let _inside = runtime.enter();
    let listen =
        |kind| signal(kind).map_err(|error| Fault::new(Kind::Internal, format!("signals cannot be received: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hangup = listen(SignalKind::hangup())?;
    let signals = Signals::default();
    let told = signals.clone();
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => told.stop.cancel(),
                _ = interrupt.recv() => told.stop.cancel(),
                // A terminal that is closed, or a log rotation: no reason to cut clones.
                _ = hangup.recv() => told.hang_up(),
            }
        }
    });
    Ok(signals)
}
