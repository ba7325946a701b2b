//! The audit file and what a log rotation made of it.

use std::io;
use std::path::{Path, PathBuf};

/// The ends of files that something packed: they are not read here.
const PACKED: [&str; 6] = ["gz", "bz2", "xz", "zst", "lz4", "Z"];

/// An audit file with its rotated neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// Those that can be read, oldest first; the file itself is the last one, if it is there.
    pub plain: Vec<PathBuf>,
    /// Those that were packed, by name.
    pub packed: Vec<PathBuf>,
}

/// Where a rotated file stands among the others: dates first, then the numbers that count down to the newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// `audit.jsonl-20270301`, as logrotate's `dateext` writes it, with digits and dashes.
    Dated(String),
    /// `audit.jsonl.1`: the higher, the older.
    Numbered(std::cmp::Reverse<u64>),
}

fn age(end: &str) -> Option<Age> {
    let number = |text: &str| (!text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())).then_some(());
    if let Some(digits) = end.strip_prefix('.') {
        number(digits)?;
        return digits.parse().ok().map(|number| Age::Numbered(std::cmp::Reverse(number)));
    }
    let date = end.strip_prefix('-')?;
    date.split('-').all(|part| number(part).is_some()).then(|| Age::Dated(date.to_owned()))
}

/// Finds the file at `path` and those that log rotation left beside it: `path.N`, `path-DATE`, and the same with the end of a
/// packer.
///
/// # Errors
/// The folder cannot be read. A folder or file that is not there gives an empty family.
pub fn family(path: &Path) -> io::Result<Family> {
    let mut family = Family::default();
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(family);
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(family),
        Err(error) => return Err(error),
    };
    let mut aged = Vec::new();
    for entry in entries {
        let found = entry?;
        let Some(end) = found.file_name().to_str().and_then(|found| found.strip_prefix(name)).map(str::to_owned) else {
            continue;
        };
        let (plain, packer) = match end.rsplit_once('.') {
            Some((plain, packer)) if PACKED.contains(&packer) => (plain, true),
            Some(_) | None => (end.as_str(), false),
        };
        match (age(plain), packer) {
            (Some(_), true) => family.packed.push(found.path()),
            (Some(age), false) => aged.push((age, found.path())),
            (None, _) => {}
        }
    }
    aged.sort();
    family.packed.sort();
    family.plain = aged.into_iter().map(|(_, path)| path).collect();
    if path.try_exists()? {
        family.plain.push(path.to_owned());
    }
    Ok(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_found_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        assert_eq!(family(&path).unwrap(), Family::default());
        assert_eq!(family(&dir.path().join("none/audit.jsonl")).unwrap(), Family::default());
        for name in [
            "audit.jsonl",
            "audit.jsonl.1",
            "audit.jsonl.2",
            "audit.jsonl.10",
            "audit.jsonl.3.gz",
            "audit.jsonl-20270301",
            "audit.jsonl-20260101",
            "audit.jsonl-20250101.zst",
            "audit.jsonl.bak",
            "audit.jsonl.1x",
            "audit.jsonl-",
            "other.jsonl.1",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        let found = family(&path).unwrap();
        assert_eq!(
            names(found.plain),
            [
                "audit.jsonl-20260101",
                "audit.jsonl-20270301",
                "audit.jsonl.10",
                "audit.jsonl.2",
                "audit.jsonl.1",
                "audit.jsonl"
            ]
        );
        assert_eq!(names(found.packed), ["audit.jsonl-20250101.zst", "audit.jsonl.3.gz"]);
    }
}
