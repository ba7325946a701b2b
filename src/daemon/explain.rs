//! The gate, as administration asks it.

use std::net::IpAddr;

use crate::admin::explain::{Explained, Explainer, RuleView};
use crate::audit::Audit;
use crate::gate::Gate;
use crate::model::repo_path::RepoPath;
use crate::registry::Lookup;
use crate::registry::record::KeyRecord;
use crate::store::{Settings, Store};

/// A gate over the same registry and store as the one that serves, made anew each time: the store may be mounted later.
/// Nothing that is explained is a use of a key or a decision, so nothing is recorded.
#[derive(Debug)]
pub struct GateExplainer {
    lookup: Lookup,
    store: Settings,
}

impl GateExplainer {
    /// Over a store that need not be there yet.
    #[must_use]
    pub fn new(lookup: Lookup, store: Settings) -> Self {
        Self { lookup, store }
    }
}

impl Explainer for GateExplainer {
    fn explain(&self, record: &KeyRecord, repo: &RepoPath, from: Option<IpAddr>) -> Result<Explained, String> {
        let store = Store::new(&self.store).map_err(|error| format!("{}: {error}", self.store.root.display()))?;
        let gate = Gate::new(self.lookup.clone(), store, Audit::off());
        let explained = gate.explain(record, repo, from).map_err(|error| error.to_string())?;
        let rules = explained.findings.into_iter().map(|finding| RuleView {
            rule: finding.rule.to_owned(),
            passes: finding.passes,
            decided: finding.decided,
            found: finding.text,
        });
        Ok(Explained {
            allowed: explained.allowed,
            code: explained.code.map(str::to_owned),
            rules: rules.collect(),
            remedy: explained.remedy,
            ..Explained::default()
        })
    }
}
