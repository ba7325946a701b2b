//! Which refs a client asks for: the `ls-refs` of protocol version 2, as git's `ls-refs.c` reads it. What is not known here
//! is git's to judge.

use bytes::Bytes;

use crate::git::pkt_line::{self, Line};

/// From this many prefixes on git takes none of them (`TOO_MANY_PREFIXES`).
const TOO_MANY: usize = 65_536;

/// A question about refs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// The format of object names that the client speaks.
    pub format: Option<String>,
    /// With what a tag points to.
    pub peel: bool,
    /// With what a symbolic ref points to.
    pub symrefs: bool,
    /// With a HEAD whose branch is not there yet.
    pub unborn: bool,
    /// Starts of names; none means all.
    pub prefixes: Vec<Vec<u8>>,
}

impl Ask {
    /// Reads a whole request, its flush included. `None` when it is none, or has something in it that is not known.
    #[must_use]
    pub fn parse(request: &[u8]) -> Option<Self> {
        let mut ask = Self::default();
        let (mut rest, mut commands, mut delimited) = (request, 0, false);
        loop {
            let (line, more) = pkt_line::split(rest)?;
            rest = more;
            match line {
                Line::Flush => break,
                Line::Delimiter if !delimited => delimited = true,
                Line::Delimiter => return None,
                Line::Text(text) => {
                    let text = text.strip_suffix(b"\n").unwrap_or(text);
                    if delimited { ask.argument(text)? } else { ask.capability(text, &mut commands)? }
                }
            }
        }
        if ask.prefixes.len() >= TOO_MANY {
            ask.prefixes.clear();
        }
        (commands == 1 && rest.is_empty()).then_some(ask)
    }

    fn capability(&mut self, text: &[u8], commands: &mut usize) -> Option<()> {
        if text == b"command=ls-refs" {
            *commands += 1;
        } else if let Some(format) = text.strip_prefix(b"object-format=") {
            if self.format.is_some() {
                return None;
            }
            self.format = Some(String::from_utf8(format.to_vec()).ok()?);
        } else if !text.starts_with(b"agent=") {
            return None;
        }
        Some(())
    }

    fn argument(&mut self, text: &[u8]) -> Option<()> {
        match text {
            b"peel" => self.peel = true,
            b"symrefs" => self.symrefs = true,
            b"unborn" => self.unborn = true,
            _ => {
                let prefix = text.strip_prefix(b"ref-prefix ")?;
                if self.prefixes.len() < TOO_MANY {
                    self.prefixes.push(prefix.to_vec());
                }
            }
        }
        Some(())
    }

    /// Whether a name is asked for.
    #[must_use]
    pub fn wants(&self, name: &[u8]) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// The question for everything that can be asked for.
#[must_use]
pub fn everything(format: &str) -> Bytes {
    let mut request = Vec::new();
    let format = format!("object-format={format}");
    for text in ["command=ls-refs", &format] {
        request.extend_from_slice(format!("{:04x}{text}\n", text.len() + 5).as_bytes());
    }
    request.extend_from_slice(b"0001");
    for text in ["peel", "symrefs", "unborn"] {
        request.extend_from_slice(format!("{:04x}{text}\n", text.len() + 5).as_bytes());
    }
    request.extend_from_slice(b"0000");
    request.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(before: &[&str], after: &[&str]) -> Vec<u8> {
        let lines = |lines: &[&str]| lines.iter().map(|l| format!("{:04x}{l}\n", l.len() + 5)).collect::<String>();
        format!("{}0001{}0000", lines(before), lines(after)).into_bytes()
    }

    #[test]
    fn what_clients_ask_is_understood() {
        let ask = Ask::parse(&request(
            &["command=ls-refs", "agent=git/2.47.3", "object-format=sha256"],
            &["peel", "symrefs", "unborn", "ref-prefix refs/heads/", "ref-prefix HEAD"],
        ));
        let prefixes = vec![b"refs/heads/".to_vec(), b"HEAD".to_vec()];
        let expected = Ask { format: Some("sha256".to_owned()), peel: true, symrefs: true, unborn: true, prefixes };
        assert_eq!(ask, Some(expected));
        let everything = Ask::parse(&everything("sha1")).unwrap();
        assert!(everything.peel && everything.symrefs && everything.unborn && everything.prefixes.is_empty());
    }

    #[test]
    fn what_is_not_known_is_gits_to_judge() {
        for (before, after) in [
            (&["command=fetch"][..], &["peel"][..]),
            (&["command=ls-refs", "command=ls-refs"], &[]),
            (&["command=ls-refs", "server-option=x"], &[]),
            (&["command=ls-refs", "session-id=x"], &[]),
            (&["command=ls-refs", "object-format=sha1", "object-format=sha1"], &[]),
            (&["agent=x"], &["peel"]),
            (&["command=ls-refs"], &["peeled"]),
            (&["command=ls-refs"], &["ref-prefix"]),
        ] {
            assert_eq!(Ask::parse(&request(before, after)), None, "{before:?} {after:?}");
        }
        assert_eq!(Ask::parse(b"0000"), None);
        assert!(Ask::parse(b"0014command=ls-refs\n0000").is_some(), "without arguments there is no delimiter");
    }

    #[test]
    fn too_many_prefixes_are_none() {
        let prefix = "ref-prefix refs/heads/x";
        let most = vec![prefix; TOO_MANY - 1];
        assert_eq!(Ask::parse(&request(&["command=ls-refs"], &most)).unwrap().prefixes.len(), TOO_MANY - 1);
        let too_many = vec![prefix; TOO_MANY];
        assert!(Ask::parse(&request(&["command=ls-refs"], &too_many)).unwrap().prefixes.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(noise in prop::collection::vec(any::<u8>(), 0..80), lines in prop::collection::vec("\\PC{0,20}", 0..8)) {
            prop_assert_eq!(Ask::parse(&noise), None);
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            drop(Ask::parse(&request(&["command=ls-refs"], &lines)));
        }
    }
}
