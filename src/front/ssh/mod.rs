//! x
pub mod exec_line;
pub mod host_keys;
