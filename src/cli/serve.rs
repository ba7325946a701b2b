//! `pullgate serve`

use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use super::io::Stop;
use crate::admin::fault::{Fault, Kind};
use crate::daemon::config::Config;
use crate::daemon::house::House;
use crate::daemon::{log, serve};

/// Run the gateway until SIGTERM or Ctrl-C
///
/// What runs when it is told to stop may finish, for `drain_seconds` in section `limits`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let config = context.load()?;
        if log::start(config.log).is_err() {
            tracing::debug!("the log was started before");
        }
        let house = build(&config)?;
        let runtime = tokio::runtime::Runtime::new()
            .map_err(|error| Fault::new(Kind::Unavailable, format!("no threads can be started: {error}")))?;
        runtime.block_on(async {
            // Before the doors are open: a signal that comes at once is not lost.
            let stop = stop_signal()?;
            let open = serve::open(house)
                .await
                .map_err(|error| Fault::new(Kind::Unavailable, error.to_string()).hint(error.hint()))?;
            open.serve(stop).await;
            Ok(())
        })
    }
}

/// The house of a config, with git from the search path of this process.
pub(super) fn build(config: &Config) -> Result<House, Fault> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    House::build(config, &search).map_err(|error| Fault::new(Kind::Unavailable, error.to_string()).hint(error.hint()))
}

/// Completes at SIGTERM or SIGINT.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, Fault> {
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
                _ = hangup.recv() => tracing::warn!("SIGHUP is ignored: a changed config is read at the next start"),
            }
        }
    })
}
