//! `pullgate key generate`

use std::path::PathBuf;

use super::add::About;
use super::hand_out::HandOut;
use super::secret::Pair;
use crate::admin::Faults;
use crate::admin::fault::{Fault, Kind};
use crate::cli::io::{Json, Stop};
use crate::cli::{Context, Session};
use crate::front::control::protocol::Request;

/// Make a new key pair and register its public half as a deploy key
///
/// The private key is made in this process and written once: to a new file, or to standard output. It is never sent
/// anywhere, stored by the gateway, or shown again.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    about: About,
    /// Write the private key to this new file (mode 0600) instead of standard output, and the public one to FILE.pub
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let session = context.session()?;
        let name = self.about.name();
        let pair = Pair::generate(&name)?;
        let request = self.about.request(pair.public.clone());
        let hand_out = HandOut { session: &session, pair, out: self.out, json: self.json, name: name.clone() };
        hand_out.run(request, context.io, |session| take_back(session, name))
    }
}

/// Removes a key again whose private half nobody got.
fn take_back(session: &Session, name: String) -> Stop {
    let lost = Fault::new(Kind::Unavailable, "the private key cannot be written to standard output");
    match session.change(Request::KeyRemove { key: name.clone() }) {
        Ok(_) => Stop::from(lost.hint("the key was removed from the registry again; use --out FILE")),
        Err(error) => {
            let left = lost.hint(format!("the key is useless: remove it with `pullgate key remove {name}`"));
            let mut all = vec![left];
            all.extend(Faults::from(error).list().iter().cloned());
            match Faults::check(all) {
                Err(faults) => Stop::Faults(faults),
                Ok(()) => Stop::Said(Kind::Unavailable),
            }
        }
    }
}
