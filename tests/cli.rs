//! The program as a person or a script meets it: arguments in, text and exit code out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "test code says no by panicking, and its modules are one crate"
)]

#[path = "cli/support.rs"]
mod support;

#[path = "cli/apply.rs"]
mod apply;
#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/audit_chain.rs"]
mod audit_chain;
#[path = "cli/backup.rs"]
mod backup;
#[path = "cli/cache.rs"]
mod cache;
#[path = "cli/checks.rs"]
mod checks;
#[path = "cli/daemon.rs"]
mod daemon;
#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/generate.rs"]
mod generate;
#[path = "cli/host_keys.rs"]
mod host_keys;
#[path = "cli/import.rs"]
mod import;
#[path = "cli/install.rs"]
mod install;
#[path = "cli/json.rs"]
mod json;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/life.rs"]
mod life;
#[path = "cli/listings.rs"]
mod listings;
#[path = "cli/places.rs"]
mod places;
#[path = "cli/prune.rs"]
mod prune;
