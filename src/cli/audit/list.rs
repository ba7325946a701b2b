//! Reading records and showing those that are wanted.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::Limit;
use super::show;
use super::source::{Source, is_stdin, open, unreadable};
use crate::admin::fault::Fault;
use crate::audit::lines::{Backward, Forward};
use crate::audit::query::Query;
use crate::audit::{Event, Record};
use crate::cli::io::{Io, Stop};
use crate::model::text::printable;
use crate::registry;

/// How far records may stand from their order in time: somebody who decided has waited for a place in the queue.
const DISORDER: SignedDuration = SignedDuration::from_mins(5);

/// A look through records: what is wanted of them, and what was seen.
#[derive(Debug)]
pub(super) struct List<'a> {
    query: &'a Query,
    json: bool,
    /// How many records were shown.
    shown: u64,
    /// Lines that are no records.
    strange: u64,
    /// Records that do not name all that was changed and may be wanted for what they leave out, and one of them.
    open: u64,
    open_as: Option<Record>,
    /// Where the journal is that has those names, and what was found in it of the change with that number.
    registry: Option<PathBuf>,
    found: HashMap<u64, Vec<String>>,
    /// How far to read a file that grows.
    end: Option<(PathBuf, u64)>,
    /// Whether the time at which a file was last written says something: of files that were brought here it does not.
    own: bool,
}

impl<'a> List<'a> {
    pub(super) fn new(query: &'a Query, json: bool, source: &Source) -> Self {
        let (registry, found) = (source.registry.clone(), HashMap::new());
        Self { query, json, shown: 0, strange: 0, open: 0, open_as: None, registry, found, end: None, own: false }
    }

    /// Reads this file up to a byte only.
    pub(super) fn up_to(&mut self, path: &Path, end: u64) {
        self.end = Some((path.to_owned(), end));
    }

    fn end_of(&self, path: &Path) -> Option<u64> {
        self.end.as_ref().filter(|(bounded, _)| bounded == path).map(|(_, end)| *end)
    }

    /// Shows what there is.
    pub(super) fn all(&mut self, source: &Source, limit: Limit, io: &mut Io<'_>) -> Result<(), Stop> {
        self.own = source.live.is_some();
        match limit {
            Limit::All => self.forwards(&source.files, io),
            Limit::Last(count) => {
                let lines = self.last(&source.files, count, io)?;
                lines.iter().try_for_each(|line| self.show(line, io))
            }
        }
    }

    /// All that is wanted, file after file; holds one line at a time.
    fn forwards(&mut self, files: &[PathBuf], io: &mut Io<'_>) -> Result<(), Stop> {
        for path in files {
            if is_stdin(path) {
                // Read by one hand, written by the other.
                let Io { input, out, err, interactive, out_is_open } = io;
                let (interactive, out_is_open) = (*interactive, *out_is_open);
                let empty = &mut std::io::empty();
                let mut rest = Io { input: empty, out: &mut **out, err: &mut **err, interactive, out_is_open };
                self.stream(&mut **input, path, |list, line| list.show(line, &mut rest))?;
                continue;
            }
            let (file, _) = open(path)?;
            if !self.is_too_old(&file) {
                let end = self.end_of(path).unwrap_or(u64::MAX);
                self.stream(file.take(end), path, |list, line| list.show(line, io))?;
            }
        }
        Ok(())
    }

    /// Hands on every line of a source that is wanted.
    fn stream(
        &mut self,
        source: impl Read,
        path: &Path,
        mut take: impl FnMut(&mut Self, &[u8]) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut lines = Forward::new(source);
        while let Some(line) = lines.next_line().map_err(|error| unreadable(path, &error))? {
            if self.wants(line.bytes).is_some() {
                take(self, line.bytes)?;
            }
        }
        Ok(())
    }

    /// The last `count` that are wanted, oldest first: from the newest file back, as far as it takes.
    pub(super) fn last(&mut self, files: &[PathBuf], count: usize, io: &mut Io<'_>) -> Result<VecDeque<Vec<u8>>, Stop> {
        let mut found = VecDeque::new();
        for path in files.iter().rev() {
            if found.len() >= count {
                break;
            }
            let room = count - found.len();
            if is_stdin(path) {
                prepend(&mut found, self.last_of(&mut *io.input, path, room)?);
                continue;
            }
            match open(path)? {
                (file, None) => prepend(&mut found, self.last_of(file, path, room)?),
                (file, Some(_)) if self.is_too_old(&file) => {}
                (file, Some(length)) => {
                    let length = self.end_of(path).unwrap_or(length);
                    self.backwards(Backward::new(file, length), path, count, &mut found)?;
                }
            }
        }
        Ok(found)
    }

    /// The last of something that can only be read forwards.
    fn last_of(&mut self, source: impl Read, path: &Path, count: usize) -> Result<VecDeque<Vec<u8>>, Stop> {
        let mut found = VecDeque::new();
        self.stream(source, path, |_, line| {
            if found.len() == count {
                found.pop_front();
            }
            found.push_back(line.to_vec());
            Ok(())
        })?;
        Ok(found)
    }

    /// Adds what is wanted in front, until there are `count`, or nothing before can be young enough.
    fn backwards(
        &mut self,
        mut lines: Backward,
        path: &Path,
        count: usize,
        found: &mut VecDeque<Vec<u8>>,
    ) -> Result<(), Fault> {
        let since = self.query.since.and_then(|since| since.checked_sub(DISORDER).ok());
        while found.len() < count
            && let Some(line) = lines.next_line().map_err(|error| unreadable(path, &error))?
        {
            if self.wants(&line).is_some() {
                found.push_front(line);
            } else if since.is_some_and(|since| time_of(&line).is_some_and(|time| time < since)) {
                break;
            }
        }
        Ok(())
    }

    /// Whether a file was last written before anything that is wanted.
    fn is_too_old(&self, file: &std::fs::File) -> bool {
        let written = file.metadata().and_then(|meta| meta.modified()).ok();
        let written = written.and_then(|time| Timestamp::try_from(time).ok());
        let since = self.query.since.and_then(|since| since.checked_sub(DISORDER).ok());
        self.own && matches!((written, since), (Some(written), Some(since)) if written < since)
    }

    /// The record on a line, if it is wanted. What is no record is counted.
    pub(super) fn wants(&mut self, line: &[u8]) -> Option<Record> {
        if line.is_empty() || (!self.query.may_want(line) && line.starts_with(b"{\"v\":")) {
            return None;
        }
        match serde_json::from_slice::<Record>(line) {
            Ok(record) => {
                let wanted = self.query.wants(&record) || self.in_the_journal(&record);
                Some(record).filter(|_| wanted)
            }
            Err(_) => {
                self.strange += 1;
                None
            }
        }
    }

    /// Whether a record that leaves names out is wanted for one of those. Where the journal cannot say, that is told in the end.
    fn in_the_journal(&mut self, record: &Record) -> bool {
        if !self.query.leaves_open(record) {
            return false;
        }
        let Event::Changed { seq, first_seq, .. } = record.event else { return false };
        let wanted = |words: &str| self.query.names(words);
        let look = |dir: &PathBuf| registry::within(dir, first_seq.unwrap_or(seq), seq, &wanted).ok().flatten();
        match self.registry.as_ref().and_then(look) {
            Some(told) => {
                let is_there = !told.is_empty();
                self.found.insert(seq, told);
                is_there
            }
            None => {
                self.open += 1;
                self.open_as = Some(record.clone());
                false
            }
        }
    }

    /// Shows a line that is wanted.
    pub(super) fn show(&mut self, line: &[u8], io: &mut Io<'_>) -> Result<(), Stop> {
        self.shown += 1;
        if self.json {
            // JSON has its control characters escaped, and what is beyond them a terminal gets only from `--json`.
            return io.say(String::from_utf8_lossy(line));
        }
        match serde_json::from_slice::<Record>(line) {
            Ok(record) => {
                io.say(printable(&show::line(&record), usize::MAX))?;
                let seq = if let Event::Changed { seq, .. } = record.event { seq } else { 0 };
                let journal = self.found.get(&seq).map_or([].as_slice(), Vec::as_slice);
                let below = show::below(&record, self.query, journal);
                below.iter().try_for_each(|line| io.say(printable(line, usize::MAX)))
            }
            Err(_) => Ok(()),
        }
    }

    /// Says what was left out.
    pub(super) fn tell(&self, source: &Source, limit: Limit, said: bool, io: &mut Io<'_>) -> Result<(), Stop> {
        if self.strange > 0 {
            let what = if self.strange == 1 { "line is no record" } else { "lines are no records" };
            io.tell(format_args!("note: {} {what} of this version, and left out", self.strange))?;
        }
        if let Some(Record { id, event: Event::Changed { seq, details, .. }, .. }) = &self.open_as {
            let (which, left_out) = (self.open, details.left_out);
            io.tell(format_args!(
                "note: {which} record(s) of very many changes, such as {id} of change {seq}, leave out the names of some \
                 ({left_out} there), and no journal is here that has them: it may have been among them. `pullgate key show` \
                 says who added a key and when"
            ))?;
        }
        if let Some(newest) = source.packed.last() {
            let (count, newest) = (source.packed.len(), newest.display());
            io.tell(format_args!("note: not opened: {count} packed file(s); zcat {newest} | pullgate audit --file -"))?;
        }
        match limit {
            Limit::Last(count) if !said && self.shown >= count as u64 => {
                io.tell(format_args!("note: the last {count}; `-n all` shows all"))
            }
            Limit::Last(_) | Limit::All if self.shown == 0 && source.files.is_empty() => match &source.live {
                Some(live) => io.tell(format_args!("there is no audit file {} yet", live.display())),
                None => Ok(()),
            },
            Limit::Last(_) | Limit::All if self.shown == 0 && !self.json => io.tell("no record fits"),
            Limit::Last(_) | Limit::All => Ok(()),
        }
    }
}

fn prepend(found: &mut VecDeque<Vec<u8>>, before: VecDeque<Vec<u8>>) {
    before.into_iter().rev().for_each(|line| found.push_front(line));
}

/// The time of any record.
fn time_of(line: &[u8]) -> Option<Timestamp> {
    #[derive(serde::Deserialize)]
    struct Timed {
        time: Timestamp,
    }
    serde_json::from_slice::<Timed>(line).ok().map(|timed| timed.time)
}
