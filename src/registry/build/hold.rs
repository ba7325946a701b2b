//! Holding the builder of an index between two pieces, for tests of what goes on meanwhile.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The file that says before which piece of keys the builder waits; while it is there.
const HOLD: &str = "hold";
/// The file that says where it waits.
const HELD: &str = "held";

/// From the builder: waits as long as it is told to.
pub(super) fn here(dir: &Path, pieces: usize, stop: &AtomicBool) {
    let told = || fs::read_to_string(dir.join(HOLD)).ok().and_then(|text| text.parse::<usize>().ok());
    while told() == Some(pieces) && !stop.load(Ordering::Acquire) {
        fs::write(dir.join(HELD), pieces.to_string()).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// From a test: the builder in `dir` is to wait before this piece, counted from 0.
pub(in crate::registry) fn at(dir: &Path, piece: usize) {
    // Never half a number.
    fs::write(dir.join("hold.new"), piece.to_string()).unwrap();
    fs::rename(dir.join("hold.new"), dir.join(HOLD)).unwrap();
}

/// From a test: waits until the builder waits before this piece.
pub(in crate::registry) fn reached(dir: &Path, piece: usize) {
    let start = Instant::now();
    while fs::read_to_string(dir.join(HELD)).ok() != Some(piece.to_string()) {
        assert!(start.elapsed() < Duration::from_secs(60), "the builder does not come to piece {piece}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// From a test: the builder is to go on.
pub(in crate::registry) fn release(dir: &Path) {
    fs::remove_file(dir.join(HOLD)).unwrap();
}
