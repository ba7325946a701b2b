//! What a client of version 0 or 1 asks for: whether it is a question that clients of version 2 ask too, and which. Pure.
//!
//! A clone is: wants, with the capabilities on the first of them; at times a depth; a flush; and `done` (git's `pack-protocol`
//! documentation). Whoever has something already, or wants what was not advertised, talks with a git of its own.

use std::collections::HashSet;

use crate::git::pkt_line::{self, Line};
use crate::git::v2::request::{self, Plan, Question};

/// The longest question that is looked at, in bytes.
const LONGEST: usize = 256 * 1024;

/// What the words of a client come to, as far as they are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The question is not whole yet.
    More,
    /// All of it, as version 2 has it; and whether the client waits for the shallow commits before it says `done`.
    Whole(Question, bool),
    /// For a git of its own; a stable word why.
    Own(&'static str),
}

/// What the lines of a clone before its flush begin with. git dies of any other at once, and says so.
const CLONES: [&str; 4] = ["want ", "shallow ", "deepen", "filter "];

/// Tells when it is worth asking what the words of a client come to, which takes as long as there are words. Each line is looked
/// at once here, however small the pieces are that it comes in.
#[derive(Debug, Default)]
pub struct Ripe {
    /// Where the lines end that were seen.
    seen: usize,
    flushed: bool,
}

impl Ripe {
    /// Whether [`asked`] may say something else of these words than that they are not whole; they begin with those of the last time.
    pub fn is_ripe(&mut self, words: &[u8]) -> bool {
        if words.len() > LONGEST {
            return true;
        }
        loop {
            let rest = words.get(self.seen..).unwrap_or_default();
            let Some((line, more)) = pkt_line::split(rest) else {
                return rest.len() >= 4 && pkt_line::length(rest).is_none();
            };
            self.seen = words.len() - more.len();
            let goes_on = match line {
                Line::Text(text) => CLONES.iter().any(|word| text.starts_with(word.as_bytes())),
                Line::Delimiter | Line::Flush => false,
            };
            // What follows the flush decides with its first line.
            self.flushed |= line == Line::Flush;
            if self.flushed || !goes_on {
                return true;
            }
        }
    }
}

/// Looks at all that a client has said since it was told the refs, in these bytes, of which the first may be a `version` line.
#[must_use]
pub fn asked(words: &[u8], advertised: &[u8]) -> Asked {
    if words.len() > LONGEST {
        return Asked::Own("long");
    }
    match whole(words) {
        Ok(Some(said)) => question(&said, advertised),
        Ok(None) => Asked::More,
        Err(why) => Asked::Own(why),
    }
}

/// The words of one clone.
#[derive(Debug, Default)]
struct Words<'a> {
    wants: Vec<&'a str>,
    capabilities: Vec<&'a str>,
    /// Lines that version 2 has in the same form.
    limits: Vec<&'a str>,
    deepens: bool,
}

fn whole(mut rest: &[u8]) -> Result<Option<Words<'_>>, &'static str> {
    let mut words = Words::default();
    loop {
        let Some((line, more)) = next(rest)? else { return Ok(None) };
        rest = more;
        let Some(line) = line else { break };
        match line.split_once(' ') {
            Some(("want", text)) => {
                let mut parts = text.split(' ');
                words.wants.extend(parts.next());
                if words.wants.len() == 1 {
                    words.capabilities = parts.filter(|part| !part.is_empty()).collect();
                } else if parts.next().is_some() {
                    return Err("argument");
                }
            }
            Some(("deepen" | "deepen-since", number)) if number != "0" => {
                words.deepens = true;
                words.limits.push(line);
            }
            Some(("filter", _)) => words.limits.push(line),
            Some(("shallow", _)) => return Err("shallow"),
            Some(("deepen-not", _)) => return Err("refs"),
            Some(_) | None => return Err("argument"),
        }
    }
    if words.deepens {
        return if rest.is_empty() { Ok(Some(words)) } else { Err("negotiation") };
    }
    match done(rest) {
        Some(true) => Ok(Some(words)),
        Some(false) => Err("negotiation"),
        None => Ok(None),
    }
}

/// Whether what follows the flush is `done` and nothing else; `None` when it is not there yet.
#[must_use]
pub fn done(rest: &[u8]) -> Option<bool> {
    match next(rest) {
        Ok(None) => None,
        Ok(Some((line, more))) => Some(line == Some("done") && more.is_empty()),
        Err(_) => Some(false),
    }
}

/// The next line, or `None` within for a flush, and what comes behind it.
type Next<'a> = (Option<&'a str>, &'a [u8]);

fn next(rest: &[u8]) -> Result<Option<Next<'_>>, &'static str> {
    let Some((line, more)) = pkt_line::split(rest) else {
        // Half a line is to be waited for; what is none is git's to judge.
        return if rest.len() >= 4 && pkt_line::length(rest).is_none() { Err("argument") } else { Ok(None) };
    };
    match line {
        Line::Flush => Ok(Some((None, more))),
        Line::Delimiter => Err("argument"),
        Line::Text(text) => match std::str::from_utf8(text.strip_suffix(b"\n").unwrap_or(text)) {
            Ok(text) => Ok(Some((Some(text), more))),
            Err(_) => Err("argument"),
        },
    }
}

fn question(words: &Words<'_>, advertised: &[u8]) -> Asked {
    let mut arguments = Vec::new();
    let mut framed = false;
    for capability in &words.capabilities {
        match capability.split_once('=').map_or(*capability, |(name, _)| name) {
            "side-band-64k" => framed = true,
            "thin-pack" | "ofs-delta" | "include-tag" | "no-progress" => arguments.push(*capability),
            // How the two would find out what both have, of which there is nothing; names; and what is only announced.
            "multi_ack" | "multi_ack_detailed" | "no-done" | "side-band" | "agent" | "session-id" | "object-format"
            | "shallow" | "deepen-since" | "deepen-not" | "filter" => {}
            _ => return Asked::Own("capability"),
        }
    }
    if !framed {
        return Asked::Own("side-band");
    }
    let Some(format) = offers(advertised, &words.wants) else { return Asked::Own("not-advertised") };
    let wants: Vec<String> = words.wants.iter().map(|name| format!("want {name}")).collect();
    arguments.extend(wants.iter().map(String::as_str).chain(words.limits.iter().copied()).chain(["done"]));
    let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
    let arguments: String = arguments.into_iter().map(line).collect();
    let request = format!("{}{}0001{arguments}0000", line("command=fetch"), line(&format!("object-format={format}")));
    match request::plan(request.as_bytes()) {
        Plan::Keep(question) => Asked::Whole(question, words.deepens),
        Plan::Nothing => Asked::Own("no-want"),
        Plan::Pass(why) => Asked::Own(why.unwrap_or("argument")),
    }
}

/// The format of object names, if each of these was advertised as a ref, by a repository that is not shallow itself: version 2
/// gives any object by its name, and what version 0 gives is git's to decide.
fn offers<'a>(advertised: &'a [u8], wants: &[&str]) -> Option<&'a str> {
    let mut missing: HashSet<&[u8]> = wants.iter().map(|name| name.as_bytes()).collect();
    let (mut format, mut rest) = ("sha1", advertised);
    while let Some((line, more)) = pkt_line::split(rest) {
        let Line::Text(text) = line else { break };
        rest = more;
        let mut halves = text.splitn(2, |byte| *byte == 0);
        let name = halves.next().unwrap_or_default().trim_ascii_end();
        if name.starts_with(b"shallow ") {
            return None;
        }
        if let Some(capabilities) = halves.next() {
            let mut words = capabilities.split(|byte| byte.is_ascii_whitespace());
            let found = words.find_map(|word| word.strip_prefix(b"object-format="));
            format = found.map_or(Some(format), |format| std::str::from_utf8(format).ok())?;
        }
        // What a tag points to is told beside it, and is not offered by that.
        if let Some(end) = name.iter().position(|byte| *byte == b' ').filter(|_| !name.ends_with(b"^{}")) {
            missing.remove(name.get(..end)?);
        }
    }
    missing.is_empty().then_some(format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0123456789012345678901234567890123456789";
    const B: &str = "abcdefabcdefabcdefabcdefabcdefabcdefabcd";
    const C: &str = "cccccccccccccccccccccccccccccccccccccccc";

    fn line(text: &str) -> String {
        format!("{:04x}{text}\n", text.len() + 5)
    }

    fn advertisement(more: &str) -> String {
        let first = line(&format!("{A} HEAD\0side-band-64k object-format=sha1 agent=git/2"));
        first + &line(&format!("{B} refs/tags/v1")) + &line(&format!("{C} refs/tags/v1^{{}}")) + more + "0000"
    }

    fn clone(lines: &[&str], end: &str) -> Vec<u8> {
        (lines.iter().map(|text| line(text)).collect::<String>() + "0000" + end).into_bytes()
    }

    fn of_version_2(arguments: &[&str]) -> Question {
        let arguments: String = arguments.iter().map(|text| line(text)).collect();
        let request = format!("{}{}0001{arguments}0000", line("command=fetch"), line("object-format=sha1"));
        match request::plan(request.as_bytes()) {
            Plan::Keep(question) => question,
            other @ (Plan::Nothing | Plan::Pass(_)) => panic!("{other:?}"),
        }
    }

    fn ask(words: &[u8]) -> Asked {
        asked(words, advertisement("").as_bytes())
    }

    #[test]
    fn a_clone_is_the_question_that_version_2_asks() {
        let first = format!("want {A} multi_ack_detailed no-done side-band-64k thin-pack ofs-delta agent=git/2.20");
        let (want_a, want_b) = (format!("want {A}"), format!("want {B}"));
        let words = clone(&[&first, &want_b], "0009done\n");
        let same = of_version_2(&["thin-pack", "ofs-delta", &want_b, &want_a, "done"]);
        assert_eq!(ask(&words), Asked::Whole(same, false));
        let words = clone(&[&first, "deepen 1", "filter blob:none"], "");
        let same = of_version_2(&["thin-pack", "ofs-delta", &want_a, "deepen 1", "filter blob:none", "done"]);
        assert_eq!(ask(&words), Asked::Whole(same, true));
    }

    #[test]
    fn every_start_of_it_is_waited_for() {
        let first = format!("want {A} side-band-64k");
        for words in [clone(&[&first], "0009done\n"), clone(&[&first, "deepen 1"], "")] {
            for end in 0..words.len() {
                assert_eq!(ask(&words[..end]), Asked::More, "{end}");
            }
            assert!(matches!(ask(&words), Asked::Whole(..)));
        }
    }

    #[test]
    fn everything_else_is_for_a_git_of_its_own() {
        let first = format!("want {A} side-band-64k");
        let have = line(&format!("have {B}"));
        for (words, why) in [
            (clone(&[&first], &have), "negotiation"),
            (clone(&[&first, "deepen 1"], &have), "negotiation"),
            (clone(&[&first], "0009done\n0000"), "negotiation"),
            (clone(&[&first, &format!("shallow {B}")], ""), "shallow"),
            (clone(&[&first, "deepen-not v1"], ""), "refs"),
            (clone(&[&first, "deepen 0"], ""), "argument"),
            (clone(&[&first, "deepen 1", "deepen 2"], ""), "argument"),
            (clone(&[&format!("want {A}")], "0009done\n"), "side-band"),
            (clone(&[&format!("want {A} side-band-64k deepen-relative")], "0009done\n"), "capability"),
            (clone(&[&format!("want {C} side-band-64k")], "0009done\n"), "not-advertised"),
            (clone(&[&first, &format!("want {B} thin-pack")], "0009done\n"), "argument"),
            (clone(&[], "0009done\n"), "side-band"),
            (b"zzzz".to_vec(), "argument"),
            (b"0001".to_vec(), "argument"),
        ] {
            assert_eq!(ask(&words), Asked::Own(why), "{:?}", String::from_utf8_lossy(&words));
        }
        let words = clone(&[&first], "0009done\n");
        let shallow = advertisement(&line(&format!("shallow {A}")));
        assert_eq!(asked(&words, shallow.as_bytes()), Asked::Own("not-advertised"));
        assert_eq!(ask(&line("want ").repeat(LONGEST / 8).into_bytes()), Asked::Own("long"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(words in prop::collection::vec(any::<u8>(), 0..200), said in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(asked(&words, &said));
            drop(asked(&clone(&[&format!("want {A} side-band-64k")], "0009done\n"), &said));
        }

        /// However it is cut, it is asked three times at the most, and nothing is overlooked.
        #[test]
        fn a_question_is_ripe_when_it_is_whole(
            lines in prop::collection::vec(prop_oneof![
                Just(line(&format!("want {A} side-band-64k"))), Just(line("deepen 3")), Just(line("have x")),
                Just("0000".to_owned()), Just("0009done\n".to_owned()), Just("0001".to_owned()), Just("zzzz".to_owned()),
            ], 0..6),
            cuts in prop::collection::vec(1usize..9, 1..9),
        ) {
            let words = lines.concat().into_bytes();
            let (mut ripe, mut times, mut end, mut cuts) = (Ripe::default(), 0, 0, cuts.into_iter().cycle());
            let found = loop {
                if ripe.is_ripe(&words[..end]) {
                    times += 1;
                    let found = ask(&words[..end]);
                    if found != Asked::More {
                        break found;
                    }
                }
                if end == words.len() {
                    break Asked::More;
                }
                end = (end + cuts.next().unwrap()).min(words.len());
            };
            prop_assert!(times <= 3, "{times}");
            // Without a flush nobody is in a hurry to hear what is wrong.
            let whole = words.windows(4).any(|four| four == b"0000");
            prop_assert!(!whole || found != Asked::More || ask(&words) == Asked::More);
        }

        /// Whatever a client says, what is asked in its name wants nothing but what it wanted and was offered.
        #[test]
        fn nothing_is_asked_that_was_not_wanted(lines in prop::collection::vec(prop_oneof![
            Just(format!("want {A} side-band-64k thin-pack")), Just(format!("want {B}")), Just(format!("want {C}")),
            Just("deepen 3".to_owned()), Just("filter tree:0".to_owned()), "\\PC{0,30}",
        ], 0..6), done in any::<bool>()) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let words = clone(&lines, if done { "0009done\n" } else { "" });
            if let Asked::Whole(question, _) = ask(&words) {
                let text = String::from_utf8(question.bytes.to_vec()).unwrap();
                prop_assert!(!text.contains(C));
                prop_assert_eq!(text.contains(B), lines.iter().any(|line| line.contains(B)));
            }
        }
    }
}
