//! Reading a file so that all of its faults are found, not only the first.
//!
//! serde stops at the first fault, so the sections are taken apart by hand: every key is asked for by its reader, and what
//! nobody asked for is unknown.

use std::collections::BTreeSet;
use std::path::Path;

use toml::{Table, Value};

use super::ConfigFault;
use crate::model::text::printable;

/// Why a value does not do: the fact, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) fact: String,
    pub(super) remedy: String,
}

/// A `Wrong`.
pub(super) fn wrong<T>(fact: impl Into<String>, remedy: impl Into<String>) -> Result<T, Vec<Wrong>> {
    Err(vec![Wrong { fact: fact.into(), remedy: remedy.into() }])
}

/// The whole file.
#[derive(Debug)]
pub(super) struct Reader {
    root: Table,
    sections: BTreeSet<&'static str>,
    faults: Vec<ConfigFault>,
}

impl Reader {
    pub(super) fn new(text: &str, file: &Path) -> Result<Self, Vec<ConfigFault>> {
        match text.parse::<Table>() {
            Ok(root) => Ok(Self { root, sections: BTreeSet::new(), faults: Vec::new() }),
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                Err(vec![ConfigFault {
                    key: format!("line {}", before.matches('\n').count() + 1),
                    fact: printable(error.message(), 300),
                    remedy: format!("{} has to be TOML (https://toml.io)", file.display()),
                }])
            }
        }
    }

    /// Reads the keys above the first section.
    pub(super) fn top<T>(&mut self, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let mut section = Section { prefix: "", values: &mut self.root, known: Vec::new(), faults: &mut self.faults };
        let value = read(&mut section);
        let known = section.known;
        self.sections.extend(known);
        value
    }

    /// Reads one section. What is in it and was not asked for is unknown.
    pub(super) fn section<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        self.sections.insert(name);
        let mut values = match self.root.remove(name) {
            None => Table::new(),
            Some(Value::Table(values)) => values,
            Some(_) => {
                self.faults.push(ConfigFault {
                    key: name.to_owned(),
                    fact: "is not a section".to_owned(),
                    remedy: format!("write [{name}] and its keys below it"),
                });
                Table::new()
            }
        };
        let mut section = Section { prefix: name, values: &mut values, known: Vec::new(), faults: &mut self.faults };
        let value = read(&mut section);
        let known = section.known;
        self.faults.extend(values.keys().map(|key| unknown(&dotted(name, key), &known)));
        value
    }

    /// What was wrong.
    pub(super) fn finish(mut self) -> Result<(), Vec<ConfigFault>> {
        let known: Vec<_> = self.sections.into_iter().collect();
        self.faults.extend(self.root.keys().map(|key| unknown(&printable(key, 80), &known)));
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }
}

/// One section, while it is read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    prefix: &'static str,
    values: &'a mut Table,
    known: Vec<&'static str>,
    faults: &'a mut Vec<ConfigFault>,
}

impl Section<'_> {
    /// The value of a key, or its default. What is wrong is noted, and the default stands in until the end, where the
    /// faults win.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&Value) -> Result<T, Vec<Wrong>>,
    ) -> T {
        self.known.push(key);
        let Some(value) = self.values.remove(key) else { return default };
        match parse(&value) {
            Ok(value) => value,
            Err(wrongs) => {
                self.note(key, wrongs);
                default
            }
        }
    }

    /// Notes what is wrong with a value, whether it was written or is the default.
    pub(super) fn check(&mut self, key: &'static str, result: Result<(), Vec<Wrong>>) {
        if let Err(wrongs) = result {
            self.note(key, wrongs);
        }
    }

    fn note(&mut self, key: &'static str, wrongs: Vec<Wrong>) {
        let key = dotted(self.prefix, key);
        self.faults.extend(wrongs.into_iter().map(|Wrong { fact, remedy }| ConfigFault {
            key: key.clone(),
            fact: printable(&fact, 300),
            remedy,
        }));
    }
}

fn dotted(section: &str, key: &str) -> String {
    let key = printable(key, 80);
    if section.is_empty() { key } else { format!("{section}.{key}") }
}

/// The one that was meant, most likely.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    const ALIKE: f64 = 0.85;
    let key = key.rsplit('.').next().unwrap_or(key);
    let likeness = |name: &&str| strsim::jaro_winkler(key, name);
    known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|name| likeness(name) >= ALIKE)
}

fn unknown(key: &str, known: &[&str]) -> ConfigFault {
    ConfigFault {
        key: key.to_owned(),
        fact: "is not known".to_owned(),
        remedy: match nearest(key, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("remove it, or write one of {}", known.join(", ")),
        },
    }
}
