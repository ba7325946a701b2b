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
mod balancer;
mod bombs;
mod cells;
mod ci_pages;
mod ci_tools;
mod clones;
mod crash;
mod documents;
mod door;
mod harness;
mod hostile_clients;
mod hostile_repos;
mod keys;
mod messages;
mod refusals;
mod repositories;
mod rotation;
mod scene;
mod secrets;
mod sessions;
mod storms;
mod threats;
