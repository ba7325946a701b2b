//! A gitolite `keydir`: a `.pub` file for each key, in folders or not; the file's name says whose it is.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{Draft, Skipped};
use crate::cli::io::{Stop, unreadable};
use crate::model::public_key::MAX_TEXT;

/// Folders within folders; gitolite itself has one or two.
const DEEPEST: usize = 16;

/// The keys below a folder, in the order of their names. Links are not followed.
pub(super) fn drafts(keydir: &Path) -> Result<(Vec<Draft>, Vec<Skipped>), Stop> {
    let (mut drafts, mut skipped) = (Vec::new(), Vec::new());
    walk(keydir, "", 0, &mut drafts, &mut skipped)?;
    Ok((drafts, skipped))
}

fn walk(
    folder: &Path,
    below: &str,
    depth: usize,
    drafts: &mut Vec<Draft>,
    skipped: &mut Vec<Skipped>,
) -> Result<(), Stop> {
    let unreadable = |error: std::io::Error| {
        unreadable(folder, &error)
            .hint("name the folder keydir of a clone of gitolite-admin, or ~/.gitolite/keydir of the server")
    };
    if depth > DEEPEST {
        skipped.push(Skipped::new(below, "it lies too deep"));
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = entries.map_err(unreadable)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let place = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if name == ".git" {
            continue;
        } else if kind.is_dir() {
            walk(&entry.path(), &place, depth + 1, drafts, skipped)?;
        } else if !kind.is_file() {
            skipped.push(Skipped::new(&place, "it is a link, or no file"));
        } else if let Some(stem) = name.strip_suffix(".pub") {
            match one(&entry.path()) {
                Ok(line) => drafts.push(Draft { called: owner(stem).to_owned(), place, line }),
                Err(why) => skipped.push(Skipped::new(&place, &why)),
            }
        } else {
            skipped.push(Skipped::new(&place, "its name does not end in .pub, so gitolite does not read it either"));
        }
    }
    Ok(())
}

/// `alice@laptop` is alice's; `alice@example.com` is called just that, as gitolite has it: a part with a dot is a domain.
fn owner(stem: &str) -> &str {
    match stem.rsplit_once('@') {
        Some((owner, place)) if !place.contains('.') && !owner.is_empty() => owner,
        _ => stem,
    }
}

/// The one key of a file.
fn one(file: &Path) -> Result<String, String> {
    let most = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() > MAX_TEXT {
        return Err("it is too large for a key".to_owned());
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.to_owned()),
        (Some(_), Some(_)) => Err("it holds more than one line; gitolite takes one key a file".to_owned()),
        (None, _) => Err("it is empty".to_owned()),
    }
}
