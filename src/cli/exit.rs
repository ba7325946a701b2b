//! Faults as text, and exit codes by kind.

use super::io::{Io, Stop, wrote};
use crate::admin::Faults;
use crate::admin::fault::{Fault, Kind};
use crate::daemon::config::ConfigError;
use crate::model::text::printable;

/// The table of exit codes, below every help text.
pub(super) const HELP: &str = "\
Exit codes:
  0  done, or so already      3  not found     5  denied
  1  a fault of pullgate      4  conflict      6  unavailable, try again
  2  wrong usage or value";

fn code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Internal => 1,
        Kind::Invalid => 2,
        Kind::NotFound => 3,
        Kind::Conflict => 4,
        Kind::Denied => 5,
        Kind::Unavailable => 6,
    }
}

/// Says what is left to say, and the exit code. The first fault decides about it.
pub(super) fn code(result: Result<(), Stop>, io: &mut Io<'_>) -> u8 {
    match result {
        Ok(()) | Err(Stop::NobodyReads) => 0,
        Err(Stop::Said(kind)) => code_of(kind),
        Err(Stop::Faults(faults)) => {
            // When nobody reads this either, the exit code still says it.
            drop(faults.list().iter().try_for_each(|fault| tell(fault, io)));
            code_of(faults.kind())
        }
    }
}

/// `error: field: fact`, and the hint below it. What came over a socket is made printable once more.
fn tell(fault: &Fault, io: &mut Io<'_>) -> Result<(), Stop> {
    let field = fault.field.as_ref().map(|field| format!("{}: ", printable(field, 100))).unwrap_or_default();
    io.tell(format_args!("error: {field}{}", printable(&fault.fact, 4000)))?;
    match &fault.hint {
        Some(hint) => io.tell(format_args!("  hint: {}", printable(hint, 4000))),
        None => Ok(()),
    }
}

/// What clap says: help and version are results, the rest is wrong usage.
pub(super) fn usage(error: &clap::Error, io: &mut Io<'_>) -> u8 {
    let text = error.render();
    if error.use_stderr() {
        drop(wrote(write!(io.err, "{text}")));
        return code_of(Kind::Invalid);
    }
    code(wrote(write!(io.out, "{text}").and_then(|()| io.out.flush())), io)
}

/// A configuration that is missing or wrong, fault by fault.
pub(super) fn config_faults(error: ConfigError) -> Faults {
    let fact = error.to_string();
    match error {
        ConfigError::NotFound(_) => Fault::new(Kind::NotFound, fact)
            .hint("name one with --config, or write one with `pullgate init DIR`")
            .into(),
        ConfigError::Unreadable { .. } => Fault::new(Kind::Unavailable, fact)
            .hint("name another one with --config, or write one with `pullgate init DIR`")
            .into(),
        ConfigError::Faults { file, faults } => {
            let faults = faults.into_iter().map(|fault| {
                Fault::new(Kind::Invalid, fault.fact)
                    .field(format!("{}: {}", file.display(), fault.key))
                    .hint(fault.remedy)
            });
            match Faults::check(faults.collect()) {
                Err(faults) => faults,
                Ok(()) => Fault::new(Kind::Internal, fact).into(),
            }
        }
    }
}
