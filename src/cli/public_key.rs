//! Reading a public key from a file or standard input.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::io::{Io, Stop, unreadable};
use crate::admin::fault::{Fault, Kind};
use crate::model::public_key::{KeyError, MAX_TEXT};

/// The text of a public key file, or of standard input for `-`. The service parses it; but what holds a private key goes no
/// further than here, not even over the machine's own socket.
pub(super) fn read(place: &Path, io: &mut Io<'_>) -> Result<String, Stop> {
    let bytes = match place == Path::new("-") {
        true => limited(io.input),
        false => File::open(place).and_then(|mut file| limited(&mut file)),
    };
    let bytes = bytes.map_err(|error| {
        unreadable(place, &error)
            .field("key")
            .hint("name the public half of the key, usually a .pub file, or - for standard input")
    })?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if text.contains("PRIVATE KEY") || text.contains("PuTTY-User-Key-File") {
        let public = place.with_added_extension("pub");
        let fault = Fault::new(Kind::Invalid, KeyError::Private.to_string()).field("key");
        return Err(match place != Path::new("-") && public.is_file() {
            true => fault.hint(format!("the public half is beside it: {}", public.display())).into(),
            false => fault.into(),
        });
    }
    Ok(text)
}

/// One byte more than a key can have, so that the service sees that it is too large.
fn limited(from: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(u64::try_from(MAX_TEXT).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
