//! `key expire`

use jiff::Timestamp;

use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, changed};
use crate::model::details::Details;
use crate::model::expiry::Expiry;
use crate::model::key_name::{KeyName, KeyRef};
use crate::registry::change::Change;
use crate::registry::record::{KeyRecord, Rotation};

impl Admin {
    /// Says until when a key is good. Of a key that was replaced, that is the end of its overlap: sooner or later than it was
    /// to be, and no longer for ever.
    ///
    /// # Errors
    /// No such key, the policy stands against it, a key that was replaced is to be good for ever, or the registry cannot
    /// write.
    pub fn key_expire(&self, by: &Operator, key: &KeyRef, expiry: Expiry) -> Result<Done, Faults> {
        let record = self.required(key)?;
        let expiry = self.policy.expiry(Some(expiry), Timestamp::now())?;
        if let Some(rotation) = &record.replaced_by {
            return self.move_overlap(by, &record, rotation, expiry);
        }
        let done = self.commit(by, Change::KeyExpire { key: record.fingerprint(), expiry }, |met| {
            let record = met.unwrap_or(&record);
            match expiry {
                Expiry::Never => format!("key {} does not expire any more", record.name),
                Expiry::At(_) => format!("key {} is good until {expiry}", record.name),
            }
        })?;
        Ok(done.or_else(|| format!("the expiry of key {} is that already: {expiry}", record.name)))
    }

    fn move_overlap(
        &self,
        by: &Operator,
        record: &KeyRecord,
        rotation: &Rotation,
        expiry: Expiry,
    ) -> Result<Done, Faults> {
        let (name, successor, key) = (&record.name, &rotation.name, record.fingerprint());
        let Expiry::At(until) = expiry else {
            return Err(Fault::new(Kind::Conflict, endless(name, successor))
                .field("expires")
                .hint(format!("say when: pullgate key expire {name} 30d"))
                .into());
        };
        // Its own expiry may not end it before.
        let changes = [Change::KeyExpire { key, expiry }, Change::KeyOverlap { key, until }];
        let committed = self.amend.commit(by.name(), &changes)?;
        if !committed.changed {
            return Ok(Done::new(
                format!("key {name}, which {successor} replaced, goes on until then already: {expiry}"),
                false,
            ));
        }
        let message = format!("key {name}, which {successor} replaced, goes on until {expiry}");
        self.recorded(changed(by.name().to_owned(), &committed, message.clone(), Details::default()));
        Ok(Done::new(message, true))
    }
}

/// Why a key that was replaced is not made good for ever.
#[must_use]
pub fn endless(name: &KeyName, successor: &KeyName) -> String {
    format!("{name} was replaced by {successor}, and a key that was replaced ends some day")
}
