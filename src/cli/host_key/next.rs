//! `pullgate host-key next`

use crate::cli::Context;
use crate::cli::io::Stop;
use crate::cli::known_hosts::fault;
use crate::front::ssh::host_keys::rotation;

/// Make the next host keys; `known-hosts` prints them from now on, and they are not used yet
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let ssh = context.load()?.ssh;
        let keys = rotation::make_next(&ssh.host_keys, ssh.host_key_kinds).map_err(fault)?;
        context.io.say(format_args!("{} next host keys are there", keys.len()))?;
        context.io.tell("give every client the lines of `pullgate known-hosts`; then `pullgate host-key promote`")
    }
}
