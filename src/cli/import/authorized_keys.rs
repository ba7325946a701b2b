//! An `authorized_keys` file: one key a line.

use super::{Draft, line};

/// The lines that are not blank and no comments.
pub(super) fn drafts(text: &str) -> Vec<Draft> {
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let lines = lines.map(|(number, line)| (number + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, text)| Draft {
            place: format!("line {number}"),
            called: line::split(text).map(|line| line.comment.to_owned()).unwrap_or_default(),
            line: text.to_owned(),
        })
        .collect()
}
