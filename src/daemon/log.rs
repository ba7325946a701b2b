//! The log: diagnostics for operators, on standard error. Decisions are in the audit file, not here.
//!
//! What is logged of a connection stands in its span, with a number, the client's address and, once it is logged in, its key;
//! and what is logged of a fetch in that one's, with the id that the client is shown. At `info` a gateway at work says nothing of
//! what goes well: a thousand clones a minute leave no line.
//!
//! A line that cannot be written, to a full disk or to a reader who left, is lost, and nothing else is.

use std::fmt;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// What can be set about the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What is less important is left out.
    pub level: Level,
    /// How lines are written.
    pub format: Format,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: Level::INFO, format: Format::Text }
    }
}

/// The log was started before.
#[derive(Debug, thiserror::Error)]
pub struct AlreadyStarted;

impl fmt::Display for AlreadyStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log was started before")
    }
}

/// Starts the log of this process.
///
/// # Errors
/// [`AlreadyStarted`]: a process has one log.
pub fn start(settings: Settings) -> Result<(), AlreadyStarted> {
    // The SSH library tells at `info` of each exchange of keys, outside of any span: a client could fill the log with that.
    let library = if settings.level == Level::INFO { Level::WARN } else { settings.level };
    let which = Targets::new().with_default(settings.level).with_target("russh", library);
    // Of a line that cannot be written it would complain on standard error, which is what cannot be written to, and panic.
    let log = tracing_subscriber::fmt()
        .with_max_level(settings.level)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match settings.format {
        Format::Text => log.with_ansi(false).finish().with(which).try_init(),
        Format::Json => log.json().finish().with(which).try_init(),
    }
    .map_err(|_| AlreadyStarted)
}
