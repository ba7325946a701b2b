//! `pullgate audit verify` and `pullgate audit key`: is the record of changes what was written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;

use super::source::{Source, is_stdin, open, unreadable};
use crate::admin::fault::{Fault, Kind};
use crate::audit::check::{Check, Verdict};
use crate::audit::key;
use crate::audit::lines::Forward;
use crate::audit::link::{Hash, Head};
use crate::cli::Context;
use crate::cli::io::{Io, Stop};
use crate::cli::table::time;
use crate::daemon::config::Config;
use crate::model::text::counted;
use crate::registry;

/// How often the end is looked for once more, and how long to wait before: a change is in the registry a moment before its
/// record is in the file.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Below the help of `verify`.
const EXAMPLES: &str = "\
The exit code is 0 when all is as it was written, and 4 when it is not. docs/audit.md says what can be found.

Examples:
  pullgate audit verify
  pullgate audit verify --public-key audit.pub           with a key that somebody else keeps
  pullgate audit verify --head 4711:9f2c…                that link, which was noted elsewhere, is still there
  zcat *.gz | pullgate audit verify --public-key audit.pub --file - --file audit.jsonl.1 --file audit.jsonl";

/// Verify the chain of changes: nothing edited, removed, put in, moved or cut off, and all of it signed by the gateway
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A public key that may have signed, or a file with one; else the gateway's own
    #[arg(long, value_name = "KEY|FILE")]
    public_key: Vec<String>,
    /// A head that an earlier run told and that has to be in the chain
    #[arg(long, value_name = "N:HASH", value_parser = head)]
    head: Option<Head>,
    /// Take gaps, which the gateway itself has told, for no fault
    #[arg(long)]
    allow_gaps: bool,
    /// Other files, or - for standard input; oldest first. The registry is not compared then
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Show the public half of the audit key, for `verify --public-key` on another machine
#[derive(Debug, clap::Args)]
pub(super) struct Key {}

fn head(text: &str) -> Result<Head, String> {
    let parsed = text.split_once(':').and_then(|(n, hash)| Some(Head { n: n.parse().ok()?, hash: Hash::parse(hash)? }));
    parsed.ok_or_else(|| "write a number, a colon and 64 hexadecimal digits, as verify tells its head".to_owned())
}

impl Key {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let file = context.load()?.audit_chain().key;
        let key = key::public_half(&file).map_err(|error| no_key(&file, &error))?;
        context.io.say(format_args!("{} pullgate-audit", key::text(&key)))?;
        context.io.tell(format_args!("fingerprint {}", key::fingerprint(&key)))
    }
}

fn no_key(file: &Path, error: &key::KeyError) -> Fault {
    let fact = error.to_string();
    match error {
        key::KeyError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
            Fault::new(Kind::NotFound, fact).hint("it is made when the gateway starts for the first time")
        }
        key::KeyError::Io { error, .. } if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let mut fault = unreadable(file, error);
            fault.fact = fact;
            fault
        }
        key::KeyError::Io { .. }
        | key::KeyError::Open { .. }
        | key::KeyError::NotAKey { .. }
        | key::KeyError::Random(_) => Fault::new(Kind::Unavailable, fact),
    }
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let pinned = self.public_key.iter().map(|text| public_key(text)).collect::<Result<Vec<_>, _>>()?;
        // Files from elsewhere need no config; what it says is of the gateway here.
        let config = if self.file.is_empty() { Some(context.load()?) } else { None };
        let keys = match &config {
            Some(config) if pinned.is_empty() => own_key(config)?,
            Some(_) | None => pinned,
        };
        let mut tries = if self.file.iter().any(|file| is_stdin(file)) { 1 } else { TRIES };
        let verdict = loop {
            tries -= 1;
            // Before the records: then each of these changes has to have one.
            let seq = config.as_ref().map(last_change).transpose()?;
            let source = Source::new(self.file.clone(), context)?;
            let verdict = read(&source, Check::new(keys.clone(), self.head), context.io)?.finish(seq);
            let late = verdict.faults.iter().all(|fault| fault.file.is_none());
            if tries == 0 || verdict.good || !late || verdict.links == 0 {
                break (verdict, source);
            }
            std::thread::sleep(PAUSE);
        };
        let (verdict, source) = verdict;
        let good = verdict.good && (self.allow_gaps || verdict.gaps.is_empty());
        match self.json {
            true => context.io.json(&verdict)?,
            false => tell(&verdict, &source, good, context.io)?,
        }
        if good { Ok(()) } else { Err(Stop::Said(Kind::Conflict)) }
    }
}

/// A key in the form of OpenSSH, or the file that has it.
fn public_key(text: &str) -> Result<VerifyingKey, Fault> {
    if let Some(key) = key::parse(text) {
        return Ok(key);
    }
    let wrong =
        |fact: String| Fault::new(Kind::Invalid, fact).field("--public-key").hint("`pullgate audit key` prints it");
    let read =
        std::fs::read_to_string(text).map_err(|error| wrong(format!("'{text}' is no key, and as a file: {error}")))?;
    key::parse(&read).ok_or_else(|| wrong(format!("the file {text} has no Ed25519 public key")))
}

/// The gateway's own key; none before its first start.
fn own_key(config: &Config) -> Result<Vec<VerifyingKey>, Fault> {
    let file = config.audit_chain().key;
    match key::public_half(&file) {
        Ok(key) => Ok(vec![key]),
        Err(key::KeyError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(no_key(&file, &error)),
    }
}

fn last_change(config: &Config) -> Result<u64, Fault> {
    match registry::verify(&config.registry_dir()) {
        Ok(verified) => Ok(verified.seq),
        Err(registry::OpenError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Fault::new(Kind::Unavailable, error.to_string())
            .hint("run it as root or as the daemon's user; `pullgate check` looks at the whole installation")),
    }
}

fn read(source: &Source, mut check: Check, io: &mut Io<'_>) -> Result<Check, Fault> {
    for path in &source.files {
        if is_stdin(path) {
            lines(&mut *io.input, path, &mut check)?;
        } else {
            lines(open(path)?.0, path, &mut check)?;
        }
    }
    Ok(check)
}

fn lines(source: impl std::io::Read, path: &Path, check: &mut Check) -> Result<(), Fault> {
    let mut lines = Forward::new(source);
    while let Some(line) = lines.next_line().map_err(|error| unreadable(path, &error))? {
        // What is just written has no end yet.
        if line.whole {
            check.line(path, line.number, line.bytes);
        }
    }
    Ok(())
}

fn tell(verdict: &Verdict, source: &Source, good: bool, io: &mut Io<'_>) -> Result<(), Stop> {
    let Verdict { faults, links, changes, checkpoints, good_links, .. } = verdict;
    for fault in faults {
        match (&fault.file, fault.line) {
            (Some(file), Some(line)) => io.say(format_args!("BROKEN {}:{line}: {}", file.display(), fault.what))?,
            _ => io.say(format_args!("BROKEN {}", fault.what))?,
        }
    }
    if verdict.more_faults > 0 {
        io.say(format_args!("BROKEN and {} faults more", verdict.more_faults))?;
    }
    for gap in &verdict.gaps {
        let which = gap
            .first_seq
            .map_or_else(|| format!("change {}", gap.seq), |first| format!("changes {first} to {}", gap.seq));
        io.say(format_args!("GAP {which}, told on {}: {}", time(gap.time), gap.why))?;
    }
    match verdict.good {
        true => {
            let (changes, checkpoints) = (counted(*changes, "change"), counted(*checkpoints, "checkpoint"));
            io.say(format_args!("good: all {links} links: {changes}, {checkpoints}"))?;
        }
        false => io.say(format_args!("{good_links} of {links} links are good before the first fault"))?,
    }
    if !good && verdict.good {
        io.say("gaps are faults without --allow-gaps")?;
    }
    let keys = verdict.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(signed) = verdict.signed_up_to.filter(|_| verdict.good) {
        let known = if verdict.keys_known { "" } else { ", a key that nobody has vouched for: give --public-key" };
        io.say(format_args!("signed up to link {signed} by {keys}{known}"))?;
    }
    match (verdict.registry, verdict.recorded_up_to) {
        (Some(seq), Some(recorded)) => {
            io.say(format_args!("the registry is at change {seq}, recorded up to {recorded}"))?
        }
        (None, _) => io.say("not compared with the registry: whether the end is missing cannot be said")?,
        (Some(_), None) => {}
    }
    if let Some(head) = &verdict.head {
        io.say(format_args!("head {head}"))?;
    }
    if let Some(first @ 2..) = verdict.first_link {
        io.tell(format_args!("note: the chain begins at link {first} here: older files are not there, or packed"))?;
    }
    if verdict.before > 0 {
        io.tell(format_args!("note: {} records of changes are from before the chain began", verdict.before))?;
    }
    if verdict.torn > 0 {
        io.tell(format_args!(
            "note: {} lines of changes are cut: writes that were not finished, if no link is missing",
            verdict.torn
        ))?;
    }
    if verdict.recovered > 0 {
        io.tell(format_args!("note: {} records were made from the journal after a crash", verdict.recovered))?;
    }
    match source.packed.last() {
        Some(newest) => io.tell(format_args!("note: packed files are not opened, such as {}", newest.display())),
        None => Ok(()),
    }
}
