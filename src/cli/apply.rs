//! `pullgate apply`

use std::path::PathBuf;

use serde::Serialize;

use super::declared::{Declared, current};
use super::io::{Stop, wrote};
use super::plan::{Action, Line, plan};
use super::{Context, Session};
use crate::admin::fault::{Fault, Kind};
use crate::front::control::protocol::Request;
use crate::model::text::printable;
use crate::registry::MAX_COMMIT;
use crate::registry::change::Change;

/// How large a part is, in bytes of JSON.
const PART: usize = 8 * 1024 * 1024;

/// Make the registry what a file says: accounts, groups, keys and grants
///
/// The file is TOML, as `pullgate export` writes it. The difference is shown first; then all of it is done in one transaction.
/// Doing it twice changes nothing. Without --prune nothing is taken away.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file
    file: PathBuf,
    /// Only show the difference
    #[arg(long)]
    dry_run: bool,
    /// Take away what is not in the file
    #[arg(long)]
    prune: bool,
    /// Commit a difference that is too large for one transaction in parts; when it stops, run it again
    #[arg(long)]
    in_parts: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Outcome<'a> {
    changes: &'a [Line],
    /// Only of an import.
    #[serde(skip_serializing_if = "<[Skipped]>::is_empty")]
    skipped: &'a [Skipped],
    applied: bool,
}

/// What an import left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Skipped {
    place: String,
    why: String,
}

impl Skipped {
    pub(super) fn new(place: &str, why: &str) -> Self {
        Self { place: printable(place, 200), why: printable(why, 400) }
    }
}

/// How a declaration is carried out.
#[derive(Debug)]
pub(super) struct Apply {
    pub(super) prune: bool,
    pub(super) dry_run: bool,
    pub(super) in_parts: bool,
    pub(super) json: bool,
    pub(super) skipped: Vec<Skipped>,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let want = self.read()?;
        let session = context.session()?;
        let have = current(&session)?;
        let Self { prune, dry_run, in_parts, json, .. } = self;
        Apply { prune, dry_run, in_parts, json, skipped: Vec::new() }.run(&have, &want, &session, context)
    }

    fn read(&self) -> Result<Declared, Stop> {
        let file = self.file.display();
        let unreadable = |error: std::io::Error| {
            let kind = if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
            Fault::new(kind, format!("{file} cannot be read: {error}"))
        };
        let text = std::fs::read_to_string(&self.file).map_err(unreadable)?;
        Declared::parse(&text).map_err(|why| {
            Fault::new(Kind::Invalid, format!("{file}, {why}"))
                .hint("`pullgate export` shows what such a file looks like")
                .into()
        })
    }
}

impl Apply {
    /// Shows the difference, and closes it.
    pub(super) fn run(
        &self,
        have: &Declared,
        want: &Declared,
        session: &Session,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Stop> {
        let policy = context.load()?.keys;
        let plan = plan(have, want, self.prune, &policy)?;
        if !self.json {
            show(&plan.lines, context)?;
            for Skipped { place, why } in &self.skipped {
                context.io.tell(format_args!("left out: {place}: {why}"))?;
            }
        }
        let applied = !self.dry_run && !plan.changes.is_empty();
        if applied {
            self.commit(plan.changes, session, context)?;
        }
        match self.json {
            true => context.io.json(&Outcome { changes: &plan.lines, skipped: &self.skipped, applied }),
            false if applied => context.io.say("Applied."),
            false => Ok(()),
        }
    }

    fn commit(&self, changes: Vec<Change>, session: &Session, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let sized = changes
            .into_iter()
            .map(|change| (serde_json::to_vec(&change).map_or(MAX_COMMIT, |json| json.len() + 1), change));
        let sized: Vec<(usize, Change)> = sized.collect();
        let size: usize = sized.iter().map(|(size, _)| size + 1).sum();
        if size < MAX_COMMIT {
            session.change(Request::Apply { changes: sized.into_iter().map(|(_, change)| change).collect() })?;
            return Ok(());
        }
        if !self.in_parts {
            let fact =
                format!("the difference is {size} bytes, and at most {MAX_COMMIT} can be done in one transaction");
            return Err(Fault::new(Kind::Invalid, fact)
                .hint("say --in-parts: each part is done as a whole, and when it stops, the same command goes on")
                .into());
        }
        let all = sized.len();
        let (mut part, mut bytes, mut done) = (Vec::new(), 0, 0);
        for (size, change) in sized {
            if bytes + size > PART && !part.is_empty() {
                done += part.len();
                session.change(Request::Apply { changes: std::mem::take(&mut part) })?;
                progress(done, all, context)?;
                bytes = 0;
            }
            bytes += size;
            part.push(change);
        }
        session.change(Request::Apply { changes: part })?;
        progress(all, all, context)?;
        wrote(writeln!(context.io.err))
    }
}

/// A bar that fills up.
fn progress(done: usize, all: usize, context: &mut Context<'_, '_>) -> Result<(), Stop> {
    const WIDTH: usize = 40;
    let filled = done.saturating_mul(WIDTH) / all.max(1);
    let bar = format!("[{}{}] {done} of {all} changes", "#".repeat(filled), ".".repeat(WIDTH - filled));
    wrote(write!(context.io.err, "\r{bar}").and_then(|()| context.io.err.flush()))
}

fn show(lines: &[Line], context: &mut Context<'_, '_>) -> Result<(), Stop> {
    let count = |action| lines.iter().filter(|line| line.action == action).count();
    for line in lines {
        let mark = match line.action {
            Action::Add => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        context.io.say(format_args!("{mark} {} {}", line.kind, line.name))?;
        for detail in &line.details {
            context.io.say(format_args!("    {detail}"))?;
        }
    }
    if lines.is_empty() {
        return context.io.say("No changes: the registry is what the file says.");
    }
    let (add, change, remove) = (count(Action::Add), count(Action::Change), count(Action::Remove));
    context.io.say(format_args!("Plan: {add} to add, {change} to change, {remove} to remove."))
}
