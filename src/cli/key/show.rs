//! `pullgate key show`

use jiff::Timestamp;

use crate::admin::view::{GrantUse, KeyState, KeyView};
use crate::cli::Context;
use crate::cli::io::{Io, Stop};
use crate::cli::session::unexpected;
use crate::cli::table::time;
use crate::front::control::protocol::{Answer, Request};
use crate::registry::record::Holder;
use crate::usage::Use;

/// Show one key
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// account/label, or a fingerprint
    key: String,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let answer = context.session()?.call(Request::KeyShow { key: self.key })?;
        let Answer::Key(view) = answer else { return Err(unexpected(&answer).into()) };
        show(&view, self.json, context.io)
    }
}

/// Everything about one key.
pub(in crate::cli) fn show(key: &KeyView, json: bool, io: &mut Io<'_>) -> Result<(), Stop> {
    if json {
        return io.json(key);
    }
    let (kind, all) = match key.holder {
        Holder::DeployKey => ("deploy key", "nothing"),
        Holder::AccountKey => ("account key", "every repository of its account"),
    };
    let list = |items: &[String], none: &str| match items.is_empty() {
        true => none.to_owned(),
        false => items.join("\n             "),
    };
    let mut lines = vec![
        ("key", format!("{} ({kind}, {})", key.name, state(key))),
        ("fingerprint", key.fingerprint.clone()),
        ("type", format!("{}, {} bits", key.type_name, key.bits)),
        ("may fetch", list(&key.grants, all)),
        ("from", list(&key.sources, "anywhere")),
        ("expires", expires(key)),
        ("added", format!("{} by {}", time(key.added_at), key.added_by)),
    ];
    if let Some(suspended) = &key.suspended {
        let reason =
            if suspended.reason.as_str().is_empty() { String::new() } else { format!(": {}", suspended.reason) };
        lines.push(("suspended", format!("{} by {}{reason}", time(suspended.at), suspended.by)));
    }
    if let Some(rotation) = &key.replaces {
        lines.push(("replaces", format!("{}, which {}", rotation.name, ending(rotation.until))));
        lines.extend(uses(&key.old_uses).into_iter().map(|line| ("old key used", line)));
    }
    if let Some(rotation) = &key.replaced_by {
        lines.push(("replaced by", format!("{}; this key {}", rotation.name, ending(rotation.until))));
    }
    lines.push(("last used", key.last_used.as_ref().map_or_else(|| "never".to_owned(), used)));
    lines.extend(uses(&key.grant_uses).into_iter().map(|line| ("by grant", line)));
    let never = |grant: &&String| !key.grant_uses.iter().any(|used| used.grant == **grant);
    let unused: Vec<&str> = key.grants.iter().filter(never).map(String::as_str).collect();
    if key.last_used.is_some() && !unused.is_empty() {
        lines.push(("never used", unused.join(", ")));
    }
    if let Some(before) = &key.before {
        lines.push(("history", before.clone()));
    }
    if !key.note.is_empty() {
        lines.push(("note", key.note.clone()));
    }
    lines.into_iter().try_for_each(|(name, value)| io.say(format_args!("{name:12} {value}")))
}

/// `ends …`, or `ended …`.
fn ending(at: Timestamp) -> String {
    let word = if at <= Timestamp::now() { "ended" } else { "ends" };
    format!("{word} {}", time(at))
}

/// One use, in a line.
fn used(last: &Use) -> String {
    let from = last.address.map(|address| format!(" from {address}")).unwrap_or_default();
    let client = last.client.as_ref().map(|client| format!(" ({client})")).unwrap_or_default();
    format!("{}: {}{from}{client}", time(last.at), last.repository)
}

fn uses(all: &[GrantUse]) -> Vec<String> {
    all.iter().map(|one| format!("{} at {}", one.grant, used(&one.last))).collect()
}

pub(super) fn state(key: &KeyView) -> &'static str {
    match key.state {
        KeyState::Active => "active",
        KeyState::Expired => "expired",
        KeyState::Suspended => "suspended",
        KeyState::Replaced => "replaced",
    }
}

pub(super) fn expires(key: &KeyView) -> String {
    key.ends().map_or_else(|| "never".to_owned(), time)
}
