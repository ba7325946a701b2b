//! The rules of a key's life between its first and its last day.

use ipnet::IpNet;
use jiff::Timestamp;

use super::{Draft, View as _};
use crate::model::expiry::Expiry;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::name::Label;
use crate::model::public_key::PublicKey;
use crate::model::text::Note;
use crate::registry::change::{CommitError, Conflict};
use crate::registry::record::{KeyRecord, MAX_SOURCES, Rotation, Suspension};

impl Draft<'_> {
    pub(super) fn expire(&mut self, key: &Fingerprint, expiry: Expiry, at: Timestamp) -> Result<bool, CommitError> {
        let record = self.required(key)?;
        Ok(self.put_if(record.expiry != expiry, KeyRecord { expiry, expiry_set: Some(at), ..record }))
    }

    /// A key that is suspended already stays so since when and for the reason that it was.
    pub(super) fn suspend(
        &mut self,
        key: &Fingerprint,
        reason: &Note,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, CommitError> {
        let record = self.required(key)?;
        let suspension = Suspension { at, by: by.to_owned(), reason: reason.clone() };
        Ok(self.put_if(record.suspended.is_none(), KeyRecord { suspended: Some(suspension), ..record }))
    }

    pub(super) fn resume(&mut self, key: &Fingerprint) -> Result<bool, CommitError> {
        let record = self.required(key)?;
        Ok(self.put_if(record.suspended.is_some(), KeyRecord { suspended: None, ..record }))
    }

    pub(super) fn sources(&mut self, key: &Fingerprint, sources: &[IpNet]) -> Result<bool, CommitError> {
        let record = self.required(key)?;
        if sources.len() > MAX_SOURCES {
            return Err(Conflict::TooManySources(record.name).into());
        }
        Ok(self.put_if(record.sources != sources, KeyRecord { sources: sources.to_vec(), ..record }))
    }

    /// The new key inherits what the old one is at this moment, whatever was read before.
    pub(super) fn rotate(
        &mut self,
        old: &Fingerprint,
        new: &PublicKey,
        label: &Label,
        (expiry, until): (Expiry, Timestamp),
        by: &str,
        at: Timestamp,
    ) -> Result<bool, CommitError> {
        let mut record = self.required(old)?;
        if let Some(held) = self.view().key(&new.fingerprint())? {
            return Err(Conflict::KeyHeld { holder: held.name, kind: held.holder }.into());
        }
        let mut until = until;
        if let Some(rotation) = record.replaced_by.take() {
            if self.view().key(&rotation.key)?.is_some() {
                return Err(Conflict::Replaced { name: record.name, by: rotation.name }.into());
            }
            // The key that took its place is gone. It ends when it was to all the same.
            until = until.min(rotation.until);
        }
        let name = KeyName { account: record.name.account.clone(), label: label.clone() };
        self.label_is_free(&name)?;
        let successor = KeyRecord {
            key: new.clone(),
            name: name.clone(),
            holder: record.holder,
            note: record.note.clone(),
            added_at: at,
            added_by: by.to_owned(),
            expiry,
            expiry_set: None,
            suspended: None,
            sources: record.sources.clone(),
            grants: record.grants.clone(),
            replaces: Some(Rotation { key: *old, name: record.name.clone(), at, until }),
            replaced_by: None,
        };
        record.replaced_by = Some(Rotation { key: new.fingerprint(), name: name.clone(), at, until });
        self.over.names.insert(name, Some(new.fingerprint()));
        self.put(record);
        self.put(successor);
        Ok(true)
    }

    /// Both keys of the rotation say when it ends.
    pub(super) fn overlap(&mut self, key: &Fingerprint, until: Timestamp) -> Result<bool, CommitError> {
        let mut record = self.required(key)?;
        let Some(rotation) = &mut record.replaced_by else { return Err(Conflict::NotReplaced(record.name).into()) };
        if rotation.until == until {
            return Ok(false);
        }
        rotation.until = until;
        if let Some(mut other) = self.view().key(&rotation.key)?
            && let Some(back) = other.replaces.as_mut().filter(|back| back.key == *key)
        {
            back.until = until;
            self.put(other);
        }
        self.put(record);
        Ok(true)
    }

    /// Tells the other keys of its rotations what a key is called now.
    pub(super) fn tell_rotation(&mut self, record: &KeyRecord) -> Result<(), CommitError> {
        if let Some(rotation) = &record.replaces
            && let Some(mut other) = self.view().key(&rotation.key)?
            && let Some(back) = other.replaced_by.as_mut().filter(|back| back.key == record.fingerprint())
        {
            back.name = record.name.clone();
            self.put(other);
        }
        if let Some(rotation) = &record.replaced_by
            && let Some(mut other) = self.view().key(&rotation.key)?
            && let Some(back) = other.replaces.as_mut().filter(|back| back.key == record.fingerprint())
        {
            back.name = record.name.clone();
            self.put(other);
        }
        Ok(())
    }
}
