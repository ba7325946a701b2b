//! The order of the rules, and what each found: for deciding and for explaining, so that the two cannot disagree.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::cover::{Cover, cover};
use super::refusal::Reason;
use crate::model::expiry::Expiry;
use crate::model::repo_path::RepoPath;
use crate::registry::Lookup;
use crate::registry::change::Unavailable;
use crate::registry::record::KeyRecord;

/// The rule about what a key may fetch.
pub(super) const GRANTED: &str = "granted";

/// A rule, and what it found: why it lets the request pass, in words, or why not.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) rule: &'static str,
    pub(super) found: Result<String, Reason>,
}

/// All rules about a request, in their order. The first that refuses decides.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) steps: Vec<Step>,
    /// Through what the repository may be fetched, if it may.
    pub(super) cover: Option<Cover>,
}

impl Trace {
    /// Whether no rule refused so far.
    pub(super) fn passes(&self) -> bool {
        self.steps.iter().all(|step| step.found.is_ok())
    }

    pub(super) fn add(&mut self, rule: &'static str, found: Result<String, Reason>) {
        self.steps.push(Step { rule, found });
    }

    /// The decision: the first refusal, or through what the repository may be fetched.
    pub(super) fn decide(self) -> Result<Option<Cover>, Reason> {
        for step in self.steps {
            step.found?;
        }
        Ok(self.cover)
    }
}

/// Whether the key is in use now and from there: the rules about any request of it.
pub(super) fn in_use(record: &KeyRecord, from: Option<IpAddr>, now: Timestamp) -> Trace {
    let mut trace = Trace { steps: Vec::new(), cover: None };
    trace.add(
        "suspended",
        match &record.suspended {
            Some(suspension) => Err(Reason::Suspended { since: suspension.at }),
            None => Ok("the key is not suspended".to_owned()),
        },
    );
    trace.add(
        "rotated",
        match &record.replaced_by {
            Some(rotation) if now >= rotation.until => {
                Err(Reason::Rotated { at: rotation.until, by: rotation.name.clone() })
            }
            Some(rotation) => Ok(format!("{} takes its place; it ends {}", rotation.name, Expiry::At(rotation.until))),
            None => Ok("no other key took its place".to_owned()),
        },
    );
    trace.add(
        "expired",
        match record.expiry {
            Expiry::At(at) if record.expiry.is_over(now) => Err(Reason::Expired { at }),
            Expiry::At(_) => Ok(format!("it is good until {}", record.expiry)),
            Expiry::Never => Ok("it does not expire".to_owned()),
        },
    );
    trace.add("source-address", source(record, from));
    trace
}

fn source(record: &KeyRecord, from: Option<IpAddr>) -> Result<String, Reason> {
    if record.sources.is_empty() {
        return Ok("it may come from anywhere".to_owned());
    }
    // Without an address nothing shows that it comes from where it must.
    let from = from.map(|from| from.to_canonical());
    let within = |from: &IpAddr| record.sources.iter().find(|network: &&IpNet| network.contains(from));
    match from.as_ref().and_then(|from| Some((from, within(from)?))) {
        Some((from, network)) => Ok(format!("{from} is in {network}")),
        None => Err(Reason::SourceAddress { from }),
    }
}

/// Whether the key may fetch the repository, all things but the repository itself considered.
pub(super) fn may_fetch(
    record: &KeyRecord,
    repo: &RepoPath,
    from: Option<IpAddr>,
    now: Timestamp,
    lookup: &Lookup,
) -> Result<Trace, Unavailable> {
    let mut trace = in_use(record, from, now);
    trace.cover = lookup.at_once(|at| Ok(cover(record, repo, at)))?;
    let found = match &trace.cover {
        Some(Cover::Account(account)) => Ok(format!("it is an account key of {account}, which reads all of it")),
        Some(Cover::Grant(grant)) => Ok(format!("the grant {grant} covers it")),
        Some(Cover::Public) => Ok("no grant covers it, but it is public".to_owned()),
        None => Err(Reason::NotGranted { repo: repo.clone() }),
    };
    trace.add(GRANTED, found);
    Ok(trace)
}
