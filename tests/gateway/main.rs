//! The gateway as its users meet it: the real program, the real ssh, the real git.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests say no by panicking, and what they print is for whoever reads a failure"
)]

mod algorithms;
mod bombs;
mod ci_pages;
mod ci_tools;
mod clones;
mod crash;
mod documents;
mod harness;
mod hostile_repos;
mod keys;
mod leaks;
mod messages;
mod polls;
mod refusals;
mod repositories;
mod rotation;
mod scene;
mod sessions;
mod storms;
mod threats;
