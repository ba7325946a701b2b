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
mod beside;
mod bombs;
mod books;
mod bounds;
mod cells;
mod ci_pages;
mod ci_tools;
mod clones;
mod commands;
mod crash;
mod crowds;
mod delta_bomb;
#[path = "../storage/disk.rs"]
#[allow(dead_code, reason = "the tests of the registry use more of it")]
mod disk;
mod documents;
mod door;
mod faults;
mod fire;
mod gits;
mod harness;
mod hostile;
mod hostile_clients;
mod hostile_repos;
mod idle;
mod keys;
mod kills;
mod leaks;
mod logs;
mod means;
mod messages;
mod metrics;
mod polls;
#[path = "../../benches/peers/client.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
mod raw;
mod refusals;
mod reload;
mod repositories;
mod rotation;
mod scene;
mod secrets;
mod service;
mod sessions;
mod ssh_agent;
mod stalls;
mod storms;
mod strangers;
mod threats;
mod timing;
mod tree;
mod upgrade_signals;
mod upgrades;
mod waits;
mod watcher;
mod watching;
mod withdrawn;
