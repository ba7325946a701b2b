//! From a proven key to a principal.

use russh::keys::ssh_key::Algorithm;
use russh::server::VerifiedPublicKey;

use super::{Declined, Gate};
use crate::audit::{Event, Subject, new_id};
use crate::model::public_key::PublicKey;
use crate::model::text::printable_bytes;

/// The longest client version that is kept, in characters (RFC 4253 §4.2 allows 255).
const MAX_CLIENT: usize = 120;

/// A key that this connection's peer signed with.
///
/// Promise: made only from what the SSH library hands out after it verified the signature; its [`VerifiedPublicKey`] can
/// be made by that library alone.
///
/// ```compile_fail
/// fn forge(key: pullgate::model::public_key::PublicKey) -> pullgate::gate::ProvenKey {
///     pullgate::gate::ProvenKey { key }
/// }
/// ```
/// ```compile_fail,E0382
/// // One proof, one use.
/// fn twice(gate: &pullgate::gate::Gate, key: pullgate::gate::ProvenKey, who: pullgate::audit::Subject) {
///     let first = gate.admit(key, who.clone());
///     let second = gate.admit(key, who);
/// }
/// ```
/// ```compile_fail,E0277
/// fn copies<T: Clone>() {}
/// copies::<pullgate::gate::ProvenKey>();
/// ```
#[derive(Debug)]
pub struct ProvenKey {
    key: PublicKey,
}

/// The peer signed with SHA-1 (`ssh-rsa`, RFC 8332 §1), for which forged signatures are within reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sha1Signature;

impl ProvenKey {
    /// Takes over the library's proof. `Ok(None)`: the key is of a kind that cannot be registered.
    ///
    /// # Errors
    /// [`Sha1Signature`] when what was proved rests on SHA-1.
    pub fn new(verified: VerifiedPublicKey<'_>) -> Result<Option<Self>, Sha1Signature> {
        if matches!(verified.algorithm, Algorithm::Rsa { hash: None }) {
            return Err(Sha1Signature);
        }
        Ok(PublicKey::from_peer(verified.public_key).ok().map(|key| Self { key }))
    }
}

/// A registered key that logged in. What it may do is asked again at every request.
///
/// ```compile_fail
/// fn forge(key: pullgate::model::public_key::PublicKey, s: pullgate::audit::Subject) -> pullgate::gate::Principal {
///     pullgate::gate::Principal { key, subject: s }
/// }
/// ```
#[derive(Debug)]
pub struct Principal {
    pub(super) key: PublicKey,
    pub(super) subject: Subject,
}

impl Principal {
    /// Who it is, for records.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

/// What became of a proven key.
#[derive(Debug)]
pub enum Admission {
    /// It is registered.
    Registered(Principal),
    /// It is let in just far enough to be told something.
    ToldOnly(Declined, Subject),
    /// It is not registered: refused at authentication, so that the client's next key gets its turn.
    Unknown,
}

impl Gate {
    /// Records that the principal is in, with the version string of its client, which is only known by now.
    #[must_use]
    pub fn entered(&self, mut principal: Principal, client: &[u8]) -> Principal {
        principal.subject.client = Some(printable_bytes(client, MAX_CLIENT));
        self.audit.record(&new_id(), Event::Login { subject: principal.subject.clone() });
        principal
    }

    /// Records that somebody is in who is only told something.
    #[must_use]
    pub fn entered_to_be_told(&self, mut subject: Subject, client: &[u8]) -> Subject {
        subject.client = Some(printable_bytes(client, MAX_CLIENT));
        self.audit.record(&new_id(), Event::Login { subject: subject.clone() });
        subject
    }

    /// Lets a registered key in, expired and suspended ones too: they are told so when they ask.
    #[must_use]
    pub fn admit(&self, proven: ProvenKey, mut subject: Subject) -> Admission {
        let key = proven.key;
        subject.fingerprint = Some(key.fingerprint());
        match self.current(&key) {
            Ok(Some(record)) => {
                subject.key = Some(record.name);
                Admission::Registered(Principal { key, subject })
            }
            Ok(None) => Admission::Unknown,
            Err(unavailable) => {
                tracing::error!(%unavailable, "a login cannot be decided");
                Admission::ToldOnly(Declined::Unavailable, subject)
            }
        }
    }
}
