//! pullgate: an SSH gateway that enforces read-only deploy keys for git.
//!
//! The map of the house, from the ground up; a module names only modules on lower floors, and `tests/floors.rs` holds it
//! to that.
//!
//! - floor 0: [`model`], words without I/O
//! - floor 1: [`registry`], which keys exist and what each may fetch; [`audit`], one record per decision;
//!   [`store`], repositories on disk
//! - floor 2: [`gate`], the only module that says yes
//! - floor 3: [`git`], carries out a fetch
//! - floor 4: [`front`], the doors

pub mod audit;
pub mod front;
pub mod gate;
pub mod git;
pub mod model;
pub mod registry;
pub mod store;
