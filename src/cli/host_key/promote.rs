//! `pullgate host-key promote`

use crate::admin::fault::{Fault, Kind};
use crate::cli::Context;
use crate::cli::io::{Json, Stop};
use crate::cli::known_hosts::fault;
use crate::front::ssh::host_keys::rotation;

/// Use the next host keys from the daemon's next start or SIGHUP on, and retire those in use
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let ssh = context.load()?.ssh;
        match rotation::promote(&ssh.host_keys).map_err(fault)? {
            0 => Err(Fault::new(Kind::NotFound, "there are no next host keys")
                .hint("make them with `pullgate host-key next`, and give clients the lines of `pullgate known-hosts`")
                .into()),
            count => {
                let note = "start the daemon again, or send it SIGHUP; clients that know only the retired keys refuse it from then on";
                context.io.did(format!("{count} host keys are replaced"), note, self.json)
            }
        }
    }
}
