//! How an index that was not closed well is told from a good one: by the sum over all of its rows.
//!
//! sled cannot be asked whether it is whole; after a crash it may open and silently miss rows, or have old ones. So whoever
//! changes a row takes the old one out of a sum and adds the new one, and the sum is written in the same transaction as the
//! number of the journal's entry that it belongs to. An index whose rows come to that sum is what was written up to there.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hasher as _};

use serde::{Deserialize, Serialize};

use super::{Applied, ConflictableTransactionError, IVec, InTransaction, TransactionalTree, Tree};

/// The number of rows, and the sum of their hashes. Against accidents and not against forgers: who can write the files of
/// the registry needs no collision. Should the standard library ever hash otherwise, the index is built again, once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    rows: u64,
    hashes: u64,
}

impl Sums {
    /// How many rows there are.
    pub(super) fn rows(self) -> u64 {
        self.rows
    }

    /// The sum of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { rows: self.rows.wrapping_add(other.rows), hashes: self.hashes.wrapping_add(other.hashes) }
    }

    fn hash(tree: u8, row: &[u8], value: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(tree);
        hasher.write_usize(row.len());
        hasher.write(row);
        hasher.write(value);
        hasher.finish()
    }

    pub(super) fn add(&mut self, tree: u8, row: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.hashes = self.hashes.wrapping_add(Self::hash(tree, row, value));
    }

    fn take(&mut self, tree: u8, row: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.hashes = self.hashes.wrapping_sub(Self::hash(tree, row, value));
    }
}

/// What the index says about itself, beside its rows.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) applied: Applied,
    pub(super) sums: Sums,
}

/// A tree that can be changed: in a transaction, or by itself.
pub(super) trait Rows {
    fn put(&self, row: &[u8], value: &[u8]) -> InTransaction<Option<IVec>>;
    fn take(&self, row: &[u8]) -> InTransaction<Option<IVec>>;
}

impl Rows for TransactionalTree {
    fn put(&self, row: &[u8], value: &[u8]) -> InTransaction<Option<IVec>> {
        Ok(self.insert(row, value)?)
    }

    fn take(&self, row: &[u8]) -> InTransaction<Option<IVec>> {
        Ok(self.remove(row)?)
    }
}

impl Rows for Tree {
    fn put(&self, row: &[u8], value: &[u8]) -> InTransaction<Option<IVec>> {
        self.insert(row, value).map_err(ConflictableTransactionError::Storage)
    }

    fn take(&self, row: &[u8]) -> InTransaction<Option<IVec>> {
        self.remove(row).map_err(ConflictableTransactionError::Storage)
    }
}

/// A tree together with the sum that its changes go into.
pub(super) struct Tally<'a, T> {
    tree: &'a T,
    number: u8,
    sums: &'a Cell<Sums>,
}

impl<T: Rows> Tally<'_, T> {
    pub(super) fn put(&self, row: &[u8], value: &[u8]) -> InTransaction<Option<IVec>> {
        let old = self.tree.put(row, value)?;
        let mut sums = self.sums.get();
        if let Some(old) = &old {
            sums.take(self.number, row, old);
        }
        sums.add(self.number, row, value);
        self.sums.set(sums);
        Ok(old)
    }

    pub(super) fn take(&self, row: &[u8]) -> InTransaction<Option<IVec>> {
        let old = self.tree.take(row)?;
        if let Some(old) = &old {
            let mut sums = self.sums.get();
            sums.take(self.number, row, old);
            self.sums.set(sums);
        }
        Ok(old)
    }
}

/// The trees with rows, in the order of their numbers.
pub(super) struct Tallies<'a, T> {
    pub(super) keys: Tally<'a, T>,
    pub(super) accounts: Tally<'a, T>,
    pub(super) facts: Tally<'a, T>,
}

impl<'a, T: Rows> Tallies<'a, T> {
    pub(super) fn new(trees: [&'a T; 3], sums: &'a Cell<Sums>) -> Self {
        let [keys, accounts, facts] = trees;
        let tally = |tree, number| Tally { tree, number, sums };
        Self { keys: tally(keys, 0), accounts: tally(accounts, 1), facts: tally(facts, 2) }
    }
}
