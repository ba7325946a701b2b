//! What a client was told in git's name, held against what its own git says when it comes.

use bytes::{Bytes, BytesMut};

use crate::git::pkt_line::{self, Line};

/// The advertisement that a client has, and that of its git as far as it came.
#[derive(Debug)]
pub(in crate::git) struct Told {
    told: Bytes,
    heard: BytesMut,
    /// How far what was heard is whole lines.
    scanned: usize,
    /// What it will say behind its advertisement and the client has been told too.
    then: Bytes,
    advertised: bool,
}

/// It is not the same in what matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::git) struct Differs;

impl Told {
    pub(in crate::git) fn new(told: Bytes) -> Self {
        Self { told, heard: BytesMut::new(), scanned: 0, then: Bytes::new(), advertised: false }
    }

    /// The client was also told this, which answers what it said: here every byte counts.
    pub(in crate::git) fn and_then(self, then: Bytes) -> Self {
        Self { then, ..self }
    }

    /// Takes what git says; once all that the client knows is over, what comes behind that.
    ///
    /// Other refs do no harm: between the two a ref has changed, git gives objects by their names, and whoever asks for one
    /// that went away is told so by git. Other capabilities or other shallow commits would be another talk.
    pub(in crate::git) fn hears(&mut self, piece: &[u8]) -> Result<Option<Bytes>, Differs> {
        self.heard.extend_from_slice(piece);
        while !self.advertised {
            let Some(rest) = self.heard.get(self.scanned..) else { return Err(Differs) };
            let Some((line, more)) = pkt_line::split(rest) else {
                // Half a line, or none at all.
                let is_none = rest.len() >= 4 && pkt_line::length(rest).is_none();
                // Twice as much is no advertisement of the same repository a moment later.
                let is_long = self.heard.len() > 2 * self.told.len() + (1 << 20);
                return if is_none || is_long { Err(Differs) } else { Ok(None) };
            };
            self.scanned = self.heard.len() - more.len();
            if line == Line::Flush {
                let heard = self.heard.split_to(self.scanned);
                if heard != self.told && essence(&heard) != essence(&self.told) {
                    return Err(Differs);
                }
                self.advertised = true;
            }
        }
        let known = self.heard.len().min(self.then.len());
        if self.heard.split_to(known) != self.then.split_to(known) {
            return Err(Differs);
        }
        Ok(self.then.is_empty().then(|| self.heard.split().freeze()))
    }
}

/// The lines that are not refs, and the capabilities but for those that say where a ref points.
fn essence(advertisement: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut essence) = (advertisement, Vec::new());
    while let Some((Line::Text(text), more)) = pkt_line::split(rest) {
        let mut halves = text.splitn(2, |byte| *byte == 0);
        let (first, capabilities) = (halves.next().unwrap_or_default(), halves.next());
        if first.starts_with(b"shallow ") || first.starts_with(b"version ") {
            essence.push(first);
        }
        let words = capabilities.unwrap_or_default().split(|byte| byte.is_ascii_whitespace());
        essence.extend(words.filter(|word| !word.is_empty() && !word.starts_with(b"symref=")));
        rest = more;
    }
    essence
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0123456789012345678901234567890123456789";
    const B: &str = "abcdefabcdefabcdefabcdefabcdefabcdefabcd";

    fn advertisement(lines: &[String]) -> Vec<u8> {
        let lines: String = lines.iter().map(|line| format!("{:04x}{line}\n", line.len() + 5)).collect();
        (lines + "0000").into_bytes()
    }

    fn hears(told: &[u8], said: &[u8], cut: usize) -> Result<Option<Vec<u8>>, Differs> {
        hears_all(Told::new(Bytes::copy_from_slice(told)), said, cut)
    }

    fn hears_all(mut told: Told, said: &[u8], cut: usize) -> Result<Option<Vec<u8>>, Differs> {
        let mut behind: Option<Vec<u8>> = None;
        for piece in said.chunks(cut) {
            match &mut behind {
                Some(behind) => behind.extend_from_slice(piece),
                None => behind = told.hears(piece)?.map(|bytes| bytes.to_vec()),
            }
        }
        Ok(behind)
    }

    #[test]
    fn other_refs_are_no_other_talk() {
        let told = advertisement(&[
            format!("{A} HEAD\0side-band-64k symref=HEAD:refs/heads/a agent=git/2"),
            format!("{A} refs/heads/a"),
        ]);
        let moved = advertisement(&[
            format!("{B} HEAD\0side-band-64k symref=HEAD:refs/heads/b agent=git/2"),
            format!("{B} refs/heads/b"),
        ]);
        let other = advertisement(&[
            format!("{A} HEAD\0side-band symref=HEAD:refs/heads/a agent=git/2"),
            format!("{A} refs/heads/a"),
        ]);
        let shallow = advertisement(&[
            format!("{A} HEAD\0side-band-64k symref=HEAD:refs/heads/a agent=git/2"),
            format!("shallow {A}"),
        ]);
        for cut in [1, 3, 1000] {
            assert_eq!(hears(&told, &[&told[..], b"behind"].concat(), cut), Ok(Some(b"behind".to_vec())));
            assert_eq!(hears(&told, &moved, cut), Ok(Some(Vec::new())));
            assert_eq!(hears(&told, &other, cut), Err(Differs));
            assert_eq!(hears(&told, &shallow, cut), Err(Differs));
            assert_eq!(hears(&told, b"zzzz", cut), Err(Differs));
            assert_eq!(hears(&told, &told[..told.len() - 2], cut), Ok(None));
        }
    }

    #[test]
    fn shallow_commits_are_compared_to_the_byte() {
        let told = advertisement(&[format!("{A} HEAD\0side-band-64k")]);
        let shallow = format!("0034shallow {A}0000");
        for cut in [1, 3, 1000] {
            let hears = |said: &str| {
                let told_and_then = Told::new(Bytes::copy_from_slice(&told)).and_then(Bytes::from(shallow.clone()));
                hears_all(told_and_then, &[&told[..], said.as_bytes()].concat(), cut)
            };
            assert_eq!(hears(&format!("{shallow}0008NAK\n")), Ok(Some(b"0008NAK\n".to_vec())));
            assert_eq!(hears(&shallow), Ok(Some(Vec::new())));
            assert_eq!(hears(&shallow[..20]), Ok(None));
            assert_eq!(hears(&shallow.replace(A, B)), Err(Differs));
            assert_eq!(hears("0008NAK\n"), Err(Differs));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(told in prop::collection::vec(any::<u8>(), 0..60), said in prop::collection::vec(any::<u8>(), 1..90)) {
            drop(hears(&told, &said, 7));
        }
    }
}
