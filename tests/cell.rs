//! The cell from inside: what a child that wants out can do, and that every start of one is a real cell.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "test code says no by panicking")]

#[path = "cell/acts.rs"]
mod acts;
#[path = "cell/kernels.rs"]
mod kernels;
#[path = "cell/parent.rs"]
mod parent;
#[path = "cell/prefer.rs"]
mod prefer;
#[path = "cell/start.rs"]
mod start;
#[path = "cell/support.rs"]
mod support;
#[path = "cell/workers.rs"]
mod workers;
