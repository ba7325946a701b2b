//! `pullgate completions` and `pullgate man`: what a shell and `man` know of the command, made from the command itself.

use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::io::{Stop, wrote};
use super::{Cli, Context};
use crate::admin::fault::{Fault, Kind};

/// Print a completion script for a shell
///
/// Examples:
///   pullgate completions bash > /etc/bash_completion.d/pullgate
///   pullgate completions fish > ~/.config/fish/completions/pullgate.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        // Into memory first: the generator panics when it cannot write, as into a pipe that nobody reads.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "pullgate", &mut script);
        wrote(context.io.out.write_all(&script).and_then(|()| context.io.out.flush()))
    }
}

/// Write the manual pages, one for each verb, into a folder
///
/// Example:
///   pullgate man /usr/local/share/man/man1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Man {
    /// A folder that is there
    dir: PathBuf,
}

impl Man {
    pub(super) fn run(&self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let failed = |error: std::io::Error| {
            // As for any other place that is named and not there.
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let kind = if missing { Kind::NotFound } else { Kind::Unavailable };
            Fault::new(kind, format!("the manual cannot be written to {}: {error}", self.dir.display()))
                .hint("name a folder that is there and that you may write to")
        };
        clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), &self.dir).map_err(failed)?;
        context.io.say(format_args!("wrote the manual pages to {}", self.dir.display()))
    }
}

#[cfg(test)]
mod tests;
