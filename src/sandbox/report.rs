//! What a cell enforced, and what its child took, as a worker says it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the kernel enforces in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The kernel's version of Landlock's interface, of which what is known here is used; `None` where there is none.
    pub landlock: Option<u32>,
    /// Whether the list of system calls holds.
    pub calls: bool,
    /// Whether the limits hold, no descriptor came along, and no privilege can be gained.
    pub limits: bool,
}

impl Report {
    /// Whether every part holds.
    #[must_use]
    pub fn whole(&self) -> bool {
        self.landlock.is_some() && self.calls && self.limits
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock {
            Some(version) => write!(f, "files: Landlock {version}")?,
            None => f.write_str("files: NOT confined (no Landlock)")?,
        }
        f.write_str(if self.calls { ", system calls: listed" } else { ", system calls: NOT confined (no seccomp)" })?;
        f.write_str(if self.limits { ", limits: set" } else { ", limits: NOT all set" })
    }
}

/// What a child took, with all that it started and that has ended (getrusage(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spent {
    /// Processor time, in microseconds.
    pub(super) cpu_micros: u64,
    /// The most memory that one process of this or an earlier child of the same worker had in use, in bytes.
    pub(super) peak_bytes: u64,
}
