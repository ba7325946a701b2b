//! `key rotate`

use jiff::{SignedDuration, Timestamp};

use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::Operator;
use crate::admin::{Admin, Done, Faults, counted};
use crate::model::expiry::Expiry;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::Label;
use crate::model::public_key::PublicKey;
use crate::registry::change::{Change, Conflict};
use crate::registry::record::KeyRecord;

/// A rotation, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRotation {
    /// The new key.
    pub key: PublicKey,
    /// Its label; none: the old one with a number.
    pub label: Option<Label>,
    /// How long the old key goes on; none: as the policy says.
    pub overlap: Option<SignedDuration>,
    /// Until when the new key is good; none: for as long as the old one was to be.
    pub expiry: Option<Expiry>,
}

impl Admin {
    /// Registers a new key that inherits what an old one may do, and ends the old one after an overlap.
    ///
    /// # Errors
    /// No such key, it was replaced already, the new key or its label is taken, or the registry cannot write.
    pub fn key_rotate(&self, by: &Operator, old: &KeyRef, new: NewRotation) -> Result<Done, Faults> {
        let record = self.required(old)?;
        if let Some(rotation) = &record.replaced_by {
            // The same again is so already: a script that was interrupted may be run again.
            if rotation.key == new.key.fingerprint() {
                let message = format!("key {} was replaced by {} already", record.name, rotation.name);
                return Ok(Done::new(message, false));
            }
            return Err(Conflict::Replaced { name: record.name, by: rotation.name.clone() }.into());
        }
        let now = Timestamp::now();
        let far = |_| Fault::new(Kind::Invalid, "that time is too far away").field("overlap");
        let until = now.checked_add(new.overlap.unwrap_or(self.policy.overlap)).map_err(far)?;
        let expiry = self.policy.expiry(
            Some(match new.expiry {
                Some(expiry) => expiry,
                None => inherited(&record, now)?,
            }),
            now,
        )?;
        let label = new.label.map_or_else(|| self.next_label(&record), Ok)?;
        let advice = new.key.advice();
        let fingerprint = new.key.fingerprint();
        let (account, named) = (record.account().clone(), label.clone());
        let change = Change::KeyRotate { old: record.fingerprint(), new: new.key, label, expiry, until };
        let done = self.commit(by, change, |met| {
            let old = met.unwrap_or(&record);
            let mut message = format!(
                "key {account}/{named} ({fingerprint}) takes the place of {} and inherits {}",
                old.name,
                counted(old.grants.len(), "grant")
            );
            match until <= now {
                true => message.push_str("; the old key ends now"),
                false => message.push_str(&format!("; the old key goes on until {}", Expiry::At(until))),
            }
            message
        })?;
        let suspended =
            record.suspended.is_some().then(|| format!("{} stays suspended; the new key is not", record.name));
        Ok(done.warn(advice).warn(suspended))
    }

    /// `ci-2` after `ci`, and `ci-3` after that: the first that is free. The number of a key that took no other's place is part of
    /// what it is called, as of the seventh of some machines: `agent-7-2` after `agent-7`.
    fn next_label(&self, old: &KeyRecord) -> Result<Label, Faults> {
        let text = old.name.label.as_str();
        let numbered = text.rsplit_once('-').and_then(|(stem, digits)| Some((stem, digits.parse::<u32>().ok()?)));
        let numbered = numbered.filter(|(_, number)| old.replaces.is_some() && *number < 10_000);
        let (stem, number) = numbered.unwrap_or((text, 1));
        for number in (number.saturating_add(1)..).take(1000) {
            let Ok(label) = Label::parse(&format!("{stem}-{number}")) else { break };
            let name = KeyName { account: old.account().clone(), label: label.clone() };
            if self.lookup.named(&name)?.is_none() {
                return Ok(label);
            }
        }
        Err(Fault::new(Kind::Invalid, "no label for the new key can be made of the old one")
            .field("label")
            .hint("say one with --label")
            .into())
    }
}

/// As long from now as the old key's time was when it was said; never, when it was never to end.
fn inherited(old: &KeyRecord, now: Timestamp) -> Result<Expiry, Fault> {
    match old.expiry {
        Expiry::Never => Ok(Expiry::Never),
        Expiry::At(at) => {
            let time = at.duration_since(old.expiry_set.unwrap_or(old.added_at));
            // Longer than any clock goes is not for ever: that has to be said.
            now.checked_add(time).map(Expiry::At).map_err(|_| {
                Fault::new(Kind::Invalid, "that time is too far away")
                    .field("expires")
                    .hint("the new key inherits the time of the old one: say another with --expires")
            })
        }
    }
}
