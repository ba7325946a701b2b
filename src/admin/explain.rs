//! `explain`: why a key may or may not fetch a repository. The gate says so, through whoever connects it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, Kind};
use super::operator::Operator;
use super::{Admin, Faults};
use crate::model::key_name::KeyRef;
use crate::model::repo_path::RepoPath;
use crate::registry::record::KeyRecord;

/// One rule, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// The rule's word; for most of them the code of its refusal.
    pub rule: String,
    /// Whether it lets the request pass.
    pub passes: bool,
    /// Whether it is the one that decided.
    pub decided: bool,
    /// What it found.
    pub found: String,
}

/// Why a key may or may not fetch a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The key's name.
    pub key: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The repository.
    pub repository: String,
    /// From where, if it was said.
    pub from: Option<IpAddr>,
    /// Whether it may.
    pub allowed: bool,
    /// The code that a client would be shown.
    pub code: Option<String>,
    /// The rules in their order; what lies behind a refusal may be missing, because nobody looked.
    pub rules: Vec<RuleView>,
    /// What would change the answer; empty when it may.
    pub remedy: String,
}

/// Who can explain. The gate is one; the daemon connects it.
pub trait Explainer: Send + Sync + fmt::Debug {
    /// What would happen if this key asked for this repository from there now. The names are filled in by the caller.
    ///
    /// # Errors
    /// Why it cannot be said, for operators.
    fn explain(&self, record: &KeyRecord, repo: &RepoPath, from: Option<IpAddr>) -> Result<Explained, String>;
}

impl Admin {
    /// Why a key may or may not fetch a repository now.
    ///
    /// # Errors
    /// No such key, or the registry or the store cannot say.
    pub fn explain(
        &self,
        _by: &Operator,
        key: &KeyRef,
        repo: &RepoPath,
        from: Option<IpAddr>,
    ) -> Result<Explained, Faults> {
        let record = self.required(key)?;
        let unavailable = |why: String| Fault::new(Kind::Unavailable, why).hint("`pullgate check` looks for the cause");
        let none = || unavailable("no gate is connected that could explain".to_owned());
        let explained =
            self.explainer.as_deref().ok_or_else(none)?.explain(&record, repo, from).map_err(unavailable)?;
        let (key, fingerprint) = (record.name.to_string(), record.fingerprint().to_string());
        Ok(Explained { key, fingerprint, repository: repo.to_string(), from, ..explained })
    }
}
