//! The standard streams, and why a verb ends early.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::Serialize;

use super::table::table;
use crate::admin::fault::{Fault, Kind};
use crate::admin::{Done, Faults};

/// The standard streams of the program.
pub struct Io<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Results.
    pub out: &'a mut dyn Write,
    /// Text for people.
    pub err: &'a mut dyn Write,
    /// Whether there is a person to ask.
    pub interactive: bool,
    /// Whether standard output is a file that others can read: no place for a secret.
    pub out_is_open: bool,
}

impl fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("interactive", &self.interactive).finish_non_exhaustive()
    }
}

/// Whether this is a regular file that somebody else than its owner can read.
pub fn is_open_to_others(stream: &impl std::os::fd::AsFd) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
            && stat.st_mode & 0o077 != 0
    })
}

/// How a verb that changes something says what it did.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Json {
    /// Write JSON: {"message": …, "changed": …, "warnings": […], "notes": […]}
    #[arg(long)]
    pub(super) json: bool,
}

/// Why a verb ends early.
#[derive(Debug)]
pub enum Stop {
    /// It was not done.
    Faults(Faults),
    /// It was said already why; only the exit code is left.
    Said(Kind),
    /// Nobody reads any more, as behind `| head`: no reason to complain.
    NobodyReads,
}

impl<T: Into<Faults>> From<T> for Stop {
    fn from(faults: T) -> Self {
        Self::Faults(faults.into())
    }
}

/// A file or folder of the user's that cannot be read; one that is not there is told apart by its exit code.
pub(super) fn unreadable(place: &Path, error: &io::Error) -> Fault {
    let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
    Fault::new(kind, format!("{} cannot be read: {error}", place.display()))
}

/// All of a file, or of standard input for `-`; of at most 1 GiB, which is a million keys.
pub(super) fn read_all(place: &Path, io: &mut Io<'_>) -> Result<Vec<u8>, Stop> {
    const MOST: u64 = 1 << 30;
    let mut bytes = Vec::new();
    let read = match place == Path::new("-") {
        true => io.input.take(MOST + 1).read_to_end(&mut bytes),
        false => File::open(place).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)),
    };
    let read = read.map_err(|error| unreadable(place, &error).hint("name the file, or - for standard input"))?;
    if read as u64 > MOST {
        return Err(Fault::new(Kind::Invalid, format!("{} is larger than 1 GiB", place.display())).into());
    }
    Ok(bytes)
}

/// A write to one of the streams that failed.
pub(super) fn wrote(result: io::Result<()>) -> Result<(), Stop> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::NobodyReads),
        Err(error) => Err(Fault::new(Kind::Unavailable, format!("the output cannot be written: {error}")).into()),
    }
}

impl Io<'_> {
    /// A line of a result.
    pub(super) fn say(&mut self, line: impl fmt::Display) -> Result<(), Stop> {
        wrote(writeln!(self.out, "{line}").and_then(|()| self.out.flush()))
    }

    /// A line for a person.
    pub(super) fn tell(&mut self, line: impl fmt::Display) -> Result<(), Stop> {
        wrote(writeln!(self.err, "{line}"))
    }

    /// What a change did, and what to know beside it: a line for people, or one object for scripts.
    pub(super) fn done(&mut self, done: &Done, json: Json) -> Result<(), Stop> {
        if json.json {
            return self.json(done);
        }
        self.warn(done)?;
        self.say(&done.message)
    }

    /// What a change did that is none of the registry, and what comes next: two lines for people, in this order, or one
    /// object of the same shape for scripts.
    pub(super) fn did(&mut self, message: String, next: &str, json: Json) -> Result<(), Stop> {
        if json.json {
            let done = Done { message, changed: true, notes: vec![next.to_owned()], ..Done::default() };
            return self.json(&done);
        }
        self.say(message)?;
        self.tell(next)
    }

    /// A listing: all of it for scripts; for people a table, or a word when there is nothing.
    pub(super) fn listing<T: Serialize, const N: usize>(
        &mut self,
        (all, json): (&[T], bool),
        headings: [&str; N],
        row: impl Fn(&T) -> [String; N],
        nothing: impl fmt::Display,
    ) -> Result<(), Stop> {
        if json {
            return self.json(&all);
        }
        if all.is_empty() {
            return self.tell(nothing);
        }
        let rows: Vec<_> = all.iter().map(row).collect();
        table(headings, &rows).into_iter().try_for_each(|line| self.say(line))
    }

    /// What to know beside a change.
    pub(super) fn warn(&mut self, done: &Done) -> Result<(), Stop> {
        done.warnings.iter().try_for_each(|warning| self.tell(format_args!("warning: {warning}")))?;
        done.notes.iter().try_for_each(|note| self.tell(format_args!("note: {note}")))
    }

    /// A result for scripts.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Stop> {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.say(text),
            Err(error) => Err(Fault::new(Kind::Internal, format!("the result makes no JSON: {error}")).into()),
        }
    }
}
