//! Listings for people: columns, UTC times.

use jiff::Timestamp;

/// How many grants a line of a listing names.
const GRANTS: usize = 3;

/// Lines of columns below their headings; the last column is not padded.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.into_iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(headings.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines
}

/// `2026-11-21 08:00 UTC`
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// The first few grants, and how many there are beside them.
pub(super) fn grants(all: &[String]) -> String {
    let first = all.iter().take(GRANTS).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len() {
        0 => "-".to_owned(),
        count if count > GRANTS => format!("{first} and {} more", count - GRANTS),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a".to_owned(), "bb".to_owned()], ["ccccc".to_owned(), String::new()]];
        assert_eq!(table(["ONE", "TWO"], &rows), ["ONE    TWO", "a      bb", "ccccc"]);
        assert_eq!(grants(&["a".to_owned()]), "a");
        assert_eq!(grants(&["a", "b", "c", "d"].map(str::to_owned)), "a, b, c and 1 more");
    }
}
