//! pullgate: an SSH gateway that enforces read-only deploy keys for git.
//!
//! The map of the house, from the ground up; a module names only modules on lower floors, and `tests/floors.rs` holds it
//! to that.
//!
//! - floor 0: [`model`], words without I/O
//! - floor 1: [`registry`], which keys exist and what each may fetch; [`audit`], one record per decision;
//!   [`store`], repositories on disk; [`cache`], bytes under a key; [`sandbox`], a cell for a child process
//! - floor 2: [`gate`], the only module that says yes; [`admin`], the only module that changes the registry
//! - floor 3: [`git`], carries out a fetch
//! - floor 4: [`front`], the doors
//! - floor 5: [`daemon`], the config file, the house built from it, and its day
//! - floor 6: [`cli`], what a person types

pub mod admin;
pub mod audit;
pub mod cache;
pub mod cli;
pub mod daemon;
pub mod front;
pub mod gate;
pub mod git;
pub mod model;
pub mod registry;
pub mod sandbox;
pub mod store;
pub mod usage;
