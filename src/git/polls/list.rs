//! All refs of a repository as git listed them, and the lines of that list that a question asks for.

use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::ask::Ask;
use crate::git::pkt_line::{self, Line};

/// git's answer to [`super::ask::everything`], with where each line begins.
#[derive(Debug, PartialEq, Eq)]
pub struct RefList {
    bytes: Bytes,
    head: Option<Head>,
    /// Where the lines below `refs/` begin, and where the last one ends.
    starts: Vec<u32>,
}

/// The line of HEAD, which comes first.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    line: Range<usize>,
    unborn: bool,
}

const FLUSH: &[u8] = b"0000";
/// An answer of so many bytes and fewer is given in one piece.
const SHORT: usize = 16 * 1024;
/// About how many bytes are written anew at a time: what goes into one packet with the line that is over it.
const PIECE: usize = 31 * 1024;

/// The text of a line: `NAME[ symref-target:REF][ peeled:OBJECT]` behind the object's name.
struct Parts<'a> {
    object: &'a [u8],
    name: &'a [u8],
    target: Option<&'a [u8]>,
    peeled: Option<&'a [u8]>,
}

fn parts(text: &[u8]) -> Option<Parts<'_>> {
    let mut words = text.strip_suffix(b"\n")?.split(|byte| *byte == b' ');
    let (object, name) = (words.next()?, words.next()?);
    let mut parts = Parts { object, name, target: None, peeled: None };
    for word in words {
        if word.starts_with(b"symref-target:") && parts.target.is_none() && parts.peeled.is_none() {
            parts.target = Some(word);
        } else if word.starts_with(b"peeled:") && parts.peeled.is_none() {
            parts.peeled = Some(word);
        } else {
            return None;
        }
    }
    Some(parts)
}

/// The name in a line that [`parts`] has understood.
fn name(line: &[u8]) -> &[u8] {
    line.get(4..).and_then(|text| text.split(|byte| matches!(byte, b' ' | b'\n')).nth(1)).unwrap_or_default()
}

impl RefList {
    /// Takes git's answer apart. `None` when it is not as it is known here: HEAD first, then the others in the order of
    /// their names, with nothing but targets and peeled tags behind them.
    #[must_use]
    pub fn parse(bytes: Bytes) -> Option<Self> {
        let (mut head, mut starts, mut at) = (None, Vec::new(), 0usize);
        let mut last: &[u8] = b"";
        loop {
            let (line, rest) = pkt_line::split(bytes.get(at..)?)?;
            let end = bytes.len() - rest.len();
            let text = match line {
                Line::Text(text) => text,
                Line::Flush if rest.is_empty() => break,
                Line::Flush | Line::Delimiter => return None,
            };
            let parts = parts(text)?;
            let unborn = parts.object == b"unborn";
            if parts.name == b"HEAD" && head.is_none() && starts.is_empty() {
                head = Some(Head { line: at..end, unborn });
            } else if parts.name.starts_with(b"refs/") && parts.name > last && !unborn {
                last = parts.name;
                starts.push(u32::try_from(at).ok()?);
            } else {
                return None;
            }
            // What is not below `refs/` is not looked at, and changes unseen.
            if parts.target.is_some_and(|target| !target.starts_with(b"symref-target:refs/")) {
                return None;
            }
            at = end;
        }
        starts.push(u32::try_from(at).ok()?);
        Some(Self { bytes, head, starts })
    }

    /// Bytes that it takes in memory.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.bytes.len() + self.starts.len() * size_of::<u32>()) as u64
    }

    /// The answer to a question, in pieces and with its flush. What has to be written anew is so when it is its turn to be sent: a
    /// client that does not read has one piece of it, and no list of its own.
    pub fn answer(&self, ask: &Ask) -> impl Iterator<Item = Bytes> {
        let mut ranges = Vec::new();
        if let Some(head) = &self.head
            && ask.wants(b"HEAD")
            && (!head.unborn || (ask.unborn && ask.symrefs))
        {
            ranges.push(head.line.clone());
        }
        ranges.extend(self.below_refs(ask));
        let as_they_are = ask.peel && ask.symrefs;
        let is_short = ranges.iter().map(Range::len).sum::<usize>() <= SHORT;
        let mut pieces = ranges
            .into_iter()
            .flat_map(move |mut range| {
                std::iter::from_fn(move || match (range.is_empty(), as_they_are) {
                    (true, _) => None,
                    (false, true) => Some(self.bytes.slice(std::mem::take(&mut range))),
                    (false, false) => Some(self.without(&mut range, ask)),
                })
            })
            .chain(std::iter::once(Bytes::from_static(FLUSH)));
        // Each piece is encrypted and sent by itself, which costs more than to copy a few lines.
        let whole: Option<Bytes> = is_short.then(|| pieces.by_ref().collect::<Vec<_>>().concat().into());
        whole.into_iter().chain(pieces)
    }

    /// Where the lines are that are asked for, in their order, each once.
    fn below_refs(&self, ask: &Ask) -> Vec<Range<usize>> {
        let lines = self.starts.len() - 1;
        let mut wanted: Vec<Range<usize>> = if ask.prefixes.is_empty() {
            std::iter::once(0..lines).collect()
        } else {
            ask.prefixes
                .iter()
                .map(|prefix| {
                    let first = self.first(|name| name < prefix.as_slice());
                    first..self.first(|name| name < prefix.as_slice() || name.starts_with(prefix))
                })
                .collect()
        };
        wanted.sort_unstable_by_key(|lines| lines.start);
        let mut covered = 0;
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for lines in wanted {
            let lines = lines.start.max(covered)..lines.end;
            if lines.start >= lines.end {
                continue;
            }
            covered = lines.end;
            let (start, end) = (self.start_of(lines.start), self.start_of(lines.end));
            match ranges.last_mut() {
                Some(before) if before.end == start => before.end = end,
                Some(_) | None => ranges.push(start..end),
            }
        }
        ranges
    }

    /// The number of the first line of which this is not so; it is so of all before, and of none behind.
    fn first(&self, so: impl Fn(&[u8]) -> bool) -> usize {
        let lines = self.starts.get(..self.starts.len() - 1).unwrap_or_default();
        lines.partition_point(|start| {
            let start = usize::try_from(*start).unwrap_or(usize::MAX);
            self.bytes.get(start..).is_some_and(|line| so(name(line)))
        })
    }

    fn start_of(&self, line: usize) -> usize {
        self.starts.get(line).and_then(|start| usize::try_from(*start).ok()).unwrap_or(self.bytes.len() - FLUSH.len())
    }

    /// Lines without what was not asked for, up to a piece of them; what is left of the range is behind these.
    fn without(&self, range: &mut Range<usize>, ask: &Ask) -> Bytes {
        let mut out = BytesMut::new();
        let mut rest = self.bytes.get(range.clone()).unwrap_or_default();
        while let Some((Line::Text(text), more)) = pkt_line::split(rest).filter(|_| out.len() < PIECE) {
            rest = more;
            let Some(parts) = parts(text) else { break };
            let words = [Some(parts.name), parts.target.filter(|_| ask.symrefs), parts.peeled.filter(|_| ask.peel)];
            let length = 5 + parts.object.len() + words.iter().flatten().map(|word| word.len() + 1).sum::<usize>();
            out.put_slice(format!("{length:04x}").as_bytes());
            out.put_slice(parts.object);
            for word in words.into_iter().flatten() {
                out.put_u8(b' ');
                out.put_slice(word);
            }
            out.put_u8(b'\n');
        }
        // All of its lines were understood before ([`Self::parse`]); where nothing comes of them, nothing is left either.
        range.start = if out.is_empty() { range.end } else { range.end - rest.len() };
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0123456789012345678901234567890123456789";

    fn lines<T: AsRef<str>>(texts: &[T]) -> String {
        texts.iter().map(|text| format!("{:04x}{}\n", text.as_ref().len() + 5, text.as_ref())).collect()
    }

    fn list<T: AsRef<str>>(texts: &[T]) -> Option<RefList> {
        RefList::parse(Bytes::from(lines(texts) + "0000"))
    }

    fn ask(peel: bool, symrefs: bool, unborn: bool, prefixes: &[String]) -> Ask {
        let prefixes = prefixes.iter().map(|prefix| prefix.clone().into_bytes()).collect();
        Ask { format: None, peel, symrefs, unborn, prefixes }
    }

    #[test]
    fn what_is_not_known_is_not_taken() {
        assert!(list(&[format!("{A} HEAD symref-target:refs/heads/a"), format!("{A} refs/heads/a")]).is_some());
        for odd in [
            format!("{A} refs/heads/a new:thing"),
            format!("{A} ORIG_HEAD"),
            format!("{A} refs/heads/a symref-target:ORIG_HEAD"),
            "unborn refs/heads/a".to_owned(),
        ] {
            assert_eq!(list(&[odd]), None);
        }
        assert_eq!(list(&[format!("{A} refs/b"), format!("{A} refs/a")]), None, "not in their order");
        assert_eq!(list(&[format!("{A} refs/b"), format!("{A} HEAD")]), None, "HEAD is first");
        assert_eq!(RefList::parse(Bytes::from_static(b"0000more")), None);
        assert_eq!(RefList::parse(Bytes::from_static(b"000")), None);
    }

    /// Nobody has a list of its own in memory, whatever it asks for.
    #[test]
    fn what_is_written_anew_comes_piece_by_piece() {
        let names: Vec<String> = (0..5000).map(|n| format!("{A} refs/tags/v{n:04}")).collect();
        let tags: Vec<String> = names.iter().map(|name| format!("{name} peeled:{A}")).collect();
        let (tags, plain) = (list(&tags).unwrap(), ask(false, true, false, &[]));
        let pieces: Vec<Bytes> = tags.answer(&plain).collect();
        assert!(pieces.iter().all(|piece| piece.len() < 32 * 1024));
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), lines(&names) + "0000");
    }

    proptest! {
        /// The same as going through the lines one by one.
        #[test]
        fn every_line_that_is_asked_for_and_no_other(
            names in prop::collection::btree_set("refs/[ab/]{1,4}", 0..12),
            head in prop::option::of(any::<bool>()),
            (tags, links) in (any::<u16>(), any::<u16>()),
            prefixes in prop::collection::vec("(|refs/[ab/]{0,3}|HEAD|HE|r|x)", 0..4),
            (peel, symrefs, unborn) in any::<(bool, bool, bool)>(),
        ) {
            let ask = ask(peel, symrefs, unborn, &prefixes);
            let line = |object: &str, name: &str, target: bool, peeled: bool, ask: &Ask| {
                let target = if target && ask.symrefs { " symref-target:refs/t" } else { "" };
                let peeled = if peeled && ask.peel { format!(" peeled:{A}") } else { String::new() };
                format!("{object} {name}{target}{peeled}")
            };
            let (mut all, mut expected) = (Vec::new(), Vec::new());
            let every = Ask { peel: true, symrefs: true, unborn: true, ..Ask::default() };
            if let Some(born) = head {
                let object = if born { A } else { "unborn" };
                all.push(line(object, "HEAD", true, false, &every));
                if ask.wants(b"HEAD") && (born || (unborn && symrefs)) {
                    expected.push(line(object, "HEAD", true, false, &ask));
                }
            }
            for (n, name) in names.iter().enumerate() {
                let (target, peeled) = (links & (1 << n) != 0, tags & (1 << n) != 0);
                all.push(line(A, name, target, peeled, &every));
                if ask.wants(name.as_bytes()) {
                    expected.push(line(A, name, target, peeled, &ask));
                }
            }
            let answer = list(&all).unwrap().answer(&ask).collect::<Vec<_>>().concat();
            prop_assert_eq!(String::from_utf8(answer).unwrap(), lines(&expected) + "0000");
        }

        #[test]
        fn no_bytes_panic(noise in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(RefList::parse(Bytes::from(noise)));
        }
    }
}
