//! When to give a fetch up. `git upload-pack --timeout` does nothing for protocol 2, so the clocks are ours.

use std::time::Duration;

use tokio::time::Instant;

use super::Settings;
use super::meter::{Limit, Meter};
use crate::audit::Ended;

/// The state of the three clocks of one fetch.
#[derive(Debug)]
pub(super) struct Clocks {
    settings: Settings,
    end: Instant,
    last_move: Instant,
    negotiating: bool,
    tail: Vec<u8>,
    meter: Meter,
}

/// The start of a pack: signature and version (gitformat-pack). Both protocols bring it, whatever frames it.
const PACK: &[u8] = b"PACK\0\0\0";

impl Clocks {
    pub(super) fn start(settings: &Settings, meter: &Meter) -> Self {
        let now = Instant::now();
        let (end, tail, meter) = (now + settings.total, Vec::new(), meter.clone());
        Self { settings: *settings, end, last_move: now, negotiating: true, tail, meter }
    }

    /// Bytes came from the client or went to it.
    pub(super) fn moved(&mut self) {
        self.last_move = Instant::now();
    }

    /// Whether no pack has begun.
    pub(super) fn is_negotiating(&self) -> bool {
        self.negotiating
    }

    /// Bytes go to the client: looks for the pack, with which the client's part of the talk is over and its silence no
    /// longer a fault.
    pub(super) fn sending(&mut self, bytes: &[u8]) {
        if !self.negotiating {
            return;
        }
        let kept = self.tail.len();
        // The start may lie across two pieces.
        self.tail.extend(bytes.iter().take(PACK.len()));
        if memchr::memmem::find(&self.tail, PACK).is_some() || memchr::memmem::find(bytes, PACK).is_some() {
            self.negotiating = false;
            self.tail = Vec::new();
            return;
        }
        if bytes.len() >= PACK.len() {
            self.tail.clear();
            self.tail.extend(bytes.iter().skip(bytes.len() - (PACK.len() - 1)));
        } else {
            let excess = (kept + bytes.len()).saturating_sub(PACK.len() - 1);
            self.tail.drain(..excess.min(self.tail.len()));
        }
    }

    /// When the next clock runs out, if nothing moves until then.
    pub(super) fn deadline(&self) -> Instant {
        let silence: Duration =
            if self.negotiating { self.settings.negotiation.min(self.settings.idle) } else { self.settings.idle };
        (self.last_move + silence).min(self.end)
    }

    /// The deadline has come: counts which clock it was.
    pub(super) fn ran_out(&self) -> Ended {
        self.meter.met(match self.deadline() {
            end if end == self.end => Limit::Total,
            _ if self.negotiating && self.settings.negotiation <= self.settings.idle => Limit::Negotiation,
            _ => Limit::Idle,
        });
        Ended::TimedOut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> Settings {
        Settings {
            negotiation: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            total: Duration::from_secs(3600),
            slots: crate::git::SlotSettings::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_that_ran_out_is_counted() {
        let meter = Meter::default();
        let counts = || [Limit::Negotiation, Limit::Idle, Limit::Total].map(|limit| meter.count(limit));
        let mut clocks = Clocks::start(&settings(), &meter);
        assert_eq!(clocks.ran_out(), Ended::TimedOut);
        assert_eq!(counts(), [1, 0, 0]);
        clocks.sending(b"PACK\0\0\0\x02");
        clocks.ran_out();
        assert_eq!(counts(), [1, 1, 0]);
        tokio::time::advance(Duration::from_secs(3000)).await;
        clocks.moved();
        clocks.ran_out();
        assert_eq!(counts(), [1, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_before_the_pack_is_short_and_after_it_long() {
        let start = Instant::now();
        let mut clocks = Clocks::start(&settings(), &Meter::default());
        assert_eq!(clocks.deadline() - start, Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(10)).await;
        clocks.moved();
        assert_eq!(clocks.deadline() - start, Duration::from_secs(70));
        clocks.sending(b"000dpackfile\n0023\x01PACK\0\0\0\x02");
        assert_eq!(clocks.deadline() - start, Duration::from_secs(610));
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_is_never_passed() {
        let start = Instant::now();
        let mut clocks = Clocks::start(&settings(), &Meter::default());
        for _ in 0..400 {
            tokio::time::advance(Duration::from_secs(10)).await;
            clocks.moved();
        }
        assert_eq!(clocks.deadline() - start, Duration::from_secs(3600));
    }

    proptest! {
        #[test]
        fn the_pack_is_found_however_it_is_cut(before in "[a-zP]{0,40}", cuts in prop::collection::vec(1usize..12, 1..30)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _guard = runtime.enter();
            let mut stream = before.into_bytes();
            stream.extend_from_slice(b"PACK\0\0\0\x02");
            let mut clocks = Clocks::start(&settings(), &Meter::default());
            let (mut rest, mut cuts) = (stream.as_slice(), cuts.into_iter().cycle());
            while !rest.is_empty() {
                prop_assert!(clocks.negotiating || rest.len() <= 1);
                let (piece, more) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                clocks.sending(piece);
                rest = more;
            }
            prop_assert!(!clocks.negotiating);
        }
    }
}
