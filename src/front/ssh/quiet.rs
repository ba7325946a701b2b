//! Lines of the log that strangers can cause: some a minute are written, and the rest is counted in the next one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many lines are written in each [`SPAN`].
const LINES: u32 = 10;
const SPAN: Duration = Duration::from_secs(60);

/// One kind of line.
#[derive(Debug, Default)]
pub(super) struct Quiet(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    written: u32,
    swallowed: u64,
}

impl Quiet {
    /// Whether this line may be written, and then how many were not since the last one.
    pub(super) fn may_say(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= SPAN) {
            (state.since, state.written) = (Some(now), 0);
        }
        if state.written == LINES {
            state.swallowed += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.swallowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_written_and_all_are_counted() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        let written = (0..1000).filter_map(|_| quiet.may_say(start)).count();
        assert_eq!(written, 10);
        assert_eq!(quiet.may_say(start + SPAN), Some(990));
        assert_eq!(quiet.may_say(start + SPAN), Some(0));
    }
}
