//! Which changes of the registry have a record.

use serde::{Deserialize, Serialize};

/// Numbers of changes that were seen. They come in nearly their order: operators who change something at the same moment share
/// a sync of the disk, and the second of them may be first to leave a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Every one up to this was seen, or is not asked for; none before that is known.
    low: Option<u64>,
    /// First and last of those beyond, in order, none touching another.
    beyond: Vec<(u64, u64)>,
}

impl Seen {
    /// All up to `seq`.
    #[must_use]
    pub fn up_to(seq: u64) -> Self {
        Self { low: Some(seq), beyond: Vec::new() }
    }

    /// Says what is known about the beginning, when nothing was.
    pub fn begin(&mut self, seq: u64) {
        if self.low.is_none() {
            self.low = Some(seq);
            self.join();
        }
    }

    /// These were seen.
    pub fn note(&mut self, first: u64, last: u64) {
        let at = self.beyond.partition_point(|(there, _)| *there < first);
        self.beyond.insert(at, (first, last));
        self.join();
    }

    fn join(&mut self) {
        let mut low = self.low;
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.beyond.len());
        for (first, last) in std::mem::take(&mut self.beyond) {
            if let Some(low) = &mut low
                && first <= low.saturating_add(1)
            {
                *low = last.max(*low);
                continue;
            }
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                Some(_) | None => joined.push((first, last)),
            }
        }
        (self.low, self.beyond) = (low, joined);
    }

    /// The one up to which none is missing; none before anything is known.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        self.low
    }

    /// The last that was seen.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.beyond.last().map_or_else(|| self.low.unwrap_or(0), |(_, last)| *last)
    }

    /// First and last of each run that is missing, up to `seq`.
    #[must_use]
    pub fn missing(&self, seq: u64) -> Vec<(u64, u64)> {
        let Some(mut low) = self.low else { return Vec::new() };
        let mut missing = Vec::new();
        for (first, last) in &self.beyond {
            if *first > seq {
                break;
            }
            missing.push((low + 1, first - 1));
            low = *last;
        }
        if low < seq {
            missing.push((low + 1, seq));
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let mut seen = Seen::default();
        seen.note(6, 6);
        assert_eq!(
            (seen.missing(9), seen.whole(), seen.last()),
            (vec![], None, 6),
            "nothing is known of the beginning"
        );
        seen.begin(4);
        assert_eq!((seen.missing(9), seen.whole()), (vec![(5, 5), (7, 9)], Some(4)));
        seen.note(5, 5);
        assert_eq!((seen.missing(6), seen.whole(), seen.last()), (vec![], Some(6), 6));
        seen.note(9, 12);
        assert_eq!(seen.missing(10), [(7, 8)]);
        assert_eq!(Seen::up_to(3).missing(3), []);
    }

    proptest! {
        #[test]
        fn in_any_order_nothing_is_missing_in_the_end(order in Just((1u64..40).collect::<Vec<_>>()).prop_shuffle()) {
            let mut seen = Seen::up_to(0);
            for (at, seq) in order.iter().enumerate() {
                let missing: u64 = seen.missing(39).iter().map(|(first, last)| last - first + 1).sum();
                prop_assert_eq!(missing, 39 - at as u64);
                seen.note(*seq, *seq);
            }
            prop_assert_eq!(seen, Seen::up_to(39));
        }
    }
}
