//! Advertisements, taken apart.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::raw::Fault;

/// What a server answers for one ref: the object, what a tag peels to, what a symbolic ref names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tip {
    pub(crate) oid: String,
    pub(crate) peeled: Option<String>,
    pub(crate) target: Option<String>,
}

/// An advertisement.
pub(crate) type Refs = BTreeMap<String, Tip>;

/// The refs of an answer of version 2 to `ls-refs`.
pub(crate) fn refs_of_v2(lines: &[Bytes]) -> Result<Refs, Fault> {
    let mut refs = Refs::new();
    for line in lines {
        let text = std::str::from_utf8(line).map_err(|e| e.to_string())?.trim_end();
        let mut words = text.split(' ');
        let (Some(oid), Some(name)) = (words.next(), words.next()) else { return Err(format!("no ref: {text}")) };
        let mut tip = Tip { oid: oid.to_owned(), peeled: None, target: None };
        for word in words {
            match word.split_once(':') {
                Some(("peeled", oid)) => tip.peeled = Some(oid.to_owned()),
                Some(("symref-target", name)) => tip.target = Some(name.to_owned()),
                _ => return Err(format!("no attribute: {text}")),
            }
        }
        refs.insert(name.to_owned(), tip);
    }
    Ok(refs)
}

/// The refs of an advertisement of version 0.
pub(crate) fn refs_of_v0(lines: &[Bytes]) -> Result<Refs, Fault> {
    let (mut refs, mut symref) = (Refs::new(), None);
    for line in lines {
        let text = std::str::from_utf8(line).map_err(|e| e.to_string())?.trim_end();
        let (text, capabilities) = text.split_once('\0').unwrap_or((text, ""));
        if let Some(found) = capabilities.split(' ').find_map(|word| word.strip_prefix("symref=")) {
            symref = found.split_once(':').map(|(from, to)| (from.to_owned(), to.to_owned()));
        }
        let Some((oid, name)) = text.split_once(' ') else { return Err(format!("no ref: {text}")) };
        match name.strip_suffix("^{}") {
            Some("capabilities") => {}
            Some(tag) => match refs.get_mut(tag) {
                Some(tip) => tip.peeled = Some(oid.to_owned()),
                None => return Err(format!("peeled before it came: {text}")),
            },
            None => {
                refs.insert(name.to_owned(), Tip { oid: oid.to_owned(), peeled: None, target: None });
            }
        }
    }
    if let Some((from, to)) = symref
        && let Some(tip) = refs.get_mut(&from)
    {
        tip.target = Some(to);
    }
    Ok(refs)
}
