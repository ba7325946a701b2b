//! Which requests of protocol version 2 have an answer that may be given again, and what tells such answers apart.
//! The words are those of git's `protocol-v2` documentation; what is not known here is git's to judge.

use std::collections::BTreeSet;

use bytes::Bytes;

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The same question always has the same answer.
    Keep(Question),
    /// A fetch that wants nothing: git has no answer to it at all, and goes on with the next request.
    Nothing,
    /// For the connection's own git; a stable word why, if it is a fetch.
    Pass(Option<&'static str>),
}

/// What makes no pack (gitprotocol-v2).
const LIGHT: [&[u8]; 3] = [b"command=ls-refs", b"command=object-info", b"command=bundle-uri"];

/// Whether a request can only be for something that makes no pack. git takes its capabilities in any order and in any bytes, so whatever
/// is not one of these for certain may be a fetch.
#[must_use]
pub fn is_light(request: &[u8]) -> bool {
    let Some((capabilities, _)) = sections(request) else { return false };
    let mut commands = capabilities.into_iter().filter(|line| line.starts_with(b"command="));
    commands.next().is_some_and(|command| LIGHT.contains(&command)) && commands.next().is_none()
}

/// A fetch, in the one spelling that all equal fetches have. It has no word of who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The request as git is asked, flush included.
    pub bytes: Bytes,
    /// Whether the answer depends on what the refs are: annotated tags are added for what they point to.
    pub needs_refs: bool,
}

#[derive(Debug, Default)]
struct Arguments<'a> {
    wants: BTreeSet<&'a str>,
    haves: BTreeSet<&'a str>,
    shallows: BTreeSet<&'a str>,
    words: BTreeSet<&'static str>,
    depth: Option<&'a str>,
    since: Option<&'a str>,
    filter: Option<&'a str>,
}

/// Looks at one whole request, its flush included.
#[must_use]
pub fn plan(request: &[u8]) -> Plan {
    let text = sections(request).and_then(|(before, after)| Some((texts(before)?, texts(after)?)));
    let Some((capabilities, arguments)) = text else { return Plan::Pass(None) };
    let mut capabilities = capabilities.into_iter();
    if capabilities.next() != Some("command=fetch") {
        return Plan::Pass(None);
    }
    match fetch(capabilities.as_slice(), &arguments) {
        Ok(Some(question)) => Plan::Keep(question),
        Ok(None) => Plan::Nothing,
        Err(why) => Plan::Pass(Some(why)),
    }
}

type Lines<'a> = Vec<&'a [u8]>;

/// The lines before and after the delimiter, without their line ends.
fn sections(request: &[u8]) -> Option<(Lines<'_>, Lines<'_>)> {
    let (mut before, mut after, mut delimited) = (Vec::new(), Vec::new(), false);
    let mut rest = request;
    loop {
        let (digits, more) = rest.split_at_checked(4)?;
        match usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()? {
            0 => return more.is_empty().then_some((before, after)),
            1 if !delimited => (delimited, rest) = (true, more),
            length => {
                let (line, more) = more.split_at_checked(length.checked_sub(4)?)?;
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                if delimited {
                    after.push(line)
                } else {
                    before.push(line)
                }
                rest = more;
            }
        }
    }
}

fn texts(lines: Lines<'_>) -> Option<Vec<&str>> {
    lines.into_iter().map(|line| std::str::from_utf8(line).ok()).collect()
}

/// `None` for one that wants nothing.
fn fetch(capabilities: &[&str], arguments: &[&str]) -> Result<Option<Question>, &'static str> {
    let mut format = None;
    for line in capabilities {
        match line.split_once('=') {
            // They change nothing in the answer.
            Some(("agent" | "session-id", _)) => {}
            Some(("object-format", value @ ("sha1" | "sha256"))) if format.is_none() => format = Some(value),
            Some(_) | None => return Err("capability"),
        }
    }
    let arguments = understand(arguments)?;
    if arguments.wants.is_empty() {
        return Ok(None);
    }
    if !arguments.haves.is_empty() && !arguments.words.contains("done") {
        return Err("negotiation");
    }
    // Who says no format speaks SHA-1.
    Ok(Some(Question {
        needs_refs: arguments.words.contains("include-tag"),
        bytes: spelled(format.unwrap_or("sha1"), &arguments),
    }))
}

fn understand<'a>(lines: &[&'a str]) -> Result<Arguments<'a>, &'static str> {
    let mut known = Arguments::default();
    for line in lines {
        let (word, value) = line.split_once(' ').map_or((*line, None), |(word, value)| (word, Some(value)));
        match (word, value) {
            ("want", Some(name)) if is_object(name) => drop(known.wants.insert(name)),
            ("have", Some(name)) if is_object(name) => drop(known.haves.insert(name)),
            ("shallow", Some(name)) if is_object(name) => drop(known.shallows.insert(name)),
            ("deepen", Some(depth)) if is_number(depth) && known.depth.is_none() => known.depth = value,
            ("deepen-since", Some(since)) if is_number(since) && known.since.is_none() => known.since = value,
            // Other filters name objects by revisions, which refs decide.
            ("filter", Some(spec)) if is_plain_filter(spec) && known.filter.is_none() => known.filter = value,
            // Always: the answer is for many, and says nothing of one git's pace.
            ("no-progress", None) => {}
            ("done", None) => drop(known.words.insert("done")),
            ("thin-pack", None) => drop(known.words.insert("thin-pack")),
            ("ofs-delta", None) => drop(known.words.insert("ofs-delta")),
            ("include-tag", None) => drop(known.words.insert("include-tag")),
            ("want-ref" | "deepen-not" | "deepen-relative", _) => return Err("refs"),
            _ => return Err("argument"),
        }
    }
    Ok(known)
}

fn is_object(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_number(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_plain_filter(spec: &str) -> bool {
    let plain = |text: &str| !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    spec == "blob:none"
        || ["blob:limit=", "tree:", "object:type="].iter().any(|start| spec.strip_prefix(start).is_some_and(plain))
}

fn spelled(format: &str, arguments: &Arguments<'_>) -> Bytes {
    let mut request = Vec::new();
    let mut say = |word: &str, value: &str| {
        let line = format!("{:04x}{word}{value}\n", word.len() + value.len() + 5);
        request.extend_from_slice(line.as_bytes());
    };
    say("command=", "fetch");
    say("object-format=", format);
    request.extend_from_slice(b"0001");
    let mut say = |word: &str, value: &str| {
        let line = format!("{:04x}{word}{value}\n", word.len() + value.len() + 5);
        request.extend_from_slice(line.as_bytes());
    };
    say("no-progress", "");
    arguments.words.iter().filter(|word| **word != "done").for_each(|word| say(word, ""));
    for (word, names) in [("want ", &arguments.wants), ("shallow ", &arguments.shallows)] {
        names.iter().for_each(|name| say(word, name));
    }
    for (word, value) in
        [("deepen ", arguments.depth), ("deepen-since ", arguments.since), ("filter ", arguments.filter)]
    {
        if let Some(value) = value {
            say(word, value);
        }
    }
    arguments.haves.iter().for_each(|name| say("have ", name));
    if arguments.words.contains("done") {
        say("done", "");
    }
    request.extend_from_slice(b"0000");
    Bytes::from(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0123456789012345678901234567890123456789";
    const B: &str = "abcdefabcdefabcdefabcdefabcdefabcdefabcd";

    fn request(before: &[&str], after: &[&str]) -> Vec<u8> {
        let lines = |lines: &[&str]| lines.iter().map(|l| format!("{:04x}{l}\n", l.len() + 5)).collect::<String>();
        format!("{}0001{}0000", lines(before), lines(after)).into_bytes()
    }

    fn question(before: &[&str], after: &[&str]) -> Question {
        match plan(&request(before, after)) {
            Plan::Keep(question) => question,
            other @ (Plan::Nothing | Plan::Pass(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_may_be_a_fetch_is_not_light() {
        for name in ["ls-refs", "object-info", "bundle-uri"] {
            let command = format!("command={name}");
            assert!(is_light(&request(&[&command, "agent=x"], &["peel"])), "{name}");
            assert!(is_light(&request(&["agent=x", &command], &[])), "{name}");
            assert!(is_light(format!("{:04x}{command}0000", command.len() + 4).as_bytes()), "{name}");
            assert!(!is_light(&request(&[&command, "command=fetch"], &[])), "{name}");
        }
        let want = format!("want {A}");
        assert!(!is_light(&request(&["agent=x", "command=fetch"], &[&want, "done"])));
        // Bytes that are no text; a command that nobody knows; none.
        let fetch = [b"0009agent", &b"0013command=fetch"[..], b"0007\xff\xfe\xfd", b"0000"].concat();
        assert!(!is_light(&fetch));
        assert!(!is_light(&request(&["command=new"], &[])) && !is_light(&request(&["agent=x"], &[])));
        assert!(!is_light(b"0000") && !is_light(b"") && !is_light(b"0014command=ls-refs"));
    }

    #[test]
    fn equal_fetches_have_one_spelling() {
        let (want_a, want_b) = (format!("want {A}"), format!("want {B}"));
        let one = question(
            &["command=fetch", "agent=git/2.47.3", "object-format=sha1"],
            &["no-progress", "ofs-delta", &want_a, &want_b, "done"],
        );
        let other = question(
            &["command=fetch", "object-format=sha1", "session-id=x", "agent=me"],
            &[&want_b, "ofs-delta", &want_a, &want_b, "done"],
        );
        assert_eq!(one, other);
        assert!(!one.needs_refs);
        let again = match plan(&one.bytes) {
            Plan::Keep(again) => again,
            other @ (Plan::Nothing | Plan::Pass(_)) => panic!("{other:?}"),
        };
        assert_eq!(again, one);
    }

    #[test]
    fn what_changes_the_answer_changes_the_spelling() {
        let want = format!("want {A}");
        let plain = question(&["command=fetch"], &[&want, "done"]);
        let (shallow, have) = (format!("shallow {B}"), format!("have {B}"));
        for more in [
            "thin-pack",
            "ofs-delta",
            "include-tag",
            "deepen 1",
            "deepen-since 1700000000",
            "filter blob:none",
            &shallow,
            &have,
        ] {
            assert_ne!(question(&["command=fetch"], &[&want, more, "done"]), plain, "{more}");
        }
        assert_ne!(question(&["command=fetch", "object-format=sha256"], &[&want, "done"]), plain);
        assert_eq!(
            question(&["command=fetch", "object-format=sha1"], &[&want, "done"]),
            plain,
            "it is the one that is meant"
        );
        assert!(question(&["command=fetch"], &[&want, "include-tag"]).needs_refs);
    }

    #[test]
    fn what_may_differ_goes_to_git() {
        let (want, have) = (format!("want {A}"), format!("have {B}"));
        for (before, after, why) in [
            (&["command=fetch"][..], &[want.as_str(), &have][..], "negotiation"),
            (&["command=fetch"], &[&want, "want-ref refs/heads/main"], "refs"),
            (&["command=fetch"], &[&want, "deepen-not v1"], "refs"),
            (&["command=fetch"], &[&want, "deepen 1", "deepen-relative"], "refs"),
            (&["command=fetch"], &[&want, "sideband-all"], "argument"),
            (&["command=fetch"], &[&want, "packfile-uris https"], "argument"),
            (&["command=fetch"], &[&want, "wait-for-done"], "argument"),
            (&["command=fetch"], &[&want, "deepen 1", "deepen 2"], "argument"),
            (&["command=fetch"], &[&want, "filter sparse:oid=main:list"], "argument"),
            (&["command=fetch"], &["want main"], "argument"),
            (&["command=fetch", "server-option=x"], &[&want, "done"], "capability"),
        ] {
            assert_eq!(plan(&request(before, after)), Plan::Pass(Some(why)), "{after:?}");
        }
        assert_eq!(plan(&request(&["command=fetch"], &["done"])), Plan::Nothing);
        assert_eq!(plan(&request(&["command=ls-refs"], &["peel"])), Plan::Pass(None));
        assert_eq!(plan(b"0000"), Plan::Pass(None));
    }

    proptest! {
        #[test]
        fn a_fetch_is_never_light(before in prop::collection::vec("[a-z=]{0,12}", 0..4), after in prop::collection::vec("[a-z=-]{0,12}", 0..4)) {
            let mut lines: Vec<&str> = before.iter().map(String::as_str).collect();
            lines.push("command=fetch");
            lines.extend(after.iter().map(String::as_str));
            prop_assert!(!is_light(&request(&lines, &[])));
        }

        #[test]
        fn no_bytes_panic_and_every_question_is_its_own_spelling(
            lines in prop::collection::vec(prop_oneof![
                Just(format!("want {A}")), Just(format!("have {B}")), Just("done".to_owned()), Just("deepen 1".to_owned()),
                Just("include-tag".to_owned()), Just("filter tree:0".to_owned()), "\\PC{0,30}",
            ], 0..12),
            noise in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            prop_assert!(!matches!(plan(&noise), Plan::Keep(_)));
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            if let Plan::Keep(question) = plan(&request(&["command=fetch"], &lines)) {
                prop_assert_eq!(plan(&question.bytes), Plan::Keep(question));
            }
        }
    }
}
