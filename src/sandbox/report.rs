//! What a cell enforced, as the helper says it and the gateway reads it.

use std::fmt;

/// What the kernel enforces in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The version of Landlock's interface that is used; `None` where there is none.
    pub landlock: Option<u32>,
    /// Whether the list of system calls holds.
    pub calls: bool,
    /// Whether the limits hold, no descriptor came along, and no privilege can be gained.
    pub limits: bool,
}

const START: &str = "pullgate-cell";

impl Report {
    /// Whether every part holds.
    #[must_use]
    pub fn whole(&self) -> bool {
        self.landlock.is_some() && self.calls && self.limits
    }

    /// One line.
    pub(super) fn line(&self) -> String {
        format!("{START} {} {} {}\n", self.landlock.unwrap_or(0), u8::from(self.calls), u8::from(self.limits))
    }

    /// From the start of what a child wrote.
    pub(super) fn read(output: &[u8]) -> Option<Self> {
        let line = output.split(|byte| *byte == b'\n').next()?;
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        (words.next()? == START).then_some(())?;
        let landlock = words.next()?.parse().ok()?;
        let flag = |word: &str| match word {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        };
        let (calls, limits) = (flag(words.next()?)?, flag(words.next()?)?);
        Some(Self { landlock: (landlock > 0).then_some(landlock), calls, limits })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back() {
        for report in [
            Report { landlock: Some(7), calls: true, limits: true },
            Report { landlock: None, calls: false, limits: true },
        ] {
            assert_eq!(Report::read(format!("{}git version 2\n", report.line()).as_bytes()), Some(report));
        }
        for other in ["", "git version 2.47.3\n", "pullgate-cell\n", "pullgate-cell 7 1 2\n", "pullgate-cell x 1 1\n"] {
            assert_eq!(Report::read(other.as_bytes()), None, "{other}");
        }
    }
}
