//! How many gits may be there at a time, and who may wait for one.

use std::time::Duration;

/// How many may work, and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotSettings {
    /// Gits that make packs at a time.
    pub slots: usize,
    /// Of these for one key.
    pub per_key: usize,
    /// And for one repository.
    pub per_repository: usize,
    /// Gits of one client each that have no slot: they wait for what it asks, or answer what makes no pack. 0: thirty-two for each slot.
    pub rooms: usize,
    /// How many may wait.
    pub queue: usize,
    /// For how long.
    pub wait: Duration,
}

impl Default for SlotSettings {
    fn default() -> Self {
        Self { slots: 0, per_key: 0, per_repository: 0, rooms: 0, queue: 1000, wait: Duration::from_secs(600) }
    }
}

impl SlotSettings {
    /// With numbers in place of the zeros: two for each core of this machine and four at least; for one key and for one
    /// repository all but one.
    #[must_use]
    pub fn for_this_machine(self) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let slots = if self.slots == 0 { (2 * cores).max(4) } else { self.slots };
        let part = |part: usize| if part == 0 { slots.saturating_sub(1).max(1) } else { part.min(slots) };
        let rooms = if self.rooms == 0 { 32 * slots } else { self.rooms };
        Self { slots, per_key: part(self.per_key), per_repository: part(self.per_repository), rooms, ..self }
    }

    /// The same for gits that have no slot. Whoever may hold one for minutes without a word has half of them.
    #[must_use]
    pub(in crate::git) fn rooms(self) -> Self {
        let rooms = self.for_this_machine().rooms;
        Self { slots: rooms, per_key: rooms.div_ceil(2), per_repository: rooms, ..self }
    }
}
