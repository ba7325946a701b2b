//! What every client did, as a table: a row for each, also for those that failed and those that are not installed.

use std::cell::RefCell;
use std::sync::Mutex;

/// One client, as far as it came.
#[derive(Clone, Default)]
pub(crate) struct Row {
    pub(crate) client: String,
    pub(crate) version: String,
    pub(crate) ssh: String,
    pub(crate) protocol: String,
    pub(crate) key_exchange: String,
    pub(crate) host_key: String,
    pub(crate) cipher: String,
    steps: Vec<&'static str>,
    result: String,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

thread_local! {
    /// The client that this thread is about. Each test has a thread for itself while it runs.
    static CURRENT: RefCell<Row> = RefCell::default();
}

/// From here on this thread is about this client.
pub(crate) fn begin(client: &str) {
    CURRENT.set(Row { client: client.to_owned(), steps: vec!["start"], ..Row::default() });
}

/// The step that begins; all before it were good.
pub(crate) fn step(name: &'static str) {
    know(|row| row.steps.push(name));
}

/// What is known of the client by now.
pub(crate) fn know(what: impl FnOnce(&mut Row)) {
    CURRENT.with_borrow_mut(what);
}

/// The row is complete: every step was good, or the last one that began was not.
pub(crate) fn end(good: bool) {
    let mut row = CURRENT.take();
    // Before its first step a client is only prepared.
    row.result = match row.steps.as_slice() {
        [_, done @ ..] if good && !done.is_empty() => format!("good: {}", done.join(", ")),
        [.., last] => format!("FAILED at {last}"),
        [] => "FAILED".to_owned(),
    };
    ROWS.lock().unwrap().push(row);
}

/// A row for a client that is not there.
pub(crate) fn absent(client: &str, what: &str) {
    let result = format!("not installed: {what}");
    ROWS.lock().unwrap().push(Row { client: client.to_owned(), result, ..Row::default() });
}

/// How many rows there are, and how many of them are good.
pub(crate) fn count() -> (usize, usize) {
    let rows = ROWS.lock().unwrap();
    (rows.len(), rows.iter().filter(|row| row.result.starts_with("good: ")).count())
}

/// Prints every row, sorted by client.
pub(crate) fn print() {
    let mut rows = ROWS.lock().unwrap();
    if rows.is_empty() {
        return;
    }
    rows.sort_by(|a, b| a.client.cmp(&b.client));
    let head = ["client", "version", "SSH library", "git", "key exchange", "host key", "cipher", "result"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [&row.client, &row.version, &row.ssh, &row.protocol, &row.key_exchange, &row.host_key, &row.cipher, &row.result]
            .map(|cell| if cell.is_empty() { "-".to_owned() } else { cell.clone() })
    }));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    println!();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
}
