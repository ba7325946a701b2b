//! Bringing an index that was not closed well up to the journal, when it is a good one that is only behind.
//!
//! After a kill, sled has what it had written up to some moment: about half a second may be missing. The index says which
//! entry it goes up to, and by the sum of its rows that it really does; the rest is in the journal.

use super::index::{Applied, Index};
use super::journal::entry::Hash;
use super::journal::replay::redo;
use super::journal::walk::Fault;
use super::journal::{Journal, Places};
use super::overlay::Overlay;

/// How far behind an index may be, in bytes of the journal. To build it is quicker than to add more to it one by one.
const MOST: u64 = 64 * 1024 * 1024;

/// Adds to the index what it is behind, and says how many entries that were.
///
/// # Errors
/// In words, why it is no index of this journal. It is of no use then.
pub(super) fn catch_up(index: &Index, journal: &Journal, places: &Places) -> Result<u64, String> {
    let reader = index.reader();
    let applied = reader.applied().map_err(|error| error.to_string())?.ok_or("it does not say what it is")?;
    let same = |seq, hash| Applied::new(seq, hash) == applied;
    if same(journal.seq(), journal.hash()) {
        return Ok(0);
    }
    if applied.seq >= journal.seq() {
        return Err("it does not fit the journal".to_owned());
    }
    let from = places.of(applied.seq + 1).ok_or("the journal has only a snapshot of what it is behind")?;
    if journal.end().offset - from > MOST {
        return Err("it is far behind".to_owned());
    }
    let (mut begun, mut count, mut refused) = (Overlay::default(), 0, None);
    let mut add = |entry: super::journal::entry::Entry, hash: Hash| -> Result<(), String> {
        if entry.seq <= applied.seq {
            return Ok(());
        }
        if entry.seq == applied.seq + 1 && !same(applied.seq, entry.prev) {
            return Err("it does not fit the journal".to_owned());
        }
        let over = redo(&reader, std::mem::take(&mut begun), &entry).map_err(|error| error.to_string())?;
        if entry.more {
            begun = over;
            return Ok(());
        }
        count += 1;
        index.apply(&over, Applied::new(entry.seq, hash)).map_err(|error| error.to_string())
    };
    let read = journal.entries(from, |entry, hash| {
        if refused.is_none() {
            refused = add(entry, hash).err();
        }
        Ok(())
    });
    match (refused, read) {
        (Some(why), _) => Err(why),
        (None, Err(fault @ (Fault::Io(_) | Fault::Newer(_) | Fault::Short { .. } | Fault::Damaged { .. }))) => {
            Err(fault.to_string())
        }
        (None, Ok(())) => Ok(count),
    }
}
