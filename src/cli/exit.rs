//! Faults as text, and exit codes by kind.

use std::ffi::OsString;

use clap::CommandFactory as _;
use serde::Serialize;

use super::Cli;
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

/// How faults are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// In lines for people.
    Text,
    /// An object on a line of its own for each, still on standard error: the command was asked for JSON.
    Json,
}

impl Told {
    /// By the command line itself: one that cannot be parsed has faults too.
    pub(super) fn by(args: &[OsString]) -> Self {
        let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
        if json { Self::Json } else { Self::Text }
    }
}

/// A fault behind `--json`.
#[derive(Serialize)]
struct ErrorLine<'a> {
    error: ErrorView<'a>,
}

#[derive(Serialize)]
struct ErrorView<'a> {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    message: &'a str,
    hint: &'a str,
}

/// Says what is left to say, and the exit code. The first fault decides about it.
pub(super) fn code(result: Result<(), Stop>, args: &[OsString], io: &mut Io<'_>) -> u8 {
    match result {
        Ok(()) | Err(Stop::NobodyReads) => 0,
        Err(Stop::Said(kind)) => code_of(kind),
        Err(Stop::Faults(faults)) => {
            // When nobody reads this either, the exit code still says it.
            drop(faults.list().iter().try_for_each(|fault| tell(fault, args, io)));
            code_of(faults.kind())
        }
    }
}

/// `error: field: fact`, and the hint below it. What came over a socket is made printable once more.
fn tell(fault: &Fault, args: &[OsString], io: &mut Io<'_>) -> Result<(), Stop> {
    if Told::by(args) == Told::Json {
        let (field, hint) = (fault.field.as_deref(), fault.hint.clone().unwrap_or_else(|| general(fault.kind, args)));
        let hint = hint.as_str();
        let line = ErrorLine { error: ErrorView { kind: fault.kind, field, message: &fault.fact, hint } };
        // Two texts and a word: that these make no JSON cannot be, and would be told as to people.
        if let Ok(line) = serde_json::to_string(&line) {
            return io.tell(line);
        }
    }
    let field = fault.field.as_ref().map(|field| format!("{}: ", printable(field, 100))).unwrap_or_default();
    io.tell(format_args!("error: {field}{}", printable(&fault.fact, 4000)))?;
    match &fault.hint {
        Some(hint) => io.tell(format_args!("  hint: {}", printable(hint, 4000))),
        None => Ok(()),
    }
}

/// What helps with any fault of a kind, where the fact says all that there is about this one. A script has a hint in each fault.
fn general(kind: Kind, args: &[OsString]) -> String {
    match kind {
        Kind::Invalid => format!("`{} --help` says what it takes", verb(args)),
        Kind::NotFound => {
            "`pullgate account list`, `key list`, `group list` and `repo list` say what there is".to_owned()
        }
        Kind::Conflict | Kind::Denied | Kind::Unavailable => {
            "`pullgate check` looks at the whole installation".to_owned()
        }
        Kind::Internal => "this is a fault of pullgate: whoever mends it needs the log of the daemon".to_owned(),
    }
}

/// What clap says: help and version are results, the rest is wrong usage, told as other faults are.
pub(super) fn usage(error: &clap::Error, args: &[OsString], io: &mut Io<'_>) -> u8 {
    let told = Told::by(args);
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let text = error.render().to_string();
    if !error.use_stderr() {
        return code(wrote(write!(io.out, "{text}").and_then(|()| io.out.flush())), args, io);
    }
    let hint = format!("`{} --help` says what there is", verb(args));
    let fact = match (error.kind(), text.strip_prefix("error: ")) {
        // Help in the place of an error: it has all that a hint could say.
        (DisplayHelpOnMissingArgumentOrSubcommand, _) | (_, None) if told == Told::Text => {
            drop(wrote(write!(io.err, "{text}")));
            return code_of(Kind::Invalid);
        }
        (DisplayHelpOnMissingArgumentOrSubcommand, _) | (_, None) => "a verb is missing",
        (_, Some(rest)) => rest.split("\n\nFor more information").next().unwrap_or(rest).trim_end(),
    };
    if told == Told::Json {
        // The fault alone; how the verb is used is what the hint leads to.
        let fact = fact.split("\n\nUsage:").next().unwrap_or(fact).split_whitespace().collect::<Vec<_>>().join(" ");
        return code(Err(Fault::new(Kind::Invalid, fact).hint(hint).into()), args, io);
    }
    drop(wrote(writeln!(io.err, "error: {fact}\n\n  hint: {hint}")));
    code_of(Kind::Invalid)
}

/// The words of the verb that was meant: as many as there are.
fn verb(args: &[OsString]) -> String {
    let (mut command, mut words) = (Cli::command(), "pullgate".to_owned());
    for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        if let Some(below) = command.find_subcommand(arg) {
            words.push(' ');
            words.push_str(below.get_name());
            command = below.clone();
        }
    }
    words
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
