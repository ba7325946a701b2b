//! The verbs about accounts.

mod add;
mod list;
mod remove;
