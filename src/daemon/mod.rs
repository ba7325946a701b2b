//! Floor 5: the house is built bottom-up from one config file, its doors are opened, and it is drained.

pub mod config;
pub mod explain;
pub mod house;
mod keeper;
pub mod log;
pub mod means;
mod meter;
pub mod reload;
pub mod repos;
pub mod serve;
pub mod service;
mod serving;
pub mod signals;
pub mod sockets;
pub mod stopping;
pub mod upgrade;
