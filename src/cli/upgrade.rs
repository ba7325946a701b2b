//! `pullgate upgrade`

use super::Context;
use super::io::{Json, Stop};
use super::session::{Session, stops};
use crate::front::control::protocol::Request;

/// Have a new process take the running daemon's place, while clones run on and nobody is refused
///
/// The daemon starts the program anew from its file, with the arguments that it has itself, and hands its sockets over. What
/// it has begun it brings to an end, within `drain_seconds`; what takes longer is cut. For a newer release that was put in the place of the program, and
/// for a change of the config that needs a restart. When the new process cannot take over, the old one serves on, and this says
/// why.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let session = context.session()?;
        // One that stops has closed its socket and its registry already.
        if matches!(session, Session::Local(..))
            && let Some(stops) = stops(&context.load()?)
        {
            return Err(stops.into());
        }
        let done = session.change(Request::Upgrade {})?;
        context.io.done(&done, self.json)
    }
}
