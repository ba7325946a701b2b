//! `key add`

use ipnet::IpNet;

use super::NAMED;
use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, listed};
use crate::model::expiry::Expiry;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::public_key::PublicKey;
use crate::model::text::Note;
use crate::registry::change::Change;
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
    /// Until when it is good.
    pub expiry: Expiry,
    /// The networks it may come from; empty means anywhere.
    pub sources: Vec<IpNet>,
    /// What it may fetch.
    pub grants: Vec<Grant>,
}

impl NewKey {
    /// Whether the registry holds exactly this: then adding it again has nothing to do. A suspended key is not what
    /// somebody who adds a key wants to have.
    fn is(&self, held: &KeyRecord) -> bool {
        let mut grants = self.grants.clone();
        grants.sort();
        grants.dedup();
        held.name == self.name
            && held.holder == Holder::DeployKey
            && held.note == self.note
            && held.expiry == self.expiry
            && held.sources == self.sources
            && held.grants == grants
            && held.suspended.is_none()
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
        self.alone(|| {
            let advice = new.key.advice();
            let fingerprint = new.key.fingerprint();
            if let Some(held) = self.lookup.key(&fingerprint)? {
                if new.is(&held) {
                    let message = format!("key {} ({fingerprint}) is registered already", new.name);
                    return Ok(Done { message, changed: false, warnings: advice.into_iter().collect() });
                }
                return Err(held_fault(&held, &new).into());
            }
            let mut warnings = self.check_grants(&new.name.account, &new.grants)?;
            warnings.extend(advice);
            let mut message = format!("added key {} ({fingerprint})", new.name);
            match new.grants.is_empty() {
                true => message.push_str(", which may fetch nothing yet"),
                false => message.push_str(&format!(", which may fetch {}", listed(&new.grants, NAMED))),
            }
            if let Expiry::At(_) = new.expiry {
                message.push_str(&format!(", until {}", new.expiry));
            }
            if !new.sources.is_empty() {
                message.push_str(&format!(", from {}", listed(&new.sources, NAMED)));
            }
            let NewKey { key, name, note, expiry, sources, grants } = new;
            let change = Change::KeyAdd { key, name, holder: Holder::DeployKey, note, expiry, sources, grants };
            self.commit(by, change, &message)?;
            Ok(Done { message, changed: true, warnings })
        })
    }
}

/// What to say when the key is registered. Says who holds it, never what it may fetch: that is the holder's business.
fn held_fault(held: &KeyRecord, new: &NewKey) -> Fault {
    let repos = match new.grants.is_empty() {
        true => "REPO".to_owned(),
        // Pasted into a shell, a pattern must not become file names.
        false => new.grants.iter().map(quoted).collect::<Vec<_>>().join(" "),
    };
    let holder = &held.name;
    let fault = Fault::new(Kind::Conflict, format!("this public key is already registered as {holder}")).field("key");
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
