//! Floor 4: the doors. They do not know each other.

pub mod control;
pub mod metrics;
pub mod ssh;
