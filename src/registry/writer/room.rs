//! What is told of the journal, and the way back from a full disk.

use std::time::{Duration, Instant};

use super::Writer;

/// How often a journal that could not grow is tried again, beside what operators try.
const TRY_ROOM: Duration = Duration::from_secs(2);

impl Writer {
    /// Says where the journal ends, and looks whether it can grow again when it could not.
    pub(super) fn tell_of_journal(&mut self) {
        let end = self.journal.end();
        self.reading.meter.ends(end.seq, end.offset);
        if self.reading.meter.is_full() && self.tried_room.elapsed() >= TRY_ROOM {
            self.tried_room = Instant::now();
            if self.journal.make_room().is_ok() {
                tracing::info!("there is room for the journal again");
                self.reading.meter.has_room();
            }
        }
    }
}
