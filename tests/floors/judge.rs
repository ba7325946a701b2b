//! The checks. Each takes sources and returns what is wrong, with file, line and what to do.

use std::collections::{BTreeMap, BTreeSet};

use super::law::{
    CONFINED, Confined, FLOORS, MAIN_MAY_NAME, MAX_LINES, MAY_SAY_RECEIVE_PACK, PROVEN_KEY_MAKER, What, allows,
};
use super::reading::{How, Named, read};
use super::source::Source;

/// `path:line: what is wrong; what to do`
pub(crate) type Offence = String;

type Room = (u8, &'static str);

/// The room of a module path: the longest row that it starts with.
fn room(module: &[String]) -> Option<Room> {
    let starts = |row: &str| {
        let mut segments = module.iter();
        row.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
    };
    FLOORS.iter().copied().filter(|(_, row)| starts(row)).max_by_key(|(_, row)| row.len())
}

/// Where in the library a path leads; `None` when it leads out of it, or is no path at all.
fn resolve(named: &Named) -> Option<Vec<String>> {
    let import = named.how != How::Used && named.how != How::Called;
    let first = named.segments.first()?;
    if named.segments.len() == 1 && !import {
        // `self` the value, `pub(crate)`, any other word.
        return None;
    }
    let mut target = match first.as_str() {
        "crate" | "pullgate" => Vec::new(),
        "self" | "super" => named.module.clone(),
        _ => {
            // A path that starts with a child module: of interest where that child is a room of its own.
            let child = [named.module.as_slice(), &named.segments].concat();
            return (room(&child).is_some() && room(&child) != room(&named.module)).then_some(child);
        }
    };
    for segment in &named.segments {
        match segment.as_str() {
            "crate" | "pullgate" | "self" => {}
            "super" => {
                target.pop();
            }
            _ => target.push(segment.clone()),
        }
    }
    (import || !target.is_empty()).then_some(target)
}

/// Floors: who names whom.
pub(crate) fn floors(sources: &[Source]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in sources {
        let path = &source.path;
        let reading = read(source);
        offences.extend(reading.unreadable.iter().map(|(line, fact)| {
            format!("{path}:{line}: {fact}; write it so that tests/floors.rs can see what is named")
        }));
        let home = source.module();
        let is_map = home.as_ref().is_some_and(Vec::is_empty);
        if home.as_ref().is_some_and(|module| !is_map && room(module).is_none()) {
            offences.push(format!(
                "{path}:1: this module is on no floor; give it a row in FLOORS (tests/floors/law.rs) or move it into a room"
            ));
            continue;
        }
        for named in &reading.names {
            // In the binary `crate` is the binary itself.
            if home.is_none() && named.segments.first().is_none_or(|first| first != "pullgate") {
                continue;
            }
            let Some(target) = resolve(named) else { continue };
            let line = named.line;
            if target.is_empty() {
                offences
                    .push(format!("{path}:{line}: takes in the whole crate; import what is needed by its full name"));
                continue;
            }
            let there = room(&target);
            let target = target.join("::");
            let fault = match (&home, room(&named.module), there) {
                (_, _, None) => {
                    Some(format!("`{target}` is in no room; give it a row in FLOORS (tests/floors/law.rs)"))
                }
                (None, _, Some((_, there))) if MAIN_MAY_NAME.contains(&there) => None,
                (None, _, Some((_, there))) => {
                    Some(format!("the binary names `{there}`; it may name {MAIN_MAY_NAME:?}, put the rest there"))
                }
                (Some(_), None, Some(_)) => Some(format!("the map names `{target}`; src/lib.rs only declares modules")),
                (Some(_), Some(here), Some(there)) if here == there || there.0 < here.0 => None,
                (Some(_), Some((height, here)), Some((other, there))) => {
                    let relation = if height == other { "a sibling of" } else { "above" };
                    Some(format!(
                        "`{target}` is in {there} (floor {other}), {relation} {here} (floor {height}); \
                         move what is needed to a lower floor, or hand it in from above"
                    ))
                }
            };
            offences.extend(fault.map(|fault| format!("{path}:{line}: {fault}")));
        }
    }
    offences
}

/// The full path of what a file names, as far as the file's own imports tell.
fn expand(segments: &[String], imports: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut path = segments.to_vec();
    // An import may start with another import's name; more than a few steps is a circle.
    for _ in 0..4 {
        let Some(full) = path.first().and_then(|first| imports.get(first)) else { break };
        if full.first() == path.first() {
            break;
        }
        path.splice(..1, full.iter().cloned());
    }
    path
}

fn names(what: What, named: &Named, path: &[String]) -> bool {
    let below = |confined: &[&str]| {
        let same = path.iter().zip(confined).all(|(a, b)| a == b);
        // A parent that is taken in whole, or under another name, takes this in with it.
        let parent = matches!(named.how, How::Glob | How::Renamed) && !path.is_empty();
        same && (path.len() >= confined.len() || parent)
    };
    match what {
        What::Word(word) => named.segments.iter().any(|segment| segment == word),
        What::Path(confined) => below(confined),
        What::PathBut(confined, branch) => {
            below(confined) && path.get(confined.len()).is_none_or(|next| next != branch)
        }
        What::Macro(name) => named.how == How::Called && named.segments.last().is_some_and(|last| last == name),
    }
}

fn title(what: What) -> String {
    match what {
        What::Word(word) => word.to_owned(),
        What::Path(path) => path.join("::"),
        What::PathBut(path, branch) => format!("{} (but {branch})", path.join("::")),
        What::Macro(name) => format!("{name}!"),
    }
}

/// Rooms: the one place of each confined thing.
pub(crate) fn rooms(sources: &[Source]) -> Vec<Offence> {
    let mut offences = BTreeSet::new();
    let mut holders: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        let reading = read(source);
        let imports: BTreeMap<String, Vec<String>> =
            reading.names.iter().filter_map(|named| Some((named.local.clone()?, named.segments.clone()))).collect();
        for named in &reading.names {
            let path = expand(&named.segments, &imports);
            for (row, Confined { what, may, tests_may, remedy, .. }) in CONFINED.iter().enumerate() {
                if (named.in_test && *tests_may) || !names(*what, named, &path) {
                    continue;
                }
                if !may.iter().any(|place| allows(place, &source.path)) {
                    let (place, line) = (&source.path, named.line);
                    offences.insert(format!("{place}:{line}: {} may not stand here; {remedy}", title(*what)));
                } else if !named.in_test {
                    holders.entry(row).or_default().insert(&source.path);
                }
            }
        }
    }
    for (row, files) in holders {
        if let Some(confined) = CONFINED.get(row).filter(|confined| confined.one_file && files.len() > 1) {
            let (title, remedy) = (title(confined.what), confined.remedy);
            offences.insert(format!("{title} stands in {files:?} and may stand in one file; {remedy}"));
        }
    }
    offences.into_iter().collect()
}

/// The proof that a peer signed is made at one place.
pub(crate) fn proven_key(sources: &[Source]) -> Vec<Offence> {
    let mut sites = Vec::new();
    for source in sources {
        for named in read(source).names {
            // `ProvenKey::something` in an expression. Inside its own impl the type is called `Self`.
            let makes = matches!(named.segments.as_slice(), [.., kind, _] if kind == "ProvenKey");
            if makes && named.how == How::Used && !named.in_test {
                sites.push((source.path.clone(), named.line));
            }
        }
    }
    let maker_exists = sources.iter().any(|source| source.path == PROVEN_KEY_MAKER);
    let at_maker = sites.iter().filter(|(path, _)| path == PROVEN_KEY_MAKER).count();
    if sites.len() == at_maker && at_maker == usize::from(maker_exists) {
        return Vec::new();
    }
    vec![format!(
        "a ProvenKey is made at {sites:?}; it is made once, in {PROVEN_KEY_MAKER}, where the SSH library hands over a verified key"
    )]
}

/// The name of git's receiving program stands in few files, and only in words.
pub(crate) fn receive_pack(sources: &[Source]) -> Vec<Offence> {
    let says = |text: &str| text.replace(['-', '_'], "").to_lowercase().contains("receivepack");
    let mut offences = BTreeSet::new();
    for source in sources.iter().filter(|source| !MAY_SAY_RECEIVE_PACK.contains(&source.path.as_str())) {
        let reading = read(source);
        let literals = reading.literals.iter().map(|(line, text, in_test)| (*line, says(text), *in_test));
        let names = reading.names.iter();
        let names = names.map(|named| (named.line, named.segments.iter().any(|segment| says(segment)), named.in_test));
        for (line, _, _) in literals.chain(names).filter(|(_, said, in_test)| *said && !in_test) {
            offences.insert(format!(
                "{}:{line}: speaks of receive-pack; there is no way to write here, and only {MAY_SAY_RECEIVE_PACK:?} may say so",
                source.path
            ));
        }
    }
    offences.into_iter().collect()
}

/// Files stay short.
pub(crate) fn lengths(sources: &[Source]) -> Vec<Offence> {
    let long = sources.iter().map(|source| (&source.path, source.text.lines().count()));
    long.filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| {
            format!("{path}:{MAX_LINES}: has {lines} lines, {MAX_LINES} at most; one file per lifetime, one per verb")
        })
        .collect()
}

/// The map names modules and hands nothing on: every thing has one name.
pub(crate) fn exports(sources: &[Source]) -> Vec<Offence> {
    let map = sources.iter().filter(|source| source.path == "src/lib.rs");
    map.flat_map(|source| read(source).exports)
        .map(|line| format!("src/lib.rs:{line}: `pub use`; a thing has one name, the one of the module that it is in"))
        .collect()
}
