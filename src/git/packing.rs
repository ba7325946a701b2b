//! How hard git works for a pack without history, which is what build agents ask for most: bitmaps do not help it, and what it
//! costs is the search for deltas and the compressing. Both can be traded for bytes.
//!
//! Answers are kept in memory and in files without names, for one process at the most; and for as long as it lives this does
//! not change. So it is no part of what an answer is found by.

/// What is asked of the git that makes such a pack; `None`: what the repository's configuration says, or git's own default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// `pack.window`: among how many objects a delta is searched for; 0 for none beside those that are stored already.
    pub window: Option<u16>,
    /// `pack.compression`, from 0 (none) to 9.
    pub compression: Option<u8>,
}

impl Default for Packing {
    fn default() -> Self {
        // docs/operations.md has what it saves, and what it costs.
        Self { window: Some(0), compression: None }
    }
}

/// A depth of one commit, in a request of version 2 as we spell it.
const DEPTH_1: &[u8] = b"000ddeepen 1\n";
/// What the client has already, likewise.
const HAVE: &[u8] = b"0032have ";
const HAVE_SHA256: &[u8] = b"004ahave ";

impl Packing {
    /// Configuration for the git that is asked this. Who has something already gets deltas against that, which cost little and
    /// save much: nothing is changed for it.
    pub(super) fn config(self, question: &[u8]) -> Vec<(&'static str, String)> {
        let says = |line: &[u8]| memchr::memmem::find(question, line).is_some();
        if !says(DEPTH_1) || says(HAVE) || says(HAVE_SHA256) {
            return Vec::new();
        }
        let window = self.window.map(|window| ("pack.window", window.to_string()));
        let compression = self.compression.map(|level| ("pack.compression", level.to_string()));
        window.into_iter().chain(compression).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::v2::request::{Plan, plan};

    const A: &str = "0123456789012345678901234567890123456789";

    fn asked(format: &str, lines: &[&str]) -> Vec<(&'static str, String)> {
        let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
        let format = line(&format!("object-format={format}"));
        let lines: String = lines.iter().map(|text| line(text)).collect();
        let request = format!("{}{format}0001{lines}0000", line("command=fetch"));
        match plan(request.as_bytes()) {
            Plan::Keep(question) => Packing { window: Some(0), compression: Some(1) }.config(&question.bytes),
            other @ (Plan::Nothing | Plan::Pass(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_for_clones_of_depth_1_alone() {
        let (want, have) = (format!("want {A}"), format!("have {A}"));
        let both = [("pack.window", "0".to_owned()), ("pack.compression", "1".to_owned())];
        assert_eq!(asked("sha1", &[&want, "deepen 1", "done"]), both);
        assert_eq!(asked("sha1", &["thin-pack", "deepen 1", "include-tag", &want, "done"]), both);
        for other in ["deepen 2", "deepen 10", "deepen 11", "filter blob:none", "deepen-since 1"] {
            assert_eq!(asked("sha1", &[&want, other, "done"]), [], "{other}");
        }
        assert_eq!(asked("sha1", &[&want, "done"]), []);
        assert_eq!(asked("sha1", &[&want, "deepen 1", &have, "done"]), []);
        let long = |word: &str| format!("{word} {A}012345678901234567890123");
        assert_eq!(asked("sha256", &[&long("want"), "deepen 1", "done"]), both);
        assert_eq!(asked("sha256", &[&long("want"), "deepen 1", &long("have"), "done"]), []);
    }

    #[test]
    fn what_is_not_set_is_gits_own() {
        let question = b"000ddeepen 1\n";
        assert_eq!(Packing { window: None, compression: None }.config(question), []);
        let one = Packing { window: Some(5), compression: None };
        assert_eq!(one.config(question), [("pack.window", "5".to_owned())]);
    }
}
