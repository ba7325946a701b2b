//! Is the record of changes what was written: as `audit verify` looks at it, for a bounded time.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Finding;
use crate::audit::check::{Check, Verdict};
use crate::audit::files::family;
use crate::audit::key::{self, KeyError};
use crate::audit::lines::Forward;
use crate::daemon::config::{AuditTo, Config};
use crate::registry;

const SUBJECT: &str = "audit.chain";
const REMEDY: &str = "`pullgate audit verify` tells all of it, and docs/audit.md what each means";
/// A release build reads some two million records in that time.
const BUDGET: Duration = Duration::from_secs(20);
/// How often the end is looked for once more, and how long to wait before: a change is in the registry a moment before its
/// record is in the file.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// How many lines are read between two looks at the clock.
const LINES: u64 = 4096;

pub(super) fn holds(config: &Config) -> Vec<Finding> {
    within(config, BUDGET)
}

fn within(config: &Config, budget: Duration) -> Vec<Finding> {
    // Elsewhere nobody here can read them.
    if config.audit_to != AuditTo::File {
        return Vec::new();
    }
    let known = match key::public_half(&config.audit_chain().key) {
        Ok(key) => vec![key],
        Err(KeyError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return vec![Finding::error(SUBJECT, error.to_string(), "run the check as root or as the daemon's user")];
        }
    };
    let begin = Instant::now();
    for _ in 1..TRIES {
        let (verdict, cut) = match look(config, known.clone(), begin, budget) {
            Ok(looked) => looked,
            Err(error) => {
                let fact = format!("the audit file {} cannot be read: {error}", config.audit_file.display());
                return vec![Finding::error(SUBJECT, fact, "run the check as root or as the daemon's user")];
            }
        };
        let late = !verdict.good && verdict.links > 0 && verdict.faults.iter().all(|fault| fault.file.is_none());
        if cut || !late || begin.elapsed() >= budget {
            return told(&verdict, cut);
        }
        std::thread::sleep(PAUSE);
    }
    look(config, known, begin, budget).map_or_else(|_| Vec::new(), |(verdict, cut)| told(&verdict, cut))
}

/// What the files say, and whether there was no time for all of them.
fn look(
    config: &Config,
    known: Vec<ed25519_dalek::VerifyingKey>,
    begin: Instant,
    budget: Duration,
) -> io::Result<(Verdict, bool)> {
    // Before the records: then each of these changes has to have one.
    let seq = last_change(config);
    let mut check = Check::new(known, None);
    for path in family(&config.audit_file)?.plain {
        if !read(&path, &mut check, begin, budget)? {
            return Ok((check.finish(None), true));
        }
    }
    Ok((check.finish(seq), false))
}

/// The last change of the registry; 0 when there is none yet. None when the registry cannot say, which is told of by itself.
fn last_change(config: &Config) -> Option<u64> {
    let dir = config.registry_dir();
    if let Ok(Some(seq)) = registry::acknowledged(&dir) {
        return Some(seq);
    }
    match registry::verify(&dir) {
        Ok(verified) => Some(verified.seq),
        Err(registry::OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Some(0),
        Err(_) => None,
    }
}

fn read(path: &Path, check: &mut Check, begin: Instant, budget: Duration) -> io::Result<bool> {
    let mut lines = Forward::new(File::open(path)?);
    while let Some(line) = lines.next_line()? {
        if line.whole {
            check.line(path, line.number, line.bytes);
        }
        if line.number % LINES == 1 && begin.elapsed() >= budget {
            return Ok(false);
        }
    }
    Ok(true)
}

fn told(verdict: &Verdict, cut: bool) -> Vec<Finding> {
    if !cut && verdict.links == 0 && verdict.registry.is_none() {
        // Whether there should be any cannot be said; why not is told of the registry.
        return Vec::new();
    }
    // What is missing at the end is no fault where the end was not read.
    let first = verdict.faults.iter().find(|fault| !cut || fault.file.is_some());
    if let Some(fault) = first {
        let place = match (&fault.file, fault.line) {
            (Some(file), Some(line)) => format!("{}:{line}: ", file.display()),
            _ => String::new(),
        };
        let more = verdict.faults.len() as u64 + verdict.more_faults - 1;
        let more = if more > 0 && !cut { format!(" (and {more} more)") } else { String::new() };
        return vec![Finding::error(SUBJECT, format!("{place}{}{more}", fault.what), REMEDY)];
    }
    if cut {
        let fact = format!("there was time for the first {} records, and they are as they were written", verdict.lines);
        return vec![Finding::notice(SUBJECT, fact, "`pullgate audit verify` reads all of them")];
    }
    if let Some(gap) = verdict.gaps.first() {
        let fact = format!("changes up to {} have no record of their own: {}", gap.seq, gap.why);
        return vec![Finding::warning(SUBJECT, fact, "`pullgate audit verify --allow-gaps` looks at the rest")];
    }
    if verdict.links == 0 {
        return vec![Finding::ok(SUBJECT, "nothing was changed yet")];
    }
    let signed = verdict.signed_up_to.map_or_else(String::new, |link| format!(", signed up to link {link}"));
    vec![Finding::ok(SUBJECT, format!("{} links as they were written{signed}", verdict.links))]
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;
    use crate::model::name::AccountName;
    use crate::registry::change::Change;

    fn site() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let config = Config::parse("", &dir.path().join("config.toml")).unwrap();
        (dir, config)
    }

    fn recorded(config: &Config, count: u64) {
        let audit = crate::audit::Audit::open(&config.audit_file).unwrap();
        audit.chain(&config.audit_chain(), Some(0)).unwrap();
        let (_lookup, amend) = registry::open(&config.registry_dir()).unwrap();
        for seq in 1..=count {
            let account = AccountName::parse(&format!("n{seq}")).unwrap();
            amend.commit("root", &[Change::AccountAdd { account }]).unwrap();
            let (by, what) = ("root".to_owned(), format!("added account n{seq}"));
            let event = crate::audit::Event::Restored { by, seq, what };
            audit.record(&crate::audit::new_id(), event);
        }
        audit.checkpoint();
        audit.flush();
    }

    fn severities(found: &[Finding]) -> Vec<Severity> {
        found.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn a_record_that_was_edited_is_an_error_and_a_long_chain_is_looked_at_for_a_while() {
        let (_dir, config) = site();
        recorded(&config, 5);
        let found = within(&config, BUDGET);
        assert_eq!(severities(&found), [Severity::Ok], "{found:?}");
        assert!(found[0].fact.starts_with("6 links") && found[0].fact.contains("signed up to link 6"), "{found:?}");
        let found = within(&config, Duration::ZERO);
        assert_eq!(severities(&found), [Severity::Notice], "{found:?}");
        assert!(found[0].fact.contains("the first 1 records"), "{found:?}");
        let text = std::fs::read_to_string(&config.audit_file).unwrap();
        std::fs::write(&config.audit_file, text.replace("account n3", "account x3")).unwrap();
        let found = within(&config, BUDGET);
        assert_eq!(severities(&found), [Severity::Error], "{found:?}");
        assert!(found[0].fact.contains("audit.jsonl:3: link 3 is not what was written"), "{found:?}");
    }

    #[test]
    fn nothing_is_said_of_what_is_not_there_yet() {
        let (_dir, config) = site();
        std::fs::create_dir_all(config.registry_dir()).unwrap();
        let (_lookup, _amend) = registry::open(&config.registry_dir()).unwrap();
        let found = within(&config, BUDGET);
        assert!(found.iter().all(|finding| finding.severity == Severity::Ok), "{found:?}");
    }
}
