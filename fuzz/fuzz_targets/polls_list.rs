//! git's list of refs, and a question about it: the lines of the input up to an empty one are the list, the first of the rest
//! says what is asked for beside the names (`p`, `s`, `u`), and the others are starts of names. What is answered is what going
//! through the list line by line would find, in its order, and nothing else.
#![no_main]
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pullgate::git::polls::ask::Ask;
use pullgate::git::polls::list::RefList;

fn framed(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{:04x}{line}\n", line.len() + 5)).collect::<String>() + "0000"
}

/// What git would say of one line of the list.
fn one(line: &str, ask: &Ask) -> Option<String> {
    let mut words = line.split(' ');
    let (object, name) = (words.next()?, words.next()?);
    let unborn = object == "unborn";
    if !ask.wants(name.as_bytes()) || (unborn && !(ask.unborn && ask.symrefs)) {
        return None;
    }
    let wanted = |word: &&str| match word.starts_with("symref-target:") {
        true => ask.symrefs,
        false => ask.peel,
    };
    Some([object, name].into_iter().chain(words.filter(wanted)).collect::<Vec<_>>().join(" "))
}

fuzz_target!(|input: &[u8]| {
    // As it comes, for what no framing would make.
    drop(RefList::parse(Bytes::copy_from_slice(input)));
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let listed: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).map(str::to_owned).collect();
    let Some(list) = RefList::parse(framed(&listed).into()) else { return };
    let every = Ask { peel: true, symrefs: true, unborn: true, ..Ask::default() };
    assert_eq!(list.answer(&every).collect::<Vec<_>>().concat(), framed(&listed).into_bytes());
    let flags = lines.next().unwrap_or_default();
    let ask = Ask {
        format: None,
        peel: flags.contains('p'),
        symrefs: flags.contains('s'),
        unborn: flags.contains('u'),
        prefixes: lines.map(|line| line.as_bytes().to_vec()).collect(),
    };
    let expected: Vec<String> = listed.iter().filter_map(|line| one(line, &ask)).collect();
    assert_eq!(String::from_utf8(list.answer(&ask).collect::<Vec<_>>().concat()).unwrap(), framed(&expected), "{ask:?}");
});
