//! `pullgate host-key list`

use russh::keys::{HashAlg, PublicKey};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::io::Stop;
use crate::cli::known_hosts::fault;
use crate::front::ssh::host_keys::{self, rotation};

/// List the host keys: in use, next, and retired
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    state: &'static str,
    algorithm: String,
    fingerprint: String,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let ssh = context.load()?.ssh;
        let (folder, kinds) = (&ssh.host_keys, ssh.host_key_kinds);
        let mut rows = rows("in use", host_keys::public_keys(folder, kinds).map_err(fault)?);
        rows.extend(self::rows("next", rotation::next_keys(folder, kinds).map_err(fault)?));
        rows.extend(self::rows("retired", rotation::retired_keys(folder).map_err(fault)?));
        if self.json {
            return context.io.json(&rows);
        }
        rows.iter().try_for_each(|row| {
            context.io.say(format_args!("{:8} {:20} {}", row.state, row.algorithm, row.fingerprint))
        })
    }
}

fn rows(state: &'static str, keys: Vec<PublicKey>) -> Vec<Row> {
    let row = |key: PublicKey| Row {
        state,
        algorithm: key.algorithm().to_string(),
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
    };
    keys.into_iter().map(row).collect()
}
