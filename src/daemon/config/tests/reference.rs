//! docs/config.md, made from what there is: the words and values of the example, what the reader says of a value that is
//! none, and what a reload says of one that changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::Value;

use super::*;
use crate::daemon::reload::at_the_next_start;

const TITLE: &str = "\
# The config file

Every section and key, in the order of `config.example.toml`, which `pullgate init` writes. What is written there are the defaults:
every line may be left out. `--config FILE` names the file, else `$PULLGATE_CONFIG`, else it is `./config.toml` or
`/etc/pullgate/config.toml`. It is [TOML](https://toml.io). Relative paths start at its folder. A key or section that is not known is
refused, as is a value that does not do, and nothing starts; `pullgate check` says all that is wrong at once.

\"In force\" is what a changed value waits for: `SIGHUP` takes it over for everybody who connects from then on (`systemctl reload`), a
`restart` is needed for the rest.

Made from the example, the reader and the reload themselves; a test holds this page to them, and `PULLGATE_WRITE=1 cargo test --lib
reference` writes it anew.
";

/// Keys that one comment of the example is about.
#[derive(Default)]
struct Group {
    section: String,
    keys: Vec<(String, Value)>,
    words: String,
}

/// The example, comment by comment. The first comment is about the file.
fn groups() -> Vec<Group> {
    let (mut groups, mut section, mut words) = (Vec::<Group>::new(), String::new(), String::new());
    let mut above = true;
    for line in EXAMPLE.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            if !words.is_empty() {
                words.push('\n');
            }
            words.push_str(comment.trim_start());
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if line.is_empty() {
            assert!(std::mem::take(&mut above) || words.is_empty(), "a comment about nothing: {words}");
            words.clear();
        } else {
            let mut table: toml::Table = line.parse().unwrap();
            let key = table.keys().next().unwrap().clone();
            let value = table.remove(&key).unwrap();
            let goes_on = words.is_empty() && groups.last().is_some_and(|last| last.section == section);
            if !goes_on {
                groups.push(Group { section: section.clone(), keys: Vec::new(), words: std::mem::take(&mut words) });
            }
            groups.last_mut().unwrap().keys.push((key, value));
        }
    }
    groups
}

/// A config of one key.
fn with(section: &str, key: &str, value: &str) -> Result<Config, Vec<ConfigFault>> {
    let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
    Config::parse(&format!("{head}{key} = {value}"), Path::new(FILE))
}

/// What the reader asks for in the place of a value of a type that nothing has.
fn wanted(section: &str, key: &str) -> String {
    let faults = with(section, key, "1979-05-27").unwrap_err();
    assert_eq!(faults.len(), 1, "{section}.{key}: {faults:?}");
    let remedy = faults[0].remedy.strip_prefix("write ").unwrap_or_else(|| panic!("{faults:?}"));
    remedy.replace('|', "\\|")
}

/// Values of which at least one is good for each key, and not its default.
const OTHERS: [&str; 17] = [
    "7",
    "100",
    "true",
    "false",
    "'/elsewhere'",
    "'git.example.org'",
    "'127.0.0.1:9180'",
    "['127.0.0.1:22']",
    "['10.0.0.1']",
    "[1000]",
    "'90d'",
    "'stdout'",
    "'warn'",
    "'json'",
    "'prefer'",
    "'root'",
    "'4w'",
];

/// What a changed value waits for.
fn in_force(section: &str, key: &str) -> &'static str {
    let default = Config::parse("", Path::new(FILE)).unwrap();
    let changed = OTHERS.iter().find_map(|other| with(section, key, other).ok().filter(|config| *config != default));
    let changed = changed.unwrap_or_else(|| panic!("{section}.{key}: none of these values changes it"));
    if at_the_next_start(&default, &changed).is_empty() { "SIGHUP" } else { "restart" }
}

fn page() -> String {
    let (mut text, mut section) = (TITLE.to_owned(), None);
    for group in groups() {
        if section.as_ref() != Some(&group.section) {
            let name = if group.section.is_empty() { "Above all sections" } else { &format!("`[{}]`", group.section) };
            write!(text, "\n## {name}\n").unwrap();
            section = Some(group.section.clone());
        }
        let names: Vec<_> = group.keys.iter().map(|(key, _)| format!("`{key}`")).collect();
        let words = group.words.replace('<', "\\<");
        write!(text, "\n### {}\n\n{words}\n\n| key | default | value | in force |\n", names.join(", ")).unwrap();
        text.push_str("| --- | --- | --- | --- |\n");
        for (key, value) in &group.keys {
            let (wanted, in_force) = (wanted(&group.section, key), in_force(&group.section, key));
            writeln!(text, "| `{key}` | `{value}` | {wanted} | {in_force} |").unwrap();
        }
    }
    text
}

#[test]
fn the_config_reference_is_what_the_program_says() {
    let text = page();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    if std::env::var_os("PULLGATE_WRITE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == text, "docs/config.md is stale: write it anew with PULLGATE_WRITE=1");
}

/// Each key that the reader knows has a row in its section, and words about it.
#[test]
fn every_key_is_in_the_config_reference() {
    let page = page();
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    let (mut section, mut words) = (String::new(), false);
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section =
                heading.strip_prefix("`[").map_or(String::new(), |name| format!("{}.", name.trim_end_matches("]`")));
        } else if line.starts_with("### ") {
            words = false;
        } else if let Some(row) = line.strip_prefix("| `") {
            assert!(words, "nothing is said about {row}");
            *rows.entry(format!("{section}{}", row.split('`').next().unwrap())).or_default() += 1;
        } else if !line.is_empty() && !line.starts_with('|') {
            words = true;
        }
    }
    let known: BTreeMap<String, usize> = known_keys().into_iter().map(|key| (key, 1)).collect();
    assert_eq!(rows, known);
}
