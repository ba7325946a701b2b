//! `pullgate apply`

use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::declared::{Declared, current};
use super::io::{Io, Stop, read_all};
use super::plan::{Action, Line, Plan, plan};
use super::{Context, Session};
use crate::admin::fault::{Fault, Kind};
use crate::model::text::printable;
use crate::registry::change::Change;

/// From how many changes on a bar is shown.
const MANY: usize = 1000;
/// How many names of what goes are shown before the question.
const NAMED: usize = 20;

/// Make the registry what a file says: accounts, groups, keys and grants
///
/// The file is TOML, as `pullgate export` writes it. The difference is shown first; then all of it is done in one transaction.
/// Doing it twice changes nothing. Without --prune nothing is taken away.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file, or - for standard input
    file: PathBuf,
    /// Only show the difference
    #[arg(long)]
    dry_run: bool,
    /// Take away what is not in the file; asks first
    #[arg(long)]
    prune: bool,
    /// Take it away without asking
    #[arg(long)]
    yes: bool,
    /// Write JSON: {"changes": […], "applied": …}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Outcome<'a> {
    changes: &'a [Line],
    /// Only of an import.
    #[serde(skip_serializing_if = "<[Skipped]>::is_empty")]
    skipped: &'a [Skipped],
    /// Likewise.
    #[serde(skip_serializing_if = "<[Dropped]>::is_empty")]
    dropped_options: &'a [Dropped],
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

    /// For people.
    pub(super) fn tell(&self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        context.io.tell(format_args!("left out: {}: {}", self.place, self.why))
    }
}

/// An option of lines that an import took without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Dropped {
    pub(super) option: String,
    pub(super) why: String,
    /// Where it was first.
    pub(super) place: String,
    /// How many more lines have it.
    pub(super) more: u64,
}

/// How a declaration is carried out.
#[derive(Debug)]
pub(super) struct Apply {
    /// The declaration is of the whole registry, and not of some keys.
    pub(super) whole: bool,
    pub(super) prune: bool,
    pub(super) dry_run: bool,
    pub(super) yes: bool,
    pub(super) json: bool,
    /// What is not in the declaration, to be told with the difference.
    pub(super) skipped: Vec<Skipped>,
    /// What was in it and is not carried over, likewise.
    pub(super) dropped: Vec<Dropped>,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let bar = bar(context, "reading the file");
        let want = self.read(context.io)?;
        let session = context.session()?;
        bar.set_message("asking for what is there");
        let have = current(&session)?;
        bar.finish_and_clear();
        let Self { dry_run, prune, yes, json, .. } = self;
        Apply { whole: true, prune, dry_run, yes, json, skipped: Vec::new(), dropped: Vec::new() }
            .run(have, want, &session, context)
    }

    fn read(&self, io: &mut Io<'_>) -> Result<Declared, Stop> {
        let file = self.file.display();
        let text = String::from_utf8(read_all(&self.file, io)?)
            .map_err(|_| Fault::new(Kind::Invalid, format!("{file} is not UTF-8, as TOML has to be")))?;
        Declared::parse(&text).map_err(|why| {
            Fault::new(Kind::Invalid, format!("{file}, {why}"))
                .hint("`pullgate export` shows what such a file looks like")
                .into()
        })
    }
}

impl Apply {
    /// Shows the difference, asks if something goes, and closes it.
    pub(super) fn run(
        &self,
        have: Declared,
        want: Declared,
        session: &Session,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Stop> {
        let policy = context.load()?.keys;
        let Plan { lines, changes, .. } = plan(&have, &want, self.prune, &policy)?;
        let stays = lines.is_empty()
            && !self.json
            && self.whole
            && !self.prune
            && plan(&have, &want, true, &policy).map_or(true, |more| !more.lines.is_empty());
        // With a million keys each of them counts.
        drop((have, want));
        if !self.json {
            show(&lines, self.skipped.len(), stays, context)?;
            self.skipped.iter().try_for_each(|skipped| skipped.tell(context))?;
            for Dropped { option, why, place, more } in &self.dropped {
                let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
                context.io.tell(format_args!("not carried over: {option} of {place}{more}: {why}"))?;
            }
        }
        let applied = !self.dry_run && !changes.is_empty();
        if applied {
            self.agreed(&lines, context)?;
        }
        if !changes.is_empty() {
            // A plan that cannot be carried out is told so before anybody relies on it.
            commit(changes, self.dry_run, session, context)?;
        }
        match self.json {
            true => context.io.json(&Outcome {
                changes: &lines,
                skipped: &self.skipped,
                dropped_options: &self.dropped,
                applied,
            }),
            false if applied => context.io.say("Applied."),
            false => Ok(()),
        }
    }

    /// Asks before anything is taken away.
    fn agreed(&self, lines: &[Line], context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let going: Vec<String> = lines.iter().filter_map(going).collect();
        if going.is_empty() || self.yes {
            return Ok(());
        }
        let first = going.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = match going.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let fact = format!("this takes away: {first}{more}");
        if !context.io.interactive {
            return Err(Fault::new(Kind::Conflict, fact).hint("it is in force at once: say --yes to do it").into());
        }
        context.io.tell(fact)?;
        if context.io.confirm("It is in force at once. Apply all of it?")? {
            return Ok(());
        }
        context.io.tell("nothing was changed")?;
        Err(Stop::Said(Kind::Conflict))
    }
}

/// What a line of the difference takes away.
fn going(line: &Line) -> Option<String> {
    let less: Vec<&str> = line.details.iter().filter_map(|detail| detail.strip_prefix("- ")).collect();
    match (line.action, less.is_empty()) {
        (Action::Remove, _) => Some(format!("{} {}", line.kind, line.name)),
        (Action::Add | Action::Change, true) => None,
        (Action::Add | Action::Change, false) => Some(format!("{} of {} {}", less.join(", "), line.kind, line.name)),
    }
}

fn commit(changes: Vec<Change>, dry_run: bool, session: &Session, context: &Context<'_, '_>) -> Result<(), Stop> {
    let all = changes.len();
    if all < MANY {
        session.apply(changes, dry_run, |_| {})?;
        return Ok(());
    }
    let bar = bar(context, "");
    bar.set_length(u64::try_from(all).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {bar:30} {pos} of {len} changes {msg}") {
        bar.set_style(style);
    }
    bar.set_message("handed over");
    let done = session.apply(changes, dry_run, |sent| {
        bar.set_position(u64::try_from(sent).unwrap_or(u64::MAX));
        if sent == all {
            bar.set_message("done");
        }
    });
    bar.finish_and_clear();
    done?;
    Ok(())
}

/// A spinner with a message, where there is a person to see it.
fn bar(context: &Context<'_, '_>, message: &'static str) -> ProgressBar {
    if !context.io.interactive {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Shows the difference. `stays`: something is there that the file does not have.
fn show(lines: &[Line], left_out: usize, stays: bool, context: &mut Context<'_, '_>) -> Result<(), Stop> {
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
    // Of an import, where the registry may lack what could not be taken.
    let rest =
        if left_out == 0 { String::new() } else { format!(" Left out: {left_out}, each with its reason below.") };
    match (lines.is_empty(), left_out) {
        (true, 0) if stays => context
            .io
            .say("No changes: what the file has is there. What it does not have stays; --prune takes that away."),
        (true, 0) => context.io.say("No changes: the registry is what the file says."),
        (true, _) => context.io.say(format_args!("No changes: the registry has all that could be taken.{rest}")),
        (false, _) => {
            let (add, change, remove) = (count(Action::Add), count(Action::Change), count(Action::Remove));
            context.io.say(format_args!("Plan: {add} to add, {change} to change, {remove} to remove.{rest}"))
        }
    }
}
