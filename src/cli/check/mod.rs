//! `pullgate check`: everything that can be found wrong, at once, each with a remedy.
//!
//! A new look at something is a function in [`LOOKS`].

mod chain;
mod clocks;
mod files;
mod git;
mod grants;
mod host_keys;
mod keys;
mod pages;
mod ports;
mod registry;
mod repositories;
mod sandbox;

use serde::Serialize;

use super::exit;
use super::io::Stop;
use super::{Context, locate};
use crate::admin::fault::Kind;
use crate::daemon::config::{Config, ConfigError, ENVIRONMENT};

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Severity {
    /// As it should be.
    Ok,
    /// As it may be, and worth knowing.
    Notice,
    /// It works, and should be otherwise.
    Warning,
    /// It does not work, or is not safe.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    severity: Severity,
    /// The config key or the thing that is meant.
    subject: String,
    fact: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(subject: &str, fact: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, subject: subject.to_owned(), fact: fact.into(), remedy: None }
    }

    fn notice(subject: &str, fact: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Notice, remedy: Some(remedy.into()), ..Self::ok(subject, fact) }
    }

    fn warning(subject: &str, fact: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, remedy: Some(remedy.into()), ..Self::ok(subject, fact) }
    }

    fn error(subject: &str, fact: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Error, remedy: Some(remedy.into()), ..Self::ok(subject, fact) }
    }
}

/// Everything that is looked at once the config is read.
const LOOKS: &[fn(&Config) -> Vec<Finding>] = &[
    files::config_file,
    files::state_dir,
    files::state_room,
    files::store_root,
    repositories::shape,
    files::host_keys,
    host_keys::gone,
    host_keys::readable,
    host_keys::announced,
    files::audit_to,
    files::audit_file,
    files::audit_key,
    chain::holds,
    files::control_socket,
    clocks::agree,
    ports::listen,
    ports::announced,
    ports::announced_port,
    git::serves,
    registry::opens,
    registry::journal,
];

/// Look for everything that is wrong with this installation
///
/// Exits with 2 when there are errors; warnings and notices alone are no failure.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let file = locate(context.config.as_deref(), std::env::var_os(ENVIRONMENT)).map_err(exit::config_faults)?;
        let findings = match Config::load(&file) {
            Ok(config) => {
                let read = Finding::ok("config", format!("{} is well formed", config.file.display()));
                std::iter::once(read).chain(LOOKS.iter().flat_map(|look| look(&config))).collect()
            }
            Err(error) => config_findings(error),
        };
        if self.json {
            context.io.json(&findings)?;
        } else {
            findings.iter().try_for_each(|finding| show(finding, context))?;
        }
        match findings.iter().any(|finding| finding.severity == Severity::Error) {
            true => Err(Stop::Said(Kind::Invalid)),
            false => Ok(()),
        }
    }
}

fn config_findings(error: ConfigError) -> Vec<Finding> {
    let faults = exit::config_faults(error);
    let finding = |fault: &crate::admin::fault::Fault| Finding {
        severity: Severity::Error,
        subject: "config".to_owned(),
        fact: fault.field.as_ref().map_or_else(|| fault.fact.clone(), |field| format!("{field}: {}", fault.fact)),
        remedy: fault.hint.clone(),
    };
    faults.list().iter().map(finding).collect()
}

fn show(finding: &Finding, context: &mut Context<'_, '_>) -> Result<(), Stop> {
    let severity = match finding.severity {
        Severity::Ok => "ok",
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    context.io.say(format_args!("{severity:7}  {}: {}", finding.subject, finding.fact))?;
    match &finding.remedy {
        Some(remedy) => context.io.say(format_args!("           {remedy}")),
        None => Ok(()),
    }
}
