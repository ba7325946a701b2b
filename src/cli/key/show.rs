//! `pullgate key show`

use crate::admin::view::{KeyState, KeyView};
use crate::cli::Context;
use crate::cli::io::{Io, Stop};
use crate::cli::session::unexpected;
use crate::cli::table::time;
use crate::front::control::protocol::{Answer, Request};
use crate::registry::record::Holder;

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
    if !key.note.is_empty() {
        lines.push(("note", key.note.clone()));
    }
    lines.into_iter().try_for_each(|(name, value)| io.say(format_args!("{name:11}  {value}")))
}

pub(super) fn state(key: &KeyView) -> &'static str {
    match key.state {
        KeyState::Active => "active",
        KeyState::Expired => "expired",
        KeyState::Suspended => "suspended",
    }
}

pub(super) fn expires(key: &KeyView) -> String {
    key.expires.map_or_else(|| "never".to_owned(), time)
}
