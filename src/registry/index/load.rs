//! Reading an index into memory.

use super::tally::Sums;
use super::{IVec, Keys, Tree, TreeError, Trees, Unavailable, damaged, facts, guarded, parse_fingerprint};
use crate::registry::keys::Loading;

/// The first fingerprint of the second half: fingerprints are hashes, and so evenly spread.
const HALF: [u8; 1] = [0x80];

/// Reads every row, and refuses them when they do not come to this sum: then they are not what was written.
pub(super) fn load(trees: &Trees, expected: Sums) -> Result<Keys, Unavailable> {
    let [tree, others @ ..] = trees.rows();
    let most = expected.rows();
    // Keys are nearly all of the work: two cores read at once.
    let (low, high) = std::thread::scope(|scope| {
        let high = scope.spawn(|| keys(tree.range(HALF..), most));
        (keys(tree.range(..HALF), most), high.join())
    });
    let (loading, sums) = low?;
    let (more, higher) = high.map_err(|_| damaged("a panic while it was read"))??;
    if sums.and(higher).and(sum(1, &others, most)?) != expected {
        return Err(damaged("its rows are not those that were written"));
    }
    Ok(loading.finish(more)?.with_places(facts::places(&trees.facts)?))
}

/// The keys of a range in the order of their fingerprints, and their sum. A tree that has lost its way may go round in
/// circles: it ends behind `most` rows.
fn keys(
    rows: impl Iterator<Item = Result<(IVec, IVec), TreeError>>,
    most: u64,
) -> Result<(Loading, Sums), Unavailable> {
    let mut rows = rows;
    let (mut loading, mut sums) = (Loading::default(), Sums::default());
    while let Some((row, value)) = guarded(|| rows.next().transpose())? {
        sums.add(0, &row, &value);
        loading.row(parse_fingerprint(&row)?, &value)?;
        if sums.rows() > most {
            return Err(damaged("it has more rows than were written"));
        }
    }
    Ok((loading, sums))
}

/// The sum over trees from a number on.
fn sum(first: u8, trees: &[&Tree], most: u64) -> Result<Sums, Unavailable> {
    let mut sums = Sums::default();
    for (number, tree) in (first..).zip(trees) {
        guarded(|| {
            for row in tree.iter() {
                let (row, value) = row?;
                sums.add(number, &row, &value);
                if sums.rows() > most {
                    return Ok(());
                }
            }
            Ok::<_, TreeError>(())
        })?;
    }
    Ok(sums)
}
