//! `pullgate upgrade`

use super::Context;
use super::io::{Json, Stop};
use crate::front::control::protocol::Request;

/// Have a new process take the running daemon's place, without breaking a clone or refusing a connection
///
/// The daemon starts the program anew from its file, with the arguments that it has itself, and hands its sockets over. What
/// it has begun it brings to an end, within `drain_seconds`. For a newer release that was put in the place of the program, and
/// for a change of the config that needs a restart. When the new process cannot take over, the old one serves on, and this says
/// why.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let done = context.session()?.change(Request::Upgrade {})?;
        context.io.done(&done, self.json)
    }
}
