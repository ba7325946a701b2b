//! `pullgate serve`

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use super::io::Stop;
use crate::admin::fault::{Fault, Kind};
use crate::daemon::config::{Config, ConfigError};
use crate::daemon::house::House;
use crate::daemon::reload::Reloader;
use crate::daemon::{log, serve, service};

/// How long what still waits for a disk may take when all else has ended.
const LAST_QUESTIONS: Duration = Duration::from_secs(2);

/// Run the gateway until SIGTERM or Ctrl-C
///
/// What runs when it is told to stop may finish, for `drain_seconds` in section `limits`. SIGHUP has it read its config and its
/// host keys once more, for connections from then on, and open the audit file anew, as log rotation wants it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let config = context.load()?;
        if log::start(config.log).is_err() {
            tracing::debug!("the log was started before");
        }
        // Before any thread.
        let inherited =
            service::inherited().map_err(serve::ServeError::Inherited).map_err(|error| cannot_open(&error))?;
        let house = build(&config)?;
        let runtime = tokio::runtime::Runtime::new()
            .map_err(|error| Fault::new(Kind::Unavailable, format!("no threads can be started: {error}")))?;
        let served = runtime.block_on(async {
            // Before the doors are open: a signal that comes at once is not lost.
            let reloader = house.reloader();
            let config = config.file.clone();
            let stop = stop_signal(move || {
                let (reloader, config) = (Arc::clone(&reloader), config.clone());
                // It reads files, and may wait for a disk.
                drop(tokio::task::spawn_blocking(move || reload(&reloader, &config)));
            })?;
            let open = serve::open(house, inherited).await.map_err(|error| cannot_open(&error))?;
            open.serve(stop).await;
            Ok(())
        });
        // A question to a disk that does not answer must not keep the process.
        runtime.shutdown_timeout(LAST_QUESTIONS);
        served
    }
}

/// Why the doors stay closed.
pub(super) fn cannot_open(error: &serve::ServeError) -> Fault {
    Fault::new(Kind::Unavailable, error.to_string()).hint(error.hint())
}

/// The house of a config, with git from the search path of this process.
pub(super) fn build(config: &Config) -> Result<House, Fault> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    House::build(config, &search).map_err(|error| Fault::new(Kind::Unavailable, error.to_string()).hint(error.hint()))
}

/// Takes over what has changed in the config file, and says so in the log.
fn reload(reloader: &Reloader, file: &Path) {
    service::reloading();
    take_over(reloader, file);
    service::ready();
}

fn take_over(reloader: &Reloader, file: &Path) {
    match reloader.reopen() {
        Ok(()) => tracing::info!("SIGHUP: the audit file was opened anew"),
        Err(error) => {
            tracing::error!(%error, "SIGHUP: the audit file cannot be opened anew, and the old one is written on")
        }
    }
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            if let ConfigError::Faults { faults, .. } = &error {
                faults.iter().for_each(|fault| tracing::error!(%fault, "a fault in the config"));
            }
            reloader.note(false);
            return tracing::error!(%error, "SIGHUP: the config cannot be read, and the old one stays; see `pullgate check`");
        }
    };
    let reloaded = reloader.reload(&config);
    reloader.note(reloaded.is_ok());
    match reloaded {
        Ok(later) if later.is_empty() => tracing::info!("SIGHUP: config and host keys were read anew"),
        Ok(later) => {
            let later = later.join(", ");
            tracing::warn!(later, "SIGHUP: config and host keys were read anew; some of what changed needs a restart");
        }
        Err(error) => tracing::error!(%error, "SIGHUP: the old config and host keys stay"),
    }
}

/// Completes at SIGTERM or SIGINT; what is to be done at SIGHUP is done in between.
pub(super) fn stop_signal(at_hangup: impl Fn()) -> Result<impl Future<Output = ()>, Fault> {
    let listen =
        |kind| signal(kind).map_err(|error| Fault::new(Kind::Internal, format!("signals cannot be received: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                // A terminal that is closed, or a log rotation: no reason to cut clones.
                _ = hangup.recv() => at_hangup(),
            }
        }
    })
}
