//! What a key may hear about itself.

use jiff::Timestamp;

use super::{Gate, Principal, Refusal, decide};
use crate::model::expiry::Expiry;
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::registry::record::Holder;

/// A key's own view of itself, for the greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: KeyName,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// A machine's or a person's.
    pub holder: Holder,
    /// Until when it is good.
    pub expiry: Expiry,
    /// What it may fetch.
    pub grants: Vec<Grant>,
}

impl Gate {
    /// How the key stands now, read again.
    ///
    /// # Errors
    /// A [`Refusal`] when the key may do nothing at the moment.
    pub fn standing(&self, who: &Principal) -> Result<Standing, Refusal> {
        let standing = self.now(who, None, |record| {
            decide::in_use(record, who.subject.address, Timestamp::now()).decide()?;
            let (name, grants) = (record.name.clone(), record.grants.clone());
            Ok(Standing {
                name,
                fingerprint: record.fingerprint(),
                holder: record.holder,
                expiry: record.expiry,
                grants,
            })
        });
        standing.map(|(standing, _)| standing)
    }
}
