//! `pullgate host-key next`

use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::cli::known_hosts::fault;
use crate::front::ssh::host_keys::rotation;

/// Make the next host keys; `known-hosts` prints them from now on, and they are not used yet
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let ssh = context.load()?.ssh;
        let keys = rotation::make_next(&ssh.host_keys, ssh.host_key_kinds).map_err(fault)?;
        let message = match keys.len() {
            1 => "1 next host key is there".to_owned(),
            keys => format!("{keys} next host keys are there"),
        };
        let note = "give every client the lines of `pullgate known-hosts`; then `pullgate host-key promote`";
        context.io.did(message, note, self.json)
    }
}
