//! Floor 2: the only module that changes the registry. One verb per file.
//!
//! Every verb takes an [`Operator`], which only the kernel's word about a process makes; every change is recorded, once it
//! is durable. Words that a person typed are parsed above; here they are types already.

pub mod account;
mod account_key;
mod apply;
pub mod cache;
pub mod chain;
mod details;
pub mod explain;
pub mod fault;
pub mod group;
pub mod key;
pub mod operator;
pub mod policy;
pub mod repo;
pub mod upgrade;
pub mod view;
mod whereis;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::audit::{Audit, Event, new_id};
use crate::model::details::Details;
use crate::model::key_name::KeyRef;
use crate::model::text::counted;
use crate::registry::change::{Change, CommitError, Committed, Told};
use crate::registry::record::{KeyRecord, Tombstone};
use crate::registry::{Amend, Lookup};
use crate::usage::Usage;
use cache::Keeper;
use explain::Explainer;
use fault::{Fault, Kind};
use operator::Operator;
use policy::Policy;
use repo::RepoSource;
use upgrade::Upgrader;

/// How many keys are read from the registry at a time.
const PAGE: usize = 256;
/// How many names of anything are told in a sentence.
const NAMED: usize = 10;

/// What a change did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in one line.
    pub message: String,
    /// Whether anything changed; `false` when it was so already.
    pub changed: bool,
    /// What the operator should know beside it, a line each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What may be meant so, a line each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One fault or more. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults(Vec<Fault>);

impl Done {
    fn new(message: String, changed: bool) -> Self {
        Self { message, changed, warnings: Vec::new(), notes: Vec::new() }
    }

    /// The same with what may be meant so.
    fn note(mut self, notes: Vec<String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// The same with what to know beside it.
    fn warn(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// The same, in other words when nothing changed.
    fn or_else(mut self, words: impl FnOnce() -> String) -> Self {
        if !self.changed {
            self.message = words();
        }
        self
    }
}

impl Faults {
    /// `Ok` when there are none.
    ///
    /// # Errors
    /// The faults, when there are some.
    pub fn check(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }

    /// The faults, in the order in which they were found.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.0
    }

    /// The kind of the first one, which decides about the exit code.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.first().map_or(Kind::Internal, |fault| fault.kind)
    }
}

impl<T: Into<Fault>> From<T> for Faults {
    fn from(fault: T) -> Self {
        Self(vec![fault.into()])
    }
}

/// The verbs of administration. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    lookup: Lookup,
    amend: Amend,
    audit: Audit,
    repos: Option<Arc<dyn RepoSource>>,
    explainer: Option<Arc<dyn Explainer>>,
    usage: Usage,
    policy: Policy,
    keeper: Option<Arc<dyn Keeper>>,
    upgrader: Option<Arc<dyn Upgrader>>,
}

impl Admin {
    /// Over both halves of the registry.
    #[must_use]
    pub fn new(lookup: Lookup, amend: Amend, audit: Audit) -> Self {
        let (usage, policy) = (Usage::default(), Policy::default());
        let (repos, explainer, keeper, upgrader) = (None, None, None, None);
        Self { lookup, amend, audit, repos, explainer, usage, policy, keeper, upgrader }
    }

    /// The same, able to tell about repositories.
    #[must_use]
    pub fn with_repos(self, repos: Arc<dyn RepoSource>) -> Self {
        Self { repos: Some(repos), ..self }
    }

    /// The same, able to explain decisions.
    #[must_use]
    pub fn with_explainer(self, explainer: Arc<dyn Explainer>) -> Self {
        Self { explainer: Some(explainer), ..self }
    }

    /// The same, which can tell when keys were used.
    #[must_use]
    pub fn with_usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// The same, able to tell what is kept of answers.
    #[must_use]
    pub fn with_keeper(self, keeper: Arc<dyn Keeper>) -> Self {
        Self { keeper: Some(keeper), ..self }
    }

    /// The same, with a policy about new and changed keys.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Commits, and records what was done when anything changed. No lock is held: commits of many operators share a sync of
    /// the disk. So the words are made of what the change met, which the registry says, and not of what was read before.
    fn commit(
        &self,
        by: &Operator,
        change: Change,
        words: impl FnOnce(Option<&KeyRecord>) -> String,
    ) -> Result<Done, CommitError> {
        let details = self.details_beyond(&change, NAMED)?;
        let Told { committed, met } = self.amend.change(by.name(), change)?;
        let message = words(met.as_deref());
        if committed.changed {
            let (by, what) = (by.name().to_owned(), message.clone());
            self.recorded(changed(by, &committed, what, details));
        }
        Ok(Done::new(message, committed.changed))
    }

    /// Leaves a record, and waits until it is written: an operator's answer does not come before it.
    fn recorded(&self, event: Event) {
        self.audit.record(&new_id(), event);
        self.audit.flush();
    }

    /// Writes down what is kept in memory for a while. The daemon does so now and then; a command that works without one, at
    /// its end.
    ///
    /// # Errors
    /// The file of uses cannot be written.
    pub fn write_down(&self) -> std::io::Result<()> {
        self.audit.flush();
        self.usage.write()
    }

    fn required(&self, key: &KeyRef) -> Result<KeyRecord, Fault> {
        if let Some(record) = self.lookup.find(key)? {
            return Ok(record);
        }
        let fact = match self.lookup.tombstone(key)? {
            Some(tomb) => format!("there is no key {key}: {}", was(&tomb)),
            None => format!("there is no key {key}"),
        };
        Err(match key {
            KeyRef::Name(name) if self.lookup.account(&name.account)?.is_none() => Fault::new(Kind::NotFound, fact)
                .hint(format!("there is no account {} either; `pullgate account list` lists all", name.account)),
            KeyRef::Name(name) => {
                Fault::new(Kind::NotFound, fact).hint(format!("`pullgate key list {}` lists its keys", name.account))
            }
            KeyRef::Fingerprint(_) => Fault::new(Kind::NotFound, fact).hint("`pullgate key list` lists all keys"),
        })
    }
}

/// The record of a commit.
fn changed(by: String, committed: &Committed, what: String, details: Details) -> Event {
    let Committed { first, seq, changed: _ } = *committed;
    Event::Changed { by, seq, first_seq: (first != seq).then_some(first), what, details, recovered: false }
}

/// The history of a removed key, in a few words.
fn was(tomb: &Tombstone) -> String {
    let on = tomb.removed_at.strftime("%Y-%m-%d %H:%M UTC");
    format!("it was {} ({}), removed {on} by {}", tomb.name, tomb.key, tomb.removed_by)
}

/// `a, b, c`, and how many more there are after `most`.
fn listed<T: std::fmt::Display>(items: &[T], most: usize) -> String {
    let mut text = items.iter().take(most).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if items.len() > most {
        text.push_str(&format!(" and {} more", items.len() - most));
    }
    text
}

#[cfg(test)]
mod tests;
