//! What every client did, as a table.

use std::sync::Mutex;

/// One client that did everything.
pub(crate) struct Row {
    pub(crate) client: String,
    pub(crate) version: String,
    pub(crate) ssh: String,
    pub(crate) protocol: String,
    pub(crate) key_exchange: String,
    pub(crate) host_key: String,
    pub(crate) cipher: String,
    pub(crate) result: String,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

pub(crate) fn add(row: Row) {
    ROWS.lock().unwrap().push(row);
}

/// Prints every row, sorted by client.
pub(crate) fn print() {
    let mut rows = ROWS.lock().unwrap();
    if rows.is_empty() {
        return;
    }
    rows.sort_by(|a, b| (&a.client, &a.protocol).cmp(&(&b.client, &b.protocol)));
    let head = ["client", "version", "SSH library", "git", "key exchange", "host key", "cipher", "result"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [&row.client, &row.version, &row.ssh, &row.protocol, &row.key_exchange, &row.host_key, &row.cipher, &row.result]
            .map(Clone::clone)
    }));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    println!();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
}
