//! Floor 2: the only module that says yes.
//!
//! A connection is known (`knows`), then admitted (`admit`), and every request of it is authorised by itself
//! (`authorize`), with the key read again each time. What comes out is a value that can be used once, for one fetch.

mod admit;
mod authorize;
mod cover;
mod cut;
mod decide;
mod ending;
mod explain;
mod refusal;
mod standing;

pub use admit::{Admission, Principal, ProvenKey, Sha1Signature};
pub use authorize::{Ask, Fetch, Unserved, Withdrawn};
pub use cut::Cut;
pub use explain::{Explanation, Finding};
pub use refusal::{Code, Declined, Refusal};
pub use standing::Standing;

use crate::audit::{Audit, Event, Subject, new_id};
use crate::model::public_key::PublicKey;
use crate::model::repo_path::RepoPath;
use crate::registry::Lookup;
use crate::registry::change::Unavailable;
use crate::registry::record::KeyRecord;
use crate::store::Store;
use crate::usage::Usage;

/// The gate. Cheap to clone. Holds nothing that can write to the registry.
#[derive(Debug, Clone)]
pub struct Gate {
    lookup: Lookup,
    store: Store,
    audit: Audit,
    usage: Usage,
    cut: Cut,
}

impl Gate {
    /// A gate over a registry and a store.
    #[must_use]
    pub fn new(lookup: Lookup, store: Store, audit: Audit) -> Self {
        Self { lookup, store, audit, usage: Usage::default(), cut: Cut::default() }
    }

    /// The same, which notes there when a key is used.
    #[must_use]
    pub fn with_usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// The same, whose fetches learn there that the gateway cuts them.
    #[must_use]
    pub fn with_cut(self, cut: Cut) -> Self {
        Self { cut, ..self }
    }

    /// Whether this key is registered. Grants nothing: whoever offers a key has proved nothing yet.
    ///
    /// # Errors
    /// [`Unavailable`] when the registry cannot say.
    pub fn knows(&self, key: &PublicKey) -> Result<bool, Unavailable> {
        Ok(self.current(key)?.is_some())
    }

    /// The record of exactly this key: found by fingerprint, then compared as a whole.
    fn current(&self, key: &PublicKey) -> Result<Option<KeyRecord>, Unavailable> {
        Ok(self.lookup.key(&key.fingerprint())?.filter(|record| record.key == *key))
    }

    /// Records that a connection ended without anybody let in.
    pub fn turned_away(&self, subject: Subject, reason: &str) {
        self.audit.record(&new_id(), Event::LoginRefused { subject, reason: reason.to_owned() });
    }

    /// Says no to something that cannot be asked for here at all. `path` is what was to be fetched from, if that was named.
    #[must_use]
    pub fn decline(&self, subject: &Subject, declined: Declined, path: Option<&str>) -> Refusal {
        let repo = path.and_then(|path| RepoPath::parse(path).ok());
        self.refuse(subject, declined.into(), repo.as_ref())
    }

    /// The one place where a refusal is made: it has a record from the start. That names the repository, also where the reason
    /// is none of it.
    fn refuse(&self, subject: &Subject, reason: refusal::Reason, repo: Option<&RepoPath>) -> Refusal {
        let id = new_id();
        let refusal = Refusal::new(&id, subject, &reason);
        let code = refusal.code().as_str().to_owned();
        let repository = repo.cloned();
        let asked = match (reason.asked(), repo) {
            (nothing, Some(repo)) if nothing.is_empty() => repo.to_string(),
            (asked, Some(_) | None) => asked,
        };
        let (subject, reason) = (subject.clone(), reason.to_string());
        let event = Event::Refused { subject, code, reason, asked, repository };
        self.audit.record(&id, event);
        // Who is looking for the cause of one build's trouble has both in one place.
        tracing::debug!(id, code = refusal.code().as_str(), "refused");
        refusal
    }
}

#[cfg(test)]
mod tests;
