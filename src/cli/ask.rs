//! Asking a person.

use super::io::{Io, Stop, wrote};
use crate::admin::fault::{Fault, Kind};

/// The longest answer that is read, in bytes.
const LONGEST: usize = 100;

impl Io<'_> {
    /// Asks a question; only `y` or `yes` is one. The end of the input is a no.
    pub(super) fn confirm(&mut self, question: &str) -> Result<bool, Stop> {
        wrote(write!(self.err, "{question} [y/N] ").and_then(|()| self.err.flush()))?;
        let mut answer = Vec::new();
        let mut byte = [0];
        // Byte by byte: what is behind the line belongs to whoever reads next.
        while answer.len() < LONGEST {
            match self.input.read(&mut byte) {
                Ok(0) => break,
                Ok(_) if byte == *b"\n" => break,
                Ok(_) => answer.extend(byte),
                Err(error) => {
                    let fact = format!("the answer cannot be read: {error}");
                    return Err(Fault::new(Kind::Unavailable, fact).into());
                }
            }
        }
        let answer = String::from_utf8_lossy(&answer).trim().to_ascii_lowercase();
        Ok(answer == "y" || answer == "yes")
    }
}
