//! `key add`

use ipnet::IpNet;
use jiff::Timestamp;

use super::NAMED;
use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, listed};
use crate::model::expiry::Expiry;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::public_key::PublicKey;
use crate::model::text::Note;
use crate::registry::change::{Change, CommitError, Conflict};
use crate::registry::record::{Holder, KeyRecord};

/// A deploy key that is to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The key.
    pub key: PublicKey,
    /// Where to register it.
    pub name: KeyName,
    /// A remark.
    pub note: Note,
    /// Until when it is good; none: as the policy says.
    pub expiry: Option<Expiry>,
    /// The networks it may come from; empty means anywhere.
    pub sources: Vec<IpNet>,
    /// What it may fetch.
    pub grants: Vec<Grant>,
}

impl NewKey {
    /// Whether the registry holds exactly this: then adding it again has nothing to do. A suspended key is not what
    /// somebody who adds a key wants to have.
    fn is(&self, held: &KeyRecord, holder: Holder) -> bool {
        let mut grants = self.grants.clone();
        grants.sort();
        grants.dedup();
        held.name == self.name
            && held.holder == holder
            && held.note == self.note
            && self.expiry.is_none_or(|expiry| held.expiry == expiry)
            && held.sources == self.sources
            && held.grants == grants
            && held.suspended.is_none()
            && held.replaced_by.is_none()
    }
}

impl Admin {
    /// Registers a deploy key.
    ///
    /// A public key is registered once. The same key again is a conflict that names the holder and the command that does
    /// what was meant; unless the same is asked for in every detail: then it is so already, and nothing changes.
    ///
    /// # Errors
    /// No such account, the key or the label is taken, a grant into an account that does not exist, too many grants or
    /// networks, or the registry cannot write.
    pub fn key_add(&self, by: &Operator, new: NewKey) -> Result<Done, Faults> {
        self.register(by, new, Holder::DeployKey)
    }

    pub(in crate::admin) fn register(&self, by: &Operator, new: NewKey, holder: Holder) -> Result<Done, Faults> {
        let advice = new.key.advice();
        let fingerprint = new.key.fingerprint();
        if let Some(held) = self.lookup.key(&fingerprint)? {
            return so_already(&held, &new, holder);
        }
        let mut warnings = self.check_grants(&new.name.account, &new.grants)?;
        warnings.extend(advice);
        let expiry = self.policy.expiry(new.expiry, Timestamp::now())?;
        let mut message = match holder {
            Holder::DeployKey => format!("added key {} ({fingerprint})", new.name),
            Holder::AccountKey => format!("added account key {} ({fingerprint})", new.name),
        };
        match (holder, new.grants.is_empty()) {
            (Holder::AccountKey, _) => message.push_str(&format!(", which reads all of {}", new.name.account)),
            (Holder::DeployKey, true) => message.push_str(", which may fetch nothing yet"),
            (Holder::DeployKey, false) => {
                message.push_str(&format!(", which may fetch {}", listed(&new.grants, NAMED)))
            }
        }
        if let Expiry::At(_) = expiry {
            message.push_str(&format!(", until {expiry}"));
        }
        if !new.sources.is_empty() {
            message.push_str(&format!(", from {}", listed(&new.sources, NAMED)));
        }
        let NewKey { key, name, note, expiry: _, sources, grants } = new.clone();
        let change = Change::KeyAdd { key, name, holder, note, expiry, sources, grants };
        match self.commit(by, change, |_| message) {
            Ok(done) => Ok(done.warn(warnings).note(self.absent(&new.grants))),
            // Somebody registered it since it was looked for.
            Err(CommitError::Conflict(Conflict::KeyHeld { .. })) => match self.lookup.key(&fingerprint)? {
                Some(held) => so_already(&held, &new, holder),
                None => Err(Fault::new(Kind::Conflict, "this key was registered and removed at this moment").into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// The answer when the key is registered: it is so already, or a conflict.
fn so_already(held: &KeyRecord, new: &NewKey, holder: Holder) -> Result<Done, Faults> {
    if !new.is(held, holder) {
        return Err(held_fault(held, new, holder).into());
    }
    let message = format!("key {} ({}) is registered already", new.name, held.fingerprint());
    Ok(Done::new(message, false).warn(new.key.advice()))
}

/// What to say when the key is registered. Says who holds it, never what it may fetch: that is the holder's business.
fn held_fault(held: &KeyRecord, new: &NewKey, wanted: Holder) -> Fault {
    let repos = match new.grants.is_empty() {
        true => "REPO".to_owned(),
        // Pasted into a shell, a pattern must not become file names.
        false => new.grants.iter().map(quoted).collect::<Vec<_>>().join(" "),
    };
    let holder = &held.name;
    let fault = Fault::new(Kind::Conflict, format!("this public key is already registered as {holder}")).field("key");
    if wanted == Holder::AccountKey {
        let person = "a person's key is a key of its own: register another one with `pullgate account-key add`";
        return fault.hint(match held.holder {
            Holder::DeployKey => person.to_owned(),
            Holder::AccountKey => format!("it is an account key: look at it with `pullgate key show {holder}`"),
        });
    }
    match held.holder {
        Holder::AccountKey => fault.hint(format!(
            "it is an account key, which is a person's: make a new key for this machine with `pullgate key generate {} {}`",
            new.name.account, new.name.label
        )),
        Holder::DeployKey if holder.account == new.name.account => {
            fault.hint(format!("one key can have many repositories: pullgate key grant {holder} {repos}"))
        }
        Holder::DeployKey => fault.hint(format!(
            "a key is registered once: make another one with `pullgate key generate {} {}`, or let {holder} fetch more: \
             pullgate key grant {holder} {repos}",
            new.name.account, new.name.label
        )),
    }
}

fn quoted(grant: &Grant) -> String {
    match grant {
        Grant::Repo(path) => path.to_string(),
        Grant::Glob(_) | Grant::Group(..) => format!("'{grant}'"),
    }
}
