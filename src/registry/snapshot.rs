//! The registry as a list of pieces: how a snapshot in the journal says what all entries before it came to.

use serde::{Deserialize, Serialize};

use super::change::Unavailable;
use super::overlay::Overlay;
use super::record::{AccountRecord, KeyRecord};
use super::state::State;

/// One line of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Piece {
    /// An account.
    Account(AccountRecord),
    /// A key.
    Key(Box<KeyRecord>),
}

/// Everything that the state holds. A snapshot is read back and compared before it takes the place of anything, so what is
/// forgotten here is found there.
pub(super) fn pieces(state: &State) -> impl Iterator<Item = Result<Piece, Unavailable>> {
    let accounts = state.accounts().cloned().map(|record| Ok(Piece::Account(record)));
    let keys = state.keys_after(None).map(|record| record.map(|record| Piece::Key(Box::new(record))));
    accounts.chain(keys)
}

/// Puts a piece back.
pub(super) fn put(state: &mut State, piece: Piece) {
    let mut over = Overlay::default();
    match piece {
        Piece::Account(record) => drop(over.accounts.insert(record.name.clone(), Some(record))),
        Piece::Key(record) => {
            let fingerprint = record.fingerprint();
            over.names.insert(record.name.clone(), Some(fingerprint));
            over.keys.insert(fingerprint, Some(*record));
        }
    }
    state.apply(&over);
}
