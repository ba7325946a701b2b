//! The registry as a list of pieces: how a snapshot in the journal says what all entries before it came to.

use serde::{Deserialize, Serialize};

use super::change::Unavailable;
use super::overlay::Overlay;
use super::record::{AccountRecord, GroupRecord, KeyRecord, PublicRecord, Tombstone};
use super::rules::View as _;
use super::state::State;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;

/// One line of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Piece {
    /// An account.
    Account(AccountRecord),
    /// A group.
    Group(GroupRecord),
    /// A public repository.
    Public(PublicRecord),
    /// A key.
    Key(Box<KeyRecord>),
    /// What is left of a removed key.
    Tomb(Box<Tombstone>),
    /// The key that was last removed under a name.
    TombName(KeyName, Fingerprint),
}

/// Everything that the state holds. A snapshot is read back and compared before it takes the place of anything, so what is
/// forgotten here is found there.
pub(super) fn pieces(state: &State) -> Result<impl Iterator<Item = Result<Piece, Unavailable>>, Unavailable> {
    let (groups, publics) = (state.groups(None)?, state.publics(None)?);
    let accounts = state.accounts().cloned().map(Piece::Account);
    let first = accounts.chain(groups.into_iter().map(Piece::Group)).chain(publics.into_iter().map(Piece::Public));
    let keys = state.keys().after(None).map(|record| record.map(|record| Piece::Key(Box::new(record))));
    let tombs = state.tombs_after(None).map(|tomb| Piece::Tomb(Box::new(tomb.clone())));
    let tomb_names = state.tomb_names_after(None).map(|(name, key)| Piece::TombName(name.clone(), *key));
    Ok(first.map(Ok).chain(keys).chain(tombs.chain(tomb_names).map(Ok)))
}

/// Puts a piece back.
pub(super) fn put(state: &mut State, piece: Piece) {
    let mut over = Overlay::default();
    match piece {
        Piece::Account(record) => drop(over.accounts.insert(record.name.clone(), Some(record))),
        Piece::Group(record) => {
            drop(over.groups.insert((record.account.clone(), record.name.clone()), Some(record)));
        }
        Piece::Public(record) => drop(over.public.insert(record.repo.clone(), Some(record))),
        Piece::Key(record) => {
            let fingerprint = record.fingerprint();
            over.names.insert(record.name.clone(), Some(fingerprint));
            over.keys.insert(fingerprint, Some(*record));
        }
        Piece::Tomb(tomb) => drop(over.tombs.insert(tomb.key, *tomb)),
        Piece::TombName(name, key) => {
            over.tomb_names.insert(name, key);
        }
    }
    state.apply(over);
}
