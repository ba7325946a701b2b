//! What git's work is kept as, as administration asks for it.

use crate::admin::cache::{CacheView, Keeper, TallyView};
use crate::git::counts::{Counted, Tally};
use crate::git::{Git, Kept};

/// The git that serves.
#[derive(Debug)]
pub(super) struct GitKeeper(pub(super) Git);

impl Keeper for GitKeeper {
    fn show(&self) -> CacheView {
        let kept = self.0.kept();
        let Kept { enabled, entries, bytes, memory_bytes, poll_bytes, slots, running, waiting, .. } = kept;
        let (poll_entries, Counted { polls, packs, bypasses }) = (kept.polls, kept.counted);
        let (polls, packs) = (view(&polls), view(&packs));
        CacheView {
            enabled,
            entries,
            bytes,
            memory_bytes,
            poll_entries,
            poll_bytes,
            slots,
            running,
            waiting,
            polls,
            packs,
            bypasses,
        }
    }

    fn clear(&self) -> usize {
        self.0.forget()
    }
}

fn view(tally: &Tally) -> TallyView {
    let Tally { hit, joined, miss, bypass, bytes_saved, bytes } = *tally;
    TallyView { hit, joined, miss, bypass, bytes, bytes_saved }
}
