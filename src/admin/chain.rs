//! The chain of audit records, taken up where the registry is: whatever ended the last process, each change has a record.

use std::path::Path;

use jiff::Timestamp;

use super::details::called;
use crate::audit::chain::{ChainError, Settings};
use crate::audit::{Audit, Event, new_id};
use crate::registry::{self, Lookup, OpenError, Past};

/// The most changes that get their records at a start. Who has missed more is told of a gap.
const MOST: usize = 10_000;

/// Why the chain cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The chain itself.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The registry has no change, and records of some are there: it is not the one that was served from.
    #[error(
        "the registry is empty, and there are audit records of {last} changes: its folder was not mounted, or not restored; \
         nobody could log in"
    )]
    Empty {
        /// The last change with a record.
        last: u64,
    },
    /// The journal, which has what records are made of.
    #[error("the journal cannot be read for changes without an audit record: {0}")]
    Journal(#[from] OpenError),
}

impl BeginError {
    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        matches!(self, Self::Empty { .. }).then_some(
            "put it back, or take a backup: `pullgate restore`; to begin with an empty registry, move `audit.chain` and the \
             audit file out of the way",
        )
    }
}

/// Takes the chain up. Changes that the registry has and that have no record get one now, out of the journal, or a gap tells
/// of them. To be called by whoever has just opened the registry in `registry_dir`, before anything is changed; `lookup` says what
/// keys are called.
///
/// A change is in the journal before its record is in the audit file, and who asked for it hears of neither before both are
/// there. So after a crash records may be missing, and never changes.
///
/// # Errors
/// [`BeginError`]
pub fn begin(audit: &Audit, settings: &Settings, registry_dir: &Path, lookup: &Lookup) -> Result<(), BeginError> {
    let seq = registry::acknowledged(registry_dir).map_err(OpenError::from)?;
    let seen = audit.chain(settings, seq)?;
    let Some(seq) = seq else {
        tracing::warn!("it is not known how far the registry goes: audit records are not compared with it");
        return Ok(());
    };
    if seq == 0 && seen.last() > 0 {
        return Err(BeginError::Empty { last: seen.last() });
    }
    if seen.last() > seq {
        let why = format!(
            "the registry is at change {seq}, and there is a record of change {}: an older journal was put in its place",
            seen.last()
        );
        tracing::warn!(why, "a gap in the chain of audit records");
        audit.record(&new_id(), Event::Gap { first_seq: None, seq, why });
        audit.flush();
        return Ok(());
    }
    let missing = seen.missing(seq);
    let Some((first, _)) = missing.first() else { return Ok(()) };
    let past = registry::history(registry_dir, first - 1, MOST, &|key| called(lookup, key))?;
    for (first, last) in missing {
        recover(audit, &past, first, last);
    }
    audit.flush();
    Ok(())
}

/// Makes records for the changes from `first` to `last`.
fn recover(audit: &Audit, past: &[Past], first: u64, last: u64) {
    let within = |past: &&Past| past.first >= first && past.seq <= last;
    let mut next = first;
    for Past { first, seq, time, by, what, details } in past.iter().filter(within) {
        if next < *first {
            gap(audit, next, first - 1);
        }
        let (first_seq, seq, by, what) = ((first != seq).then_some(*first), *seq, by.clone(), what.clone());
        tracing::warn!(seq, what, "the process ended before this change had its audit record: it gets one now");
        let details = details.clone();
        audit.record_at(*time, &new_id(), Event::Changed { by, seq, first_seq, what, details, recovered: true });
        next = seq + 1;
    }
    if next <= last {
        gap(audit, next, last);
    }
}

fn gap(audit: &Audit, first: u64, last: u64) {
    let why = "the process ended before these changes had their records, and the journal has them in a snapshot only";
    tracing::warn!(first, last, why, "a gap in the chain of audit records");
    let event = Event::Gap { first_seq: Some(first), seq: last, why: why.to_owned() };
    audit.record_at(Timestamp::now(), &new_id(), event);
}

#[cfg(test)]
mod tests;
