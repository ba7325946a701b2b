//! Registering a key that was made here, and giving its private half to whoever asked.

use std::path::PathBuf;

use serde::Serialize;

use super::secret::{NewFile, Pair};
use crate::admin::Done;
use crate::admin::fault::{Fault, Kind};
use crate::cli::Session;
use crate::cli::io::{Io, Json, Stop, wrote};
use crate::front::control::client::CallError;
use crate::front::control::protocol::Request;

/// What is said behind `--json`.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    done: &'a Done,
    public_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key_file: Option<String>,
}

/// A new pair on its way to its owner.
pub(super) struct HandOut<'a> {
    pub(super) session: &'a Session,
    pub(super) pair: Pair,
    /// The new file that the private half goes to; none: standard output.
    pub(super) out: Option<PathBuf>,
    pub(super) json: Json,
    /// The key to look for when it is not known whether it was registered.
    pub(super) name: String,
}

impl HandOut<'_> {
    /// Registers it and hands it out. `lost` says what is done about a key that was registered and whose private half
    /// nobody got.
    pub(super) fn run(
        self,
        request: Request,
        io: &mut Io<'_>,
        lost: impl FnOnce(&Session) -> Stop,
    ) -> Result<(), Stop> {
        let Self { session, pair, out, json, name } = self;
        let told = |done, private_key, [private_key_file, public_key_file]: [Option<String>; 2]| Told {
            done,
            public_key: &pair.public,
            private_key,
            private_key_file,
            public_key_file,
        };
        let Some(path) = out else {
            if io.out_is_open {
                // Before anything is registered: ssh would not use such a key either.
                return Err(Fault::new(
                    Kind::Invalid,
                    "standard output is a file that others can read, and no place for a private key",
                )
                .hint("name the file with --out FILE, or say `umask 077` first")
                .into());
            }
            let done = session.change(request)?;
            if json.json {
                return io.json(&told(&done, Some(&pair.private), [None, None])).map_err(|_| lost(session));
            }
            io.warn(&done)?;
            return match wrote(write!(io.out, "{}", *pair.private).and_then(|()| io.out.flush())) {
                Ok(()) => io.tell(&done.message),
                Err(_) => Err(lost(session)),
            };
        };
        // The file comes first: a key whose private half cannot be written must not be registered.
        let file = NewFile::write(&path, &pair.private)?;
        let (beside, public) = NewFile::beside(&path, &pair.public)?;
        match session.change(request) {
            Ok(done) => {
                file.keep();
                public.keep();
                if json.json {
                    let files = [&path, &beside].map(|path| Some(path.display().to_string()));
                    return io.json(&told(&done, None, files));
                }
                io.done(&done, json)?;
                io.say(format_args!("wrote the private key to {}, and the public one beside it (.pub)", path.display()))
            }
            Err(CallError::Lost(fault)) => {
                file.keep();
                public.keep();
                Err(Fault { hint: None, ..fault }
                    .hint(format!(
                        "whether the key was registered is not known: look with `pullgate key show {name}`; its private \
                         key is in {}",
                        path.display()
                    ))
                    .into())
            }
            Err(CallError::Refused(faults)) => Err(Stop::Faults(faults)),
        }
    }
}
