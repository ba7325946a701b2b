//! Why a key may or may not fetch a repository, for operators. Asks the same rules as [`Gate::authorize`] does.

use std::net::IpAddr;

use jiff::Timestamp;

use super::Gate;
use super::decide::{GRANTED, Step};
use super::refusal::Reason;
use crate::model::repo_path::RepoPath;
use crate::registry::change::Unavailable;
use crate::registry::record::{Holder, KeyRecord};

/// One rule of an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's word; for most of them the code of its refusal.
    pub rule: &'static str,
    /// Whether the rule lets the request pass.
    pub passes: bool,
    /// Whether it is the one that decided.
    pub decided: bool,
    /// What it found.
    pub text: String,
}

/// Why a key may or may not fetch a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it may.
    pub allowed: bool,
    /// The code that a client would be shown; none when it may.
    pub code: Option<&'static str>,
    /// The rules in their order.
    pub findings: Vec<Finding>,
    /// What would change the answer; empty when it may.
    pub remedy: String,
}

impl Gate {
    /// What would happen if this key asked for this repository from there now. Nothing is recorded.
    ///
    /// # Errors
    /// [`Unavailable`] when the registry cannot say.
    pub fn explain(
        &self,
        record: &KeyRecord,
        repo: &RepoPath,
        from: Option<IpAddr>,
    ) -> Result<Explanation, Unavailable> {
        let (trace, _) = self.examine(record, repo, from, Timestamp::now())?;
        // What stands behind a yes is the grant; the other rules only let it pass.
        let refusing = trace.steps.iter().position(|step| step.found.is_err());
        let deciding = refusing.or_else(|| trace.steps.iter().position(|step| step.rule == GRANTED));
        let refused = trace.steps.iter().find_map(|step| step.found.as_ref().err());
        let (code, remedy) = match refused {
            Some(reason) => (Some(reason.code().as_str()), remedy(reason, record, repo)),
            None => (None, String::new()),
        };
        let finding = |(place, step): (usize, &Step)| Finding {
            rule: step.rule,
            passes: step.found.is_ok(),
            decided: Some(place) == deciding,
            text: step.found.as_ref().map_or_else(ToString::to_string, Clone::clone),
        };
        let findings = trace.steps.iter().enumerate().map(finding).collect();
        Ok(Explanation { allowed: refused.is_none(), code, findings, remedy })
    }
}

/// What would change a refusal.
fn remedy(reason: &Reason, record: &KeyRecord, repo: &RepoPath) -> String {
    let name = &record.name;
    match reason {
        Reason::Suspended { .. } => format!("pullgate key resume {name}"),
        Reason::Rotated { by, .. } => format!("use the new key, {by}"),
        Reason::Expired { .. } => {
            format!("pullgate key expire {name} 90d, or a new key: pullgate key rotate {name} --key FILE")
        }
        Reason::SourceAddress { from: Some(from) } => {
            format!("pullgate key sources {name} with a network that holds {from}")
        }
        Reason::SourceAddress { from: None } => "the key is bound to networks: say --from ADDRESS".to_owned(),
        Reason::NotGranted { .. } => match record.holder {
            Holder::DeployKey => format!("pullgate key grant {name} {repo}"),
            Holder::AccountKey => "an account key reads its own account; use a deploy key with a grant".to_owned(),
        },
        Reason::Missing { .. } => format!("a bare repository at {repo}.git below the store's root"),
        Reason::Repository { .. } => format!("mend the repository; pullgate repo show {repo}"),
        Reason::SharedObjects { other, .. } => format!("pullgate key grant {name} {other}"),
        Reason::Removed => "register the key".to_owned(),
        Reason::Unavailable(_)
        | Reason::Declined(_)
        | Reason::NotThere { .. }
        | Reason::NothingSelected { .. }
        | Reason::TimedOut { .. }
        | Reason::Flooded { .. }
        | Reason::Stopped { .. } => "try again".to_owned(),
    }
}
